"""The Transformer over the grid of its variants: causality, cached steps, beams, padding, poison, refusals."""

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from regard.attention.ways import reference
from regard.errors import InputError, OptionError, ShapeError
from regard.models.roles import Encoded
from regard.models.transformer import Transformer, TransformerConfig, TransformerState
from tests.attention.judge import as_a_user, assert_same
from tests.watching import watching

VOCAB = 23
SOURCE = torch.tensor([[5, 3, 8, 1, 9, 7, 2], [4, 6, 2, 0, 0, 0, 0], [11, 22, 13, 4, 2, 0, 0]])
LENGTHS = torch.tensor([7, 3, 5])
TARGET = torch.tensor([[1, 14, 15, 9, 2], [1, 6, 5, 3, 5], [1, 8, 9, 7, 9]])
B, S, T = 3, 7, 5

SMALL: dict[str, Any] = {
    "model_dim": 12, "feed_forward_dim": 19, "num_heads": 3, "encoder_layers": 2, "decoder_layers": 2, "dropout": 0.0,
}  # fmt: skip
VARIANTS: list[dict[str, Any]] = [
    {"norm": norm, "activation": activation, "positions": positions, "share": share}
    for (norm, activation), (positions, share) in zip(
        itertools.cycle(itertools.product(["pre", "post"], ["relu", "gelu", "swiglu"])),
        itertools.product(["sinusoidal", "learned"], ["all", "target", "none"]),
        strict=False,
    )
]
NAMES = ["-".join(variant.values()) for variant in VARIANTS]
every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=NAMES)


def model(variant: dict[str, Any] | None = None, **more: Any) -> Transformer:
    torch.manual_seed(1)
    config = TransformerConfig(**(SMALL | {"max_length": 17} | (variant or {}) | more))
    return Transformer(config, source_vocab=VOCAB, target_vocab=VOCAB).double()


def decoded_by_steps(built: Transformer, target: Tensor) -> Tensor:
    with torch.no_grad():
        state = built.start(built.encode(SOURCE, LENGTHS))
        return torch.cat([built.step(target[:, t : t + 1], state) for t in range(target.shape[1])], dim=1)


# Shapes, sharing, sizes


@every_variant
def test_shapes_and_gradients(variant: dict[str, Any]) -> None:
    built = model(variant)
    states = built(SOURCE, LENGTHS, TARGET)
    assert states.shape == (B, T, 12)
    logits = built.output(states)
    assert logits.shape == (B, T, VOCAB)
    gradients = torch.autograd.grad(logits.pow(3).sum(), list(built.parameters()))
    for (name, _), gradient in zip(built.named_parameters(), gradients, strict=True):
        assert bool(gradient.isfinite().all()), name
        assert bool(gradient.any()), name


def test_what_is_shared() -> None:
    everything, target, none = (model(share=share) for share in ("all", "target", "none"))
    assert everything.source_embedding is everything.target_embedding
    assert everything.output.weight is everything.target_embedding.weight
    assert target.source_embedding.weight is not target.target_embedding.weight
    assert target.output.weight is target.target_embedding.weight
    assert none.output.weight is not none.target_embedding.weight
    sizes = [sum(p.numel() for p in built.parameters()) for built in (everything, target, none)]
    assert sizes[1] - sizes[0] == sizes[2] - sizes[1] == VOCAB * 12


def test_transformer_tiny_has_its_size() -> None:
    """Wu et al. 2021 count 2.6 million, with a vocabulary of about 10,000."""
    tiny = Transformer(TransformerConfig(), source_vocab=10_000, target_vocab=10_000)
    count = sum(parameter.numel() for parameter in tiny.parameters())
    assert 2_500_000 < count <= 2_700_000, count


def test_it_names_where_it_aligns() -> None:
    built = model()
    assert built.alignment_sites() == ["decoder.0.cross_attention", "decoder.1.cross_attention"]
    for site in built.alignment_sites():
        built.get_submodule(site)


# Causality


def check_the_future_is_hidden(built: Transformer) -> None:
    """Change what comes later, and nothing that was computed before may change."""
    plain = built(SOURCE, LENGTHS, TARGET)
    for first in range(1, T):
        changed = TARGET.clone()
        changed[:, first:] = (changed[:, first:] + 7) % VOCAB
        states = built(SOURCE, LENGTHS, changed)
        assert_same(states[:, :first], plain[:, :first])
        assert not torch.allclose(states[:, first], plain[:, first])


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@every_variant
def test_the_future_is_hidden_in_training_and_in_evaluation(variant: dict[str, Any], training: bool) -> None:
    check_the_future_is_hidden(model(variant).train(training))


def test_a_state_depends_on_its_own_token_and_on_the_source() -> None:
    built = model()
    plain = built(SOURCE, LENGTHS, TARGET)
    other_source = SOURCE.clone()
    other_source[:, 0] += 1
    assert bool((built(other_source, LENGTHS, TARGET) != plain).any(dim=-1).all())
    assert not torch.allclose(built(SOURCE, LENGTHS, TARGET.roll(1, dims=0)), plain)


def test_order_matters_through_positions_alone() -> None:
    """Without positions a permuted source gives the same states; with them it does not (row E4 of the sources)."""
    order = torch.tensor([4, 0, 6, 2, 1, 5, 3])
    source, lengths = SOURCE[:1], LENGTHS[:1]
    built = model()
    with_positions = [built(source[:, some], lengths, TARGET[:1]) for some in (slice(None), order)]
    assert not torch.allclose(*with_positions)
    built.source_embedding.positions = None
    without = [built(source[:, some], lengths, TARGET[:1]) for some in (slice(None), order)]
    assert_same(*without)


# Steps


@every_variant
def test_cached_steps_equal_decoding_at_once(variant: dict[str, Any]) -> None:
    built = model(variant).eval()
    assert_same(decoded_by_steps(built, TARGET), built(SOURCE, LENGTHS, TARGET))


def test_the_nth_step_stands_at_position_n() -> None:
    built = model(positions="learned").eval()
    with torch.no_grad():
        built.target_embedding.weight.zero_()
        positions = built.target_embedding.positions
        assert positions is not None
        seen = []
        built.decoder[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        decoded_by_steps(built, TARGET)
        assert len(seen) == T
        for step, states in enumerate(seen):
            assert torch.equal(states[0], positions(step, 1))


def test_one_long_decoding_grows_its_caches() -> None:
    built = model().eval()
    target = torch.randint(3, VOCAB, (B, 150), generator=torch.Generator().manual_seed(2))
    assert_same(decoded_by_steps(built, target), built(SOURCE, LENGTHS, target).detach())


def check_beams(built: Transformer, beams: int, *, seed: int = 3, keep_at: int | None = None) -> None:
    """Let beams change places at random: each step equals decoding the tokens that lead to it."""
    generator = torch.Generator().manual_seed(seed)
    source, lengths = SOURCE, LENGTHS
    history = torch.ones(B, beams, 0, dtype=torch.long)
    with torch.no_grad():
        state = built.start(built.encode(source, lengths))
        for step in range(7):
            tokens = torch.randint(3, VOCAB, (len(source), beams), generator=generator)
            history = torch.cat((history, tokens.unsqueeze(-1)), dim=-1)
            states = built.step(tokens, state)
            for beam in range(beams):
                assert_same(states[:, beam], built(source, lengths, history[:, beam])[:, -1])
            parents = torch.randint(0, beams, (len(source), beams), generator=generator)
            state.reorder(parents)
            history = history.gather(1, parents.unsqueeze(-1).expand_as(history))
            if step == keep_at:
                rows = torch.tensor([2, 0])
                state.keep(rows)
                source, lengths, history = source[rows], lengths[rows], history[rows]


@pytest.mark.parametrize("beams", [1, 2, 5])
@every_variant
def test_beams_change_places_without_a_cache_being_moved(variant: dict[str, Any], beams: int) -> None:
    check_beams(model(variant).eval(), beams)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("keep_at", [0, 2, 5])
def test_sentences_that_end_leave_the_others_as_they_were(beams: int, keep_at: int) -> None:
    check_beams(model().eval(), beams, keep_at=keep_at)


@every_variant
def test_a_single_beam_goes_on_as_several(variant: dict[str, Any]) -> None:
    built = model(variant).eval()
    begun, tokens = TARGET[:, :2], torch.stack([TARGET[:, 2], TARGET[:, 3], TARGET[:, 4]], dim=1)
    with torch.no_grad():
        state = built.start(built.encode(SOURCE, LENGTHS))
        for t in range(2):
            built.step(begun[:, t : t + 1], state)
        for swapped in range(2):
            states = built.step(tokens, state)
            for beam in range(3):
                history = torch.cat((begun, tokens[:, beam : beam + 1].expand(-1, 1 + swapped)), dim=1)
                assert_same(states[:, beam], built(SOURCE, LENGTHS, history)[:, -1])


def test_the_number_of_several_beams_stays() -> None:
    built = model().eval()
    state = built.start(built.encode(SOURCE, LENGTHS))
    built.step(TARGET[:, :2], state)
    with pytest.raises(AssertionError, match="started with 2 beams, now there are 5"):
        built.step(TARGET, state)
    assert isinstance(state, TransformerState)


def test_a_caller_holds_all_of_the_state() -> None:
    """Two decodings in turn do not disturb each other."""
    built = model().eval()
    expected = decoded_by_steps(built, TARGET)
    with torch.no_grad():
        encoded = built.encode(SOURCE, LENGTHS)
        one, other = built.start(encoded), built.start(encoded)
        states = []
        for t in range(T):
            states.append(built.step(TARGET[:, t : t + 1], one))
            built.step(TARGET[:, :1], other)
    assert torch.equal(torch.cat(states, dim=1), expected)


# Padding and company


def check_company(built: Transformer) -> None:
    """Compare each sentence alone with the same beside longer ones, and whatever stands in the padding."""
    together = built(SOURCE, LENGTHS, TARGET)
    for entry, length in enumerate(LENGTHS.tolist()):
        row = slice(entry, entry + 1)
        assert_same(built(SOURCE[row, :length], LENGTHS[row], TARGET[row]), together[row])
    noise = torch.randint(0, VOCAB, SOURCE.shape, generator=torch.Generator().manual_seed(4))
    padding = torch.arange(S) >= LENGTHS[:, None]
    assert torch.equal(built(torch.where(padding, noise, SOURCE), LENGTHS, TARGET), together)
    longer = torch.nn.functional.pad(SOURCE, (0, 10), value=VOCAB - 1)
    assert_same(built(longer, LENGTHS, TARGET), together)
    order = torch.tensor([2, 0, 1])
    assert_same(built(SOURCE[order], LENGTHS[order], TARGET[order]), together[order])


@every_variant
def test_the_company_and_the_padding_change_nothing(variant: dict[str, Any]) -> None:
    check_company(model(variant).eval())


@pytest.mark.parametrize("poison", [math.nan, math.inf, 1e30])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_poison_in_padding_leaks_nowhere(norm: str, poison: float) -> None:
    """The padding's own vector is poisoned: neither states nor gradients notice."""
    results = []
    for fill in (0.0, poison):
        built = model(norm=norm, share="target")
        with torch.no_grad():
            built.source_embedding.weight[0] = fill
        states = built(SOURCE, LENGTHS, TARGET)
        results.append([states, *torch.autograd.grad(states.pow(3).sum(), list(built.parameters()))])
    for clean, dirty in zip(*results, strict=True):
        assert bool(dirty.isfinite().all())
        assert torch.equal(clean, dirty)


def test_an_empty_sentence_leaves_its_company_alone() -> None:
    built = model().eval()
    lengths = torch.tensor([7, 0, 5])
    states = built(SOURCE, lengths, TARGET)
    assert bool(states.isfinite().all())
    assert torch.equal(states[[0, 2]], built(SOURCE, LENGTHS, TARGET)[[0, 2]])
    gradients = torch.autograd.grad(
        model()(SOURCE, lengths, TARGET).pow(3).sum(), list(built.parameters()), allow_unused=True
    )
    assert all(gradient is None or bool(gradient.isfinite().all()) for gradient in gradients)


def test_weights_see_neither_padding_nor_the_future() -> None:
    """Rows of encoder, decoder and cross-attention sum to one over what may be seen (row E10 of the sources)."""
    built = model().eval()
    with watching() as calls:
        built(SOURCE, LENGTHS, TARGET)
    weights = [reference.weights(call) for call in calls]
    assert [tuple(w.shape) for w in weights] == [
        *[(B, 3, S, S)] * 2, (B, 3, T, T), (B, 3, T, S), (B, 3, T, T), (B, 3, T, S),
    ]  # fmt: skip
    padding = torch.arange(S) >= LENGTHS[:, None]
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    for number, found in enumerate(weights):
        assert_same(found.sum(dim=-1), torch.ones(found.shape[:3], dtype=torch.float64))
        hidden = future if number in (2, 4) else padding[:, None, None]
        assert not found[hidden.expand_as(found)].any()


def test_no_sentences_give_no_states() -> None:
    assert model()(SOURCE[:0], LENGTHS[:0], TARGET[:0]).shape == (0, T, 12)


# Precision and dropout


def test_it_runs_in_half_precision_and_under_autocast() -> None:
    built = model().float().eval()
    exact = built(SOURCE, LENGTHS, TARGET)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = built(SOURCE, LENGTHS, TARGET)
    halves = built.to(torch.bfloat16)(SOURCE, LENGTHS, TARGET)
    assert halves.dtype == torch.bfloat16
    for found in (mixed, halves):
        torch.testing.assert_close(found.float(), exact, rtol=0, atol=0.1)


@pytest.mark.parametrize("where", ["dropout", "attention_dropout", "activation_dropout"])
def test_dropout_acts_in_training_alone(where: str) -> None:
    built, plain = model({where: 0.5}), model().eval()(SOURCE, LENGTHS, TARGET)
    assert not torch.allclose(built.train()(SOURCE, LENGTHS, TARGET), plain)
    assert torch.equal(built.eval()(SOURCE, LENGTHS, TARGET), plain)


# Refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_heads": 5}, r"model_dim \(12\) must be a multiple of num_heads \(5\): 10 and 15 are the nearest"),
        ({"model_dim": 9, "num_heads": 3}, r"model_dim \(9\) must be even for sinusoidal positions"),
        ({"encoder_layers": 0}, "encoder_layers must be at least 1; it is 0"),
        ({"num_heads": 0}, "num_heads must be at least 1; it is 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1; it is 1.0"),
        ({"activation_dropout": -0.1}, "activation_dropout must be .* it is -0.1"),
        ({"norm": "middle"}, "norm must be 'pre' or 'post'; it is 'middle'"),
        ({"activation": "silu"}, "activation must be 'relu' or 'gelu' or 'swiglu'; it is 'silu'"),
        ({"positions": "none"}, "positions must be 'sinusoidal' or 'learned'; it is 'none'"),
        ({"share": "source"}, "share must be 'all' or 'target' or 'none'; it is 'source'"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        model(options)


def test_all_faults_of_a_config_are_told_at_once() -> None:
    with pytest.raises(OptionError) as caught:
        model(norm="middle", encoder_layers=0, dropout=2.0)
    assert len(str(caught.value).splitlines()) == 3


def test_one_matrix_needs_one_vocabulary() -> None:
    config = TransformerConfig(**SMALL)
    with pytest.raises(OptionError, match="the source has 23 tokens and the target 29"):
        Transformer(config, source_vocab=23, target_vocab=29)
    Transformer(replace(config, share="target"), source_vocab=23, target_vocab=29)


@pytest.mark.parametrize(
    ("source", "lengths", "target", "words"),
    [
        (SOURCE, LENGTHS + 1, TARGET, ["source_lengths goes up to 8", "7 tokens"]),
        (SOURCE, LENGTHS[:2], TARGET, ["2 lengths", "3 batch entries"]),
        (SOURCE, LENGTHS.float(), TARGET, ["lengths", "torch.float32"]),
        (SOURCE, LENGTHS, TARGET[:2], ["key has 3 batch entries", "query has 2"]),
        (SOURCE + VOCAB, LENGTHS, TARGET, ["tokens must lie between 0 and 22", "from 23 to 45"]),
        (SOURCE, LENGTHS, TARGET - 5, ["tokens must lie between 0 and 22", "from -4 to"]),
        (SOURCE.float(), LENGTHS, TARGET, ["tokens must be whole numbers", "torch.float32"]),
        (SOURCE[:, :0], LENGTHS * 0, TARGET, ["key has length 0"]),
        (SOURCE, LENGTHS, TARGET[:, :0], ["key has length 0"]),
    ],
)
def test_input_that_does_not_fit_is_refused(source: Tensor, lengths: Tensor, target: Tensor, words: list[str]) -> None:
    with as_a_user(), pytest.raises(InputError) as caught:
        model()(source, lengths, target)
    for word in words:
        assert word in str(caught.value)


def test_learned_positions_end() -> None:
    built = model(positions="learned", max_length=7)
    assert (built.max_source, built.max_target) == (7, 7)
    assert (model().max_source, model().max_target) == (None, None)
    with pytest.raises(ShapeError, match="There are 7 learned positions and 9 were asked for"):
        built(torch.nn.functional.pad(SOURCE, (0, 2)), LENGTHS, TARGET)


def test_what_the_encoder_leaves() -> None:
    encoded = model().encode(SOURCE, LENGTHS)
    assert isinstance(encoded, Encoded)
    assert encoded.states.shape == (B, S, 12)
    assert encoded.final is None
