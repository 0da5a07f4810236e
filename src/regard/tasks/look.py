"""Looking at one translation: the map of its alignment, every head, and how each token came about."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from regard.data.text import split_words
from regard.errors import OptionError
from regard.inspection.alignments.alignment_site import AlignmentSite
from regard.inspection.alignments.links import Links
from regard.inspection.effects.belief import Belief, measure_belief
from regard.inspection.lens import Lens, Site
from regard.inspection.pictures.glyphs import label
from regard.inspection.pictures.maps import Candidate, Heads, Map, Step
from regard.tasks.pair_batches import PairBatch
from regard.tasks.translator import Translator

CANDIDATES = 5
"""How many of the best tokens of each step are shown."""
DRAWS, KEYS = 3, 12
"""Random tokens erased, and tokens without value, when a map's belief is measured."""


@dataclass(frozen=True)
class Look:
    """One sentence pair, looked into.

    Attributes:
        source: The input.
        target: The translation, the model's own or one that was given.
        log_probability: Of the translation.
        links: The alignment.
        map: The weights between words at the site of the alignment.
        heads: The weights between words of all layers and heads.
        belief: What the translation's probabilities do when what the map says is taken away; None where not asked for.
    """

    source: str
    target: str
    log_probability: float
    links: Links
    map: Map
    heads: Heads
    belief: Belief | None = None


def look(
    translator: Translator,
    source: str,
    target: str | None = None,
    *,
    layer: int | str | None = None,
    head: int | None = None,
    steps: bool = False,
    gold: Links | None = None,
    belief: bool = False,
) -> Look:
    """Look into the translation of a text.

    Args:
        translator: The translator.
        source: The input, no longer than the model reads at once.
        target: A translation to look at instead of the model's own.
        layer: Which layer to show; by default that of the run's alignment.
        head: Which of its heads; by default that of the run, or the mean where only a layer is named.
        steps: Whether to record every step: scores, weights, shares of the context and candidates.
        gold: Links that are known to be right.
        belief: Whether to measure if the map is to be believed: some twenty runs more of the model.
    """
    length = len(translator.tokenizers.source.encode(source).ids)
    if not split_words(source):
        raise OptionError("There is nothing to look at: the text is empty.")
    if length > translator.max_length:
        raise OptionError(
            f"The text has {length} tokens and the model reads {translator.max_length} at once. Look at a part of it."
        )
    if target is None:
        target = translator.translate([source])[0][0].text
    site = translator.chosen_site(layer, head)
    ((_, attention),) = translator.attention([source], [target])
    links = translator.align([source], [target], layer=layer, head=head)[0]
    measured = believed(translator, source, target, site) if belief and split_words(target) else None
    shown = Map(
        weights=translator.site_weights(attention, site),
        rows=attention.target_words,
        columns=attention.source_words,
        gold=gold,
        title=f"{source} → {target}",
        note=str(site),
        belief="" if measured is None else str(measured),
        steps=recorded_steps(translator, source, target, site) if steps else (),
    )
    heads = Heads(weights=attention.words(site.step), layers=translator.model.alignment_sites())
    return Look(source, target, translator.score([source], [target])[0], links, shown, heads, measured)


def believed(translator: Translator, source: str, target: str, site: AlignmentSite) -> Belief:
    """Measure what a site does for the probabilities of a translation."""
    (batch,) = translator.pair_batches([source], [target], 1)
    model = translator.model

    def logits() -> Tensor:
        return model.output(model(batch.source, batch.source_lengths, batch.target))  # type: ignore[no-any-return]

    heads = None if site.head is None else [site.head]
    return measure_belief(model, logits, site.layer, heads=heads, draws=DRAWS, keys=KEYS)


@torch.inference_mode()
def recorded_steps(translator: Translator, source: str, target: str, site: AlignmentSite) -> list[Step]:
    """Run the pair once more and record what every step did at a site."""
    (batch,) = translator.pair_batches([source], [target], 1)
    with Lens(translator.model) as lens:
        states = translator.model(batch.source, batch.source_lengths, batch.target)
    columns, tokens = token_names(translator, batch)
    heads = slice(None) if site.head is None else slice(site.head, site.head + 1)
    seen = lens[site.layer]
    scores, weights = seen.scores()[0, heads].mean(dim=0), seen.weights()[0, heads].mean(dim=0)  # [T S]
    shares = context_shares(seen, heads)
    probabilities, best = candidates(translator, states[0])
    return [
        Step(
            token=tokens[step],
            columns=columns,
            scores=scores[step].masked_fill(weights[step] == 0, -torch.inf),
            weights=weights[step],
            shares=shares[step],
            candidates=[
                Candidate(token=translator.tokenizers.target.token(int(token)), probability=float(probability))
                for token, probability in zip(best[step], probabilities[step], strict=True)
            ],
            note="" if site.step == "emitting" else reading_note(tokens, step),
        )
        for step in range(len(tokens))
    ]


def reading_note(tokens: Sequence[str], step: int) -> str:
    """Say where the map shows the weights of a step, if it reads words off the step after the one that emits them."""
    if step == 0:
        return "The map does not show these weights: it takes a token's from the next step, which reads it."
    read, emitted = label(tokens[step - 1]), label(tokens[step])
    return f"The map shows these weights at {read}, which this step reads; it emits {emitted}."


def candidates(translator: Translator, states: Float[Tensor, "T M"]) -> tuple[Tensor, Tensor]:
    """Return the probabilities of the best tokens of each step, and these tokens; none that is never produced."""
    probabilities = translator.model.output(states).float().softmax(dim=-1)
    probabilities[:, list(translator.vocabulary.never)] = 0.0
    best = probabilities.topk(CANDIDATES, dim=-1)
    return best.values, best.indices


def token_names(translator: Translator, batch: PairBatch) -> tuple[list[str], list[str]]:
    """Return the subwords of source and target, with their ends."""
    source, target = translator.tokenizers.source, translator.tokenizers.target
    columns = [source.token(i) for i in (*batch.sources[0].ids, source.eos_id)]
    return columns, [target.token(i) for i in (*batch.targets[0].ids, target.eos_id)]


def context_shares(site: Site, heads: slice) -> Float[Tensor, "T S"]:
    """Return how much of each context each source token makes: the norm of weight times value, rows summing to one."""
    weights = site.weights()[0, heads]  # [H T S]
    value = site[0].value[0].float()
    value = value.repeat_interleave(site[0].query.shape[1] // len(value), dim=0)[heads]
    amounts: Tensor = (weights * value.norm(dim=-1).unsqueeze(1)).square().sum(dim=0).sqrt()  # [T S]
    return amounts / amounts.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(amounts.dtype).tiny)
