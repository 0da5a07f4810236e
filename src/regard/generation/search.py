"""Beam search over any sequence-to-sequence model; greedy search is a beam of one.

Candidates are compared by their true log-probability while they grow, and finished hypotheses by
log-probability / length^alpha, where the length counts the end-of-sentence token.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.errors import NotANumberError, OptionError, counted
from regard.generation.plain import plain
from regard.models.roles import Encoded, Seq2Seq

STRONGEST_PENALTY = 10.0
"""Of lengths to this power the greatest still is a number; powers in use lie between 0 and 2."""

BLOCK = 128
"""Tokens of the vocabulary that are looked at together first."""


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How to search.

    Attributes:
        beams: How many hypotheses of each sentence grow side by side; 1 is greedy search.
        length_penalty: The power alpha, 0 to 10, of the length that log-probabilities are divided by; 0 divides by
            nothing, and the greater it is the longer translations get.
        n_best: How many finished hypotheses of each sentence to return, best first; at most `beams`.
    """

    beams: int = 5
    length_penalty: float = 1.0
    n_best: int = 1

    def __post_init__(self) -> None:
        if self.beams < 1:
            raise OptionError(f"beams must be at least 1; it is {self.beams}.")
        if not 1 <= self.n_best <= self.beams:
            raise OptionError(f"n_best must lie between 1 and the number of beams ({self.beams}); it is {self.n_best}.")
        if not 0 <= self.length_penalty <= STRONGEST_PENALTY:
            raise OptionError(
                f"length_penalty must lie between 0 and {STRONGEST_PENALTY:g}; it is {self.length_penalty}."
            )


class Vocabulary(NamedTuple):
    """The tokens that a search must know."""

    begin: int
    end: int
    never: tuple[int, ...]


class Hypothesis(NamedTuple):
    """A finished translation.

    Attributes:
        tokens: Without begin and end of sentence.
        log_probability: Natural logarithm of the probability of the tokens and the end of sentence.
        score: What hypotheses are compared by: log_probability / (number of tokens + 1)^alpha.
    """

    tokens: tuple[int, ...]
    log_probability: float
    score: float


@torch.inference_mode()
def search(
    model: Seq2Seq,
    source: Int[Tensor, "B S"],
    source_lengths: Int[Tensor, "B"],
    *,
    options: SearchOptions,
    vocabulary: Vocabulary,
    max_lengths: Sequence[int],
) -> list[list[Hypothesis]]:
    """Search for the best translations of a batch.

    Args:
        model: In evaluation mode.
        source: Source tokens, each row ending with the end of sentence, then padded.
        source_lengths: How many tokens of each row count.
        options: How to search.
        vocabulary: Begin, end, and the tokens that are never produced.
        max_lengths: For each sentence the greatest number of tokens, the end of sentence left out. A hypothesis that
            reaches it is made to end there, at the true probability of ending.

    Returns:
        For each sentence `n_best` hypotheses, best first, fewer only where fewer exist.

    Raises:
        NotANumberError: The model computes NaN for some sentences, which the error holds.
    """
    view = plain(model)
    beams = Beams(view, view.encode(source, source_lengths), options, vocabulary, max_lengths)
    while beams.sentences:
        beams.step()
    if beams.spoiled:
        spoiled = sorted(beams.spoiled)
        raise NotANumberError(
            f"The model computes NaN for {counted(len(spoiled), 'sentence')} of a batch of {len(max_lengths)}, by "
            f"number from 0: {', '.join(map(str, spoiled))}. {reason_for_nan(model)}",
            spoiled,
        )
    return [sorted(found, key=lambda h: -h.score)[: options.n_best] for found in beams.finished]


def reason_for_nan(model: Seq2Seq) -> str:
    """Say why a model computes NaN and what to do."""
    broken = [name for name, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())]
    if broken:
        return f"Its weights are not finite: {', '.join(broken[:5])}. Take weights of before that, or train anew."
    dtype = str(model.output.weight.dtype).removeprefix("torch.")
    return f"Its weights are finite and what it makes of them is too great for {dtype}" + (
        ": train anew with a lower learning rate." if dtype in ("float32", "float64") else ": compute in float32."
    )


class Beams:
    """The hypotheses of a batch while they grow."""

    def __init__(
        self,
        model: Seq2Seq,
        encoded: Encoded,
        options: SearchOptions,
        vocabulary: Vocabulary,
        max_lengths: Sequence[int],
    ) -> None:
        self.model = model
        self.options = options
        self.vocabulary = vocabulary
        self.finished: list[list[Hypothesis]] = [[] for _ in max_lengths]
        self.sentences = list(range(len(max_lengths)))
        self.spoiled: set[int] = set()  # for which the model computes NaN
        self.max_lengths = list(max_lengths)
        self.state = model.start(encoded)
        self.length = 0
        batch, device = len(max_lengths), encoded.states.device
        self.history = torch.full((batch, 1, 1), vocabulary.begin, device=device)  # all beams begin as one
        self.totals = torch.zeros(batch, 1, device=device)
        self.room = torch.empty(0, device=device)
        self.never = torch.tensor(vocabulary.never, dtype=torch.long, device=device)

    def step(self) -> None:
        """Let every hypothesis grow by a token, then part with what is finished."""
        logits = self.model.output(self.model.step(self.history[:, :, -1], self.state))
        totals, parents, tokens = self.candidates(logits)
        self.length += 1
        ended = tokens == self.vocabulary.end
        self.collect(totals, parents, ended)
        self.grow(totals.masked_fill(ended, -torch.inf), parents, tokens)
        self.drop_finished()

    def candidates(
        self, logits: Float[Tensor, "B W V"]
    ) -> tuple[Float[Tensor, "B C"], Int[Tensor, "B C"], Int[Tensor, "B C"]]:
        """Return the best continuations, best first: log-probabilities, parents and tokens.

        Twice as many as beams, so that as many as beams remain when others end.
        """
        beams, vocab_size = self.options.beams, logits.shape[-1]
        log_probabilities = self.normalized(logits)
        self.restrict(log_probabilities)
        totals, places = largest(log_probabilities, self.totals, 2 * beams if beams > 1 else 1)
        return totals, places // vocab_size, places % vocab_size

    def normalized(self, logits: Float[Tensor, "B W V"]) -> Float[Tensor, "B W V"]:
        """Return log-probabilities in float32, in the same memory at each step.

        Fresh memory of this size would come from the kernel page by page, which takes longer than the softmax itself.
        """
        if self.room.shape != logits.shape:
            self.room = torch.empty(logits.shape, device=logits.device)
        wide = logits if logits.dtype == torch.float32 else self.room.copy_(logits)
        return torch.log_softmax(wide, dim=-1, out=self.room)

    def restrict(self, log_probabilities: Float[Tensor, "B W V"]) -> None:
        """Rule out, in place, what is never produced, and all but the end where the length is used up."""
        log_probabilities.index_fill_(-1, self.never, -torch.inf)
        full = [i for i, sentence in enumerate(self.sentences) if self.length >= self.max_lengths[sentence]]
        if full:
            rows = torch.tensor(full, device=log_probabilities.device)
            end = log_probabilities[rows, :, self.vocabulary.end]
            log_probabilities[rows] = -torch.inf
            log_probabilities[rows, :, self.vocabulary.end] = end

    def collect(self, totals: Float[Tensor, "B C"], parents: Int[Tensor, "B C"], ended: Tensor) -> None:
        """Take over the hypotheses that end among the best as many as beams."""
        beams = self.options.beams
        ended = ended[:, :beams] & (totals[:, :beams] != -torch.inf)  # an end of NaN too: it would vanish unseen
        if not ended.any():
            return
        for row, rank in ended.nonzero().tolist():
            log_probability = totals[row, rank].item()
            if math.isnan(log_probability):
                self.spoiled.add(self.sentences[row])
                continue
            tokens = tuple(self.history[row, parents[row, rank], 1:].tolist())
            length = (len(tokens) + 1) ** self.options.length_penalty
            self.finished[self.sentences[row]].append(Hypothesis(tokens, log_probability, log_probability / length))

    def grow(self, totals: Float[Tensor, "B C"], parents: Int[Tensor, "B C"], tokens: Int[Tensor, "B C"]) -> None:
        """Let the best unfinished candidates be the beams."""
        if self.options.beams == 1:
            self.totals = totals
            self.history = torch.cat((self.history, tokens.unsqueeze(-1)), dim=-1)
            return
        width = self.options.beams
        if totals.shape[1] < width:  # a tiny vocabulary has fewer continuations than there are beams
            extra = (0, width - totals.shape[1])
            totals = torch.nn.functional.pad(totals, extra, value=-torch.inf)
            parents, tokens = (torch.nn.functional.pad(x, extra) for x in (parents, tokens))
        self.totals, rank = totals.topk(width, dim=-1)
        parents, tokens = parents.gather(1, rank), tokens.gather(1, rank)
        self.state.reorder(parents)
        ancestors = self.history.gather(1, parents.unsqueeze(-1).expand(-1, -1, self.history.shape[-1]))
        self.history = torch.cat((ancestors, tokens.unsqueeze(-1)), dim=-1)

    def drop_finished(self) -> None:
        """Part with sentences whose search is over; with NaN for its best hypothesis none goes on."""
        best = self.totals.amax(dim=-1).tolist()
        going = [row for row, sentence in enumerate(self.sentences) if self.goes_on(best[row], self.finished[sentence])]
        if len(going) == len(self.sentences):
            return
        self.spoiled |= {sentence for sentence, total in zip(self.sentences, best, strict=True) if math.isnan(total)}
        self.sentences = [self.sentences[row] for row in going]
        if not going:
            return
        rows = torch.tensor(going, device=self.totals.device)
        self.state.keep(rows)
        self.totals, self.history = self.totals[rows], self.history[rows]

    def goes_on(self, total: float, found: Sequence[Hypothesis]) -> bool:
        """Say whether a sentence's search goes on: its best unfinished hypothesis has this log-probability.

        Not as soon as there are as many finished hypotheses as beams: where a model is sure, others of hardly any
        probability end beside the right one at every step, and would end a long sentence in its middle.
        """
        if len(found) < self.options.beams:
            return total > -torch.inf
        wanted = sorted((hypothesis.score for hypothesis in found), reverse=True)[self.options.n_best - 1]
        length: float = (self.length + 1) ** self.options.length_penalty
        return total / length > wanted


def largest(
    values: Float[Tensor, "B W V"], added: Float[Tensor, "B W"], count: int
) -> tuple[Float[Tensor, "B C"], Int[Tensor, "B C"]]:
    """Return the largest `values + added` of each sentence and their places w * V + v, largest first; all if fewer.

    The largest lie in the blocks with the largest maxima, and maxima are cheap: over a large vocabulary this is several
    times as fast as `topk` on CPUs.
    """
    beams, vocab_size = values.shape[1:]
    blocks = vocab_size // BLOCK
    added = added.unsqueeze(-1)
    if beams * blocks <= count:
        return (values + added).flatten(1).topk(min(count, beams * vocab_size), dim=-1)
    cut = blocks * BLOCK
    whole = values[..., :cut].view(-1, beams, blocks, BLOCK)
    chosen = (whole.amax(dim=-1) + added).flatten(1).topk(count, dim=-1).indices  # [B C]
    beam, block = chosen // blocks, chosen % blocks
    sentence = torch.arange(len(values), device=values.device).unsqueeze(1)
    inside = whole[sentence, beam, block] + added[sentence, beam]  # [B C BLOCK]
    starts = (beam * vocab_size + block * BLOCK).unsqueeze(-1)
    candidates, places = inside.flatten(1), (starts + torch.arange(BLOCK, device=values.device)).flatten(1)
    if cut < vocab_size:
        rest = torch.arange(beams * vocab_size, device=values.device).view(beams, vocab_size)[:, cut:].flatten()
        candidates = torch.cat((candidates, (values[..., cut:] + added).flatten(1)), dim=-1)
        places = torch.cat((places, rest.expand(len(values), -1)), dim=-1)
    best, index = candidates.topk(count, dim=-1)
    return best, places.gather(-1, index)
