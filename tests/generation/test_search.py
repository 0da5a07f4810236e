"""Beam search against brute force, against greedy choice, and against itself in other company."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from regard.attention.lengths import Padding
from regard.errors import NotANumberError, OptionError
from regard.generation.forced import forced_log_probabilities
from regard.generation.search import Hypothesis, SearchOptions, Vocabulary, largest, search
from regard.layers.embeddings import Output
from regard.models.roles import Encoded, Seq2Seq, State
from regard.models.transformer import Transformer, TransformerConfig

BEGIN, END = 1, 2
VOCABULARY = Vocabulary(begin=BEGIN, end=END, never=(0, BEGIN))


def tiny(vocab_size: int = 13, seed: int = 5) -> Transformer:
    torch.manual_seed(seed)
    config = TransformerConfig(
        model_dim=8, feed_forward_dim=11, num_heads=2, encoder_layers=1, decoder_layers=2, dropout=0.3
    )
    model = Transformer(config, source_vocab=vocab_size, target_vocab=vocab_size).eval()
    with torch.no_grad():
        model.output.weight.mul_(3.0)  # a random model hardly prefers anything; let it have opinions
    return model


def sentences(lengths: list[int], vocab_size: int = 13, seed: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    source = torch.zeros(len(lengths), max(lengths), dtype=torch.int64)
    for row, length in enumerate(lengths):
        source[row, : length - 1] = torch.randint(3, vocab_size, (length - 1,), generator=generator)
        source[row, length - 1] = END
    return source, torch.tensor(lengths)


def found(model: Transformer, lengths: list[int], **options: float) -> list[list[Hypothesis]]:
    source, source_lengths = sentences(lengths)
    limits = [length + 3 for length in lengths]
    chosen = SearchOptions(**options)  # type: ignore[arg-type]
    return search(model, source, source_lengths, options=chosen, vocabulary=VOCABULARY, max_lengths=limits)


def forced(model: Transformer, source: Tensor, lengths: Tensor, tokens: tuple[int, ...]) -> float:
    target, labels = torch.tensor([[BEGIN, *tokens]]), torch.tensor([[*tokens, END]])
    return forced_log_probabilities(model, model.encode(source, lengths), target, labels).double().sum().item()


def test_a_beam_of_one_takes_the_best_token_at_every_step() -> None:
    model = tiny()
    source, lengths = sentences([7, 5, 3])
    hypotheses = found(model, [7, 5, 3], beams=1)
    for row, limit in enumerate([10, 8, 6]):
        tokens: list[int] = []
        while len(tokens) < limit:
            states = model(
                source[row : row + 1, : lengths[row]], lengths[row : row + 1], torch.tensor([[BEGIN, *tokens]])
            )
            logits = model.output(states[0, -1])
            logits[[0, BEGIN]] = -torch.inf
            if int(logits.argmax()) == END:
                break
            tokens.append(int(logits.argmax()))
        assert hypotheses[row][0].tokens == tuple(tokens)


@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 1.0, 2.0, 10.0])
def test_an_exhaustive_beam_equals_brute_force(length_penalty: float) -> None:
    model, limit = tiny(vocab_size=6), 3
    source, lengths = sentences([5], vocab_size=6)
    everything = [t for n in range(limit + 1) for t in itertools.product((3, 4, 5), repeat=n)]
    scores = {t: forced(model, source, lengths, t) / (len(t) + 1) ** length_penalty for t in everything}
    best = sorted(everything, key=lambda t: -scores[t])
    options = SearchOptions(beams=len(everything), n_best=len(everything), length_penalty=length_penalty)
    (hypotheses,) = search(model, source, lengths, options=options, vocabulary=VOCABULARY, max_lengths=[limit])
    assert [h.tokens for h in hypotheses] == best
    assert [h.score for h in hypotheses] == pytest.approx([scores[t] for t in best], abs=1e-5)


@pytest.mark.parametrize("beams", [1, 2, 5])
def test_scores_are_the_log_probabilities_of_the_tokens(beams: int) -> None:
    model = tiny()
    source, lengths = sentences([7, 5, 3, 2])
    for row, hypotheses in enumerate(found(model, [7, 5, 3, 2], beams=beams, n_best=beams)):
        for hypothesis in hypotheses:
            length = int(lengths[row])
            expected = forced(model, source[row : row + 1, :length], lengths[row : row + 1], hypothesis.tokens)
            assert hypothesis.log_probability == pytest.approx(expected, abs=1e-4)


@settings(deadline=None, max_examples=20)
@given(st.permutations([7, 5, 3, 2, 11, 7]), st.sampled_from([1, 2, 5]))
def test_company_changes_nothing(lengths: list[int], beams: int) -> None:
    model = tiny()
    source, source_lengths = sentences(lengths)
    options = SearchOptions(beams=beams, n_best=beams)
    limits = [length + 3 for length in lengths]
    together = search(model, source, source_lengths, options=options, vocabulary=VOCABULARY, max_lengths=limits)
    for row, length in enumerate(lengths):
        (alone,) = search(
            model,
            source[row : row + 1, :length],
            source_lengths[row : row + 1],
            options=options,
            vocabulary=VOCABULARY,
            max_lengths=limits[row : row + 1],
        )
        assert [h.tokens for h in alone] == [h.tokens for h in together[row]]
        assert [h.score for h in alone] == pytest.approx([h.score for h in together[row]], abs=1e-4)


def test_hypotheses_are_sorted_and_different() -> None:
    for hypotheses in found(tiny(), [7, 5, 3], beams=5, n_best=5):
        assert len(hypotheses) == 5
        assert [h.score for h in hypotheses] == sorted((h.score for h in hypotheses), reverse=True)
        assert len({h.tokens for h in hypotheses}) == 5


class SureState(State):
    """The number of steps taken."""

    steps = 0

    def reorder(self, parents: Tensor) -> None:
        pass

    def keep(self, entries: Tensor) -> None:
        pass


class Sure(Seq2Seq):
    """Counts up from token 3 to 12 and ends there, and holds the end for a little likely at every step before."""

    def __init__(self) -> None:
        super().__init__()
        self.output = Output(13, 13)
        with torch.no_grad():
            self.output.weight.copy_(torch.eye(13))

    def alignment_sites(self) -> list[str]:
        return []

    def encode(self, source: Tensor, source_lengths: Tensor) -> Encoded:
        return Encoded(torch.zeros(*source.shape, 13), Padding(source_lengths))

    def decode(self, encoded: Encoded, target: Tensor) -> Tensor:
        raise NotImplementedError

    def start(self, encoded: Encoded) -> State:
        return SureState()

    def step(self, tokens: Tensor, state: State) -> Tensor:
        assert isinstance(state, SureState)
        states = torch.full((*tokens.shape, 13), -30.0)
        states[..., END] = -7.0
        states[..., END if state.steps == 10 else 3 + state.steps] = 0.0
        state.steps += 1
        return states


@pytest.mark.parametrize("beams", [1, 2, 3, 5])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_hardly_probable_ends_do_not_end_a_search(beams: int, length_penalty: float) -> None:
    source, lengths = sentences([5, 3])
    options = SearchOptions(beams=beams, length_penalty=length_penalty)
    hypotheses = search(Sure(), source, lengths, options=options, vocabulary=VOCABULARY, max_lengths=[13, 17])
    assert [best.tokens for (best,) in hypotheses] == [tuple(range(3, 13))] * 2


class Spoiled(Sure):
    """Computes NaN for the last sentence from a step on."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.from_step = step

    def start(self, encoded: Encoded) -> State:
        self.batch = len(encoded.states)
        return SureState()

    def step(self, tokens: Tensor, state: State) -> Tensor:
        assert isinstance(state, SureState)
        states = super().step(tokens, state)
        if state.steps > self.from_step and len(tokens) == self.batch:
            states[-1, -1] = torch.nan
        return states


@pytest.mark.parametrize("beams", [1, 2, 5])
@pytest.mark.parametrize(("step", "limit"), [(0, 13), (4, 13), (0, 0), (3, 3)])
def test_a_model_that_computes_nan_is_told_with_the_sentence(beams: int, step: int, limit: int) -> None:
    source, lengths = sentences([5, 3, 2])
    told = (
        r"^The model computes NaN for 1 sentence of a batch of 3, by number from 0: 2\. Its weights are finite and "
        r"what it makes of them is too great for float32: train anew with a lower learning rate\.$"
    )
    options = SearchOptions(beams=beams, n_best=beams)
    with pytest.raises(NotANumberError, match=told) as caught:
        search(Spoiled(step), source, lengths, options=options, vocabulary=VOCABULARY, max_lengths=[17, 17, limit])
    assert caught.value.sentences == [2]


def test_weights_that_are_not_finite_are_named() -> None:
    model = tiny()
    with torch.no_grad():
        model.get_parameter("decoder.1.feed_forward.narrow.weight")[3, 5] = torch.inf
    told = (
        r"for 2 sentences of a batch of 2, by number from 0: 0, 1\. Its weights are not finite: decoder\.1\.feed_forw"
    )
    with pytest.raises(NotANumberError, match=told):
        found(model, [7, 5])


def test_a_hypothesis_ends_at_its_limit_at_the_true_probability() -> None:
    model = tiny()
    with torch.no_grad():
        model.output.weight[END] = 0.0
        model.output.weight[END, 0] = -9.0
    source, lengths = sentences([7])
    (hypotheses,) = search(
        model, source, lengths, options=SearchOptions(beams=2), vocabulary=VOCABULARY, max_lengths=[4]
    )
    assert len(hypotheses[0].tokens) <= 4
    assert hypotheses[0].log_probability == pytest.approx(
        forced(model, source, lengths, hypotheses[0].tokens), abs=1e-4
    )


def test_tokens_that_are_never_produced_are_not() -> None:
    model = tiny()
    with torch.no_grad():
        model.output.weight[[0, BEGIN]] *= 50.0
    for hypotheses in found(model, [7, 5], beams=3, n_best=3):
        assert all(not {0, BEGIN} & set(h.tokens) for h in hypotheses)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beams": 0}, r"beams must be at least 1; it is 0\."),
        ({"beams": 3, "n_best": 5}, r"n_best must lie between 1 and the number of beams \(3\); it is 5\."),
        ({"beams": 3, "n_best": 0}, r"n_best must lie between 1 and the number of beams \(3\); it is 0\."),
        ({"length_penalty": -0.5}, r"length_penalty must lie between 0 and 10; it is -0\.5\."),
        ({"length_penalty": float("nan")}, r"length_penalty must lie between 0 and 10; it is nan\."),
        ({"length_penalty": 200.0}, r"length_penalty must lie between 0 and 10; it is 200\.0\."),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        SearchOptions(**options)  # type: ignore[arg-type]


@given(st.integers(1, 4), st.integers(1, 1_000), st.integers(1, 11), st.integers(0, 2**31))
def test_the_largest_are_those_of_topk(beams: int, vocab_size: int, count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values, added = (torch.randn(*shape, generator=generator) for shape in ((2, beams, vocab_size), (2, beams)))
    found, places = largest(values, added, count)
    sums = (values + added.unsqueeze(-1)).flatten(1)
    assert torch.equal(found, sums.topk(min(count, beams * vocab_size)).values)
    assert torch.equal(sums.gather(-1, places), found)
