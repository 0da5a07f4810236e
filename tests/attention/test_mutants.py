"""Mutants: the equation with one thing wrong each. The assertions of the other tests must see every one of them."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from regard.attention import call as call_module
from regard.attention import scores as scores_module
from regard.attention.attend import EVERYTHING, Attention, run_call
from regard.attention.biases import TensorBias
from regard.attention.call import AttentionCall, prepared_call
from regard.attention.grid import Extent
from regard.attention.lengths import Padding
from regard.attention.masks import Mask
from regard.attention.normalizers import Softmax
from regard.attention.patterns import Causal, TensorMask, Window
from regard.attention.positions import SinusoidalPositions
from regard.attention.scores import Additive, Cosine, General, Positions, ScaledDot
from regard.attention.ways import reference
from regard.models.transformer import Transformer
from tests.attention import (
    test_attend,
    test_biases,
    test_call,
    test_heads,
    test_masks,
    test_normalizers,
    test_positions,
    test_scores,
)
from tests.attention.judge import SIZES, case
from tests.attention.mutation import caught
from tests.attention.ways import test_parity, test_reference
from tests.models import test_transformer

pytestmark = pytest.mark.slow

Patch = pytest.MonkeyPatch


def checks() -> Iterator[Callable[[], None]]:
    """Give the assertions of the quick tests, the quickest first."""
    yield test_masks.check_hand_drawn_masks
    yield test_masks.check_first_row
    yield test_masks.check_lengths_of_rows
    yield test_reference.check_uniform_weights
    yield test_reference.check_covariance
    yield test_reference.check_mix
    yield test_biases.check_bias_before_softmax
    yield test_scores.check_cosine
    yield test_scores.check_variance
    yield lambda: test_positions.check_rotation(3, 5)
    yield test_attend.check_dropout_in_evaluation
    for score in test_reference.CONTENT:
        yield lambda score=score: test_reference.check_toy_lengths(score)  # type: ignore[misc]
    for cause in test_normalizers.CAUSES:
        yield lambda cause=cause: test_normalizers.check_blind_rows(cause, torch.float32, "eval", "reference")  # type: ignore[misc]
        yield lambda cause=cause: test_normalizers.check_blind_weights(cause, torch.float32, "eval")  # type: ignore[misc]
    yield lambda: test_call.check_poison("scaled_dot", Padding(torch.tensor([4, 7])), float("nan"), "reference")
    yield lambda: test_call.check_company("reference", torch.float64)
    yield lambda: test_parity.check_dropout("reference", case(mask="causal"), 0.5)
    yield lambda: test_reference.check_hidden_keys_get_no_gradient("scaled_dot")
    for score in ("general", "additive", "location", "cosine"):
        yield lambda score=score: test_reference.check_equation(score, case(score, "padding"))  # type: ignore[misc]
    yield test_reference.check_order_of_soft_cap
    yield test_reference.check_grouped_heads
    yield lambda: test_heads.check_cached_equals_full(Causal(), 2)
    yield lambda: test_transformer.check_the_future_is_hidden(test_transformer.model().eval())
    yield lambda: test_transformer.check_beams(test_transformer.model().eval(), 2, keep_at=1)
    yield test_reference.check_offset


# The mutants


def scores_with(
    patch: Patch,
    *,
    scale: Callable[[Tensor, float], Tensor] = lambda found, by: found * by,
    tile: bool = False,
    finish: Callable[[Tensor, AttentionCall], Tensor] | None = None,
) -> None:
    """Put another computation of the scores in the place of that of `reference`."""

    def scores(call: AttentionCall) -> Tensor:
        groups = call.query.shape[1] // call.key.shape[1]
        key = call.key.repeat(1, groups, 1, 1) if tile else call.key.repeat_interleave(groups, dim=1)
        found = scale(call.score.pair(call.query, key, call.positions()), call.scale)
        return capped_then_biased(found, call) if finish is None else finish(found, call)

    patch.setattr(reference, "scores", scores)


def capped(found: Tensor, call: AttentionCall) -> Tensor:
    return found if call.soft_cap is None else call.soft_cap * torch.tanh(found / call.soft_cap)


def capped_then_biased(found: Tensor, call: AttentionCall) -> Tensor:
    bias = call.dense_bias()
    return capped(found, call) if bias is None else capped(found, call) + bias


def biased_then_capped(found: Tensor, call: AttentionCall) -> Tensor:
    bias = call.dense_bias()
    return capped(found if bias is None else found + bias, call)


def masked_then_capped(found: Tensor, call: AttentionCall) -> Tensor:
    mask = call.dense_mask()
    return capped_then_biased(found if mask is None else found.masked_fill(~mask, -1e9), call)


def soft_cap_after_mask(patch: Patch) -> None:
    scores_with(patch, finish=masked_then_capped)
    patch.setattr(reference, "weights", lambda call: call.normalizer(reference.scores(call), None))


def inverted_mask(patch: Patch) -> None:
    def weights(call: AttentionCall) -> Tensor:
        mask = call.dense_mask()
        return call.normalizer(reference.scores(call), None if mask is None else ~mask)

    patch.setattr(reference, "weights", weights)


def bias_after_softmax(patch: Patch) -> None:
    scores_with(patch, finish=capped)

    def weights(call: AttentionCall) -> Tensor:
        found, bias = call.normalizer(reference.scores(call), call.dense_mask()), call.dense_bias()
        return found if bias is None else found + bias

    patch.setattr(reference, "weights", weights)


def tiled_values(patch: Patch) -> None:
    patch.setattr(
        reference, "mix", lambda weights, value: weights @ value.repeat(1, weights.shape[1] // value.shape[1], 1, 1)
    )


def softmax(patch: Patch, run: Callable[[Tensor], Tensor]) -> None:
    def normalize(_: Softmax, scores: Tensor, mask: Tensor | None) -> Tensor:
        return run(scores if mask is None else scores.masked_fill(~mask, -torch.inf))

    patch.setattr(Softmax, "forward", normalize)


def over_queries(scores: Tensor) -> Tensor:
    blind = scores.amax(dim=-2, keepdim=True) == -torch.inf
    return torch.softmax(scores.masked_fill(blind, 0.0), dim=-2).masked_fill(blind, 0.0)


def uniform_on_empty_rows(patch: Patch) -> None:
    """The source's own softmax: hidden scores become -1e6, so that a row without any is uniform."""

    def normalize(_: Softmax, scores: Tensor, mask: Tensor | None) -> Tensor:
        return torch.softmax(scores if mask is None else scores.masked_fill(~mask, -1e6), dim=-1)

    patch.setattr(Softmax, "forward", normalize)


def allows(patch: Patch, mask: type[Mask], answer: Callable[..., Tensor]) -> None:
    patch.setattr(mask, "allows", lambda self, batch, head, query, key: answer(self, batch, query, key))


def offset_ignored(patch: Patch) -> None:
    def extent(call: AttentionCall) -> Extent:
        batch, heads, queries, _ = call.query.shape
        return Extent(batch, heads, queries, call.key.shape[2], 0, call.query.device)

    patch.setattr(AttentionCall, "extent", extent)


def value_not_hidden(patch: Patch) -> None:
    real = call_module.hide
    patch.setattr(call_module, "hide", lambda key, value, *more, **named: (real(key, value, *more, **named)[0], value))


def hides_what_some_see(patch: Patch) -> None:
    def seen(mask: Mask, extent: Extent) -> Tensor:
        return mask.dense(extent).all(dim=2).all(dim=1).expand(-1, extent.keys)

    for kind in (Mask, Causal, Window):
        patch.setattr(kind, "seen", seen)


def key_positions_shifted(patch: Patch) -> None:
    real = Extent.indices

    def indices(extent: Extent) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        batch, head, query, key = real(extent)
        return batch, head, query, key + 1

    patch.setattr(Extent, "indices", indices)


def location_shifted(patch: Patch) -> None:
    real = AttentionCall.positions

    def positions(call: AttentionCall) -> Positions:
        query, key = real(call)
        return Positions(query, key.flip(0))

    patch.setattr(AttentionCall, "positions", positions)


def dropout_in_evaluation(patch: Patch) -> None:
    def forward(
        attention: Attention, query: Tensor, memory: call_module.Memory, *, mask: Mask = EVERYTHING,
        bias: TensorBias | None = None, offset: int = 0,
    ) -> Tensor:  # fmt: skip
        call = prepared_call(
            query, memory, score=attention.score, bias=bias, mask=mask, normalizer=attention.normalizer,
            soft_cap=attention.soft_cap, dropout=attention.dropout, scale=attention.scale, offset=offset,
        )  # fmt: skip
        return run_call(call, attention.way)

    patch.setattr(Attention, "forward", forward)


def dropout_without_scale(patch: Patch) -> None:
    def run(call: AttentionCall) -> Tensor:
        weights = reference.weights(call)
        return reference.mix(weights * (torch.rand_like(weights) >= call.dropout), call.value)

    patch.setattr(reference, "run", run)


def tanh_of_each_side(patch: Patch) -> None:
    """The 2019 page's own mistake: tanh of each projection, not of their sum."""

    def pair(score: Additive, query: Tensor, key: Tensor, positions: Positions) -> Tensor:
        both = torch.tanh(query).unsqueeze(-2) + torch.tanh(key).unsqueeze(-3)
        return nn.functional.linear(both, score.vector.weight).squeeze(-1)

    patch.setattr(Additive, "pair", pair)


def causal_in_training_alone(patch: Patch) -> None:
    """The 2022 page's own mistake: its validation sees the future."""
    real = Transformer.decode

    def decode(model: Transformer, encoded: object, target: Tensor) -> Tensor:
        with pytest.MonkeyPatch.context() as inner:
            if not model.training:
                allows(inner, Causal, lambda self, batch, query, key: key <= key + 0 * query)
                inner.setattr(Causal, "block", lambda *_: "mixed")
                inner.setattr(Causal, "seen", lambda *_: None)
                inner.setattr("regard.models.transformer.Causal", lambda: EVERYTHING)
            return real(model, encoded, target)  # type: ignore[arg-type]

    patch.setattr(Transformer, "decode", decode)


def every_step_at_position_zero(patch: Patch) -> None:
    """The pages' own mistake in decoding: each step stands at position 0."""
    real = SinusoidalPositions.forward
    patch.setattr(
        SinusoidalPositions, "forward", lambda self, start, length: real(self, 0 if length == 1 else start, length)
    )


MUTANTS: dict[str, Callable[[Patch], None]] = {
    "inverted mask": inverted_mask,
    "keys of grouped heads tiled": lambda patch: scores_with(patch, tile=True),
    "values of grouped heads tiled": tiled_values,
    "top-left causal with a cache": lambda patch: allows(
        patch, Causal, lambda self, batch, query, key: key <= query - query.min()
    ),
    "soft-cap after the mask": soft_cap_after_mask,
    "soft-cap after the bias": lambda patch: scores_with(patch, finish=biased_then_capped),
    "scale ignored": lambda patch: scores_with(patch, scale=lambda found, by: found),
    "scale applied twice": lambda patch: scores_with(patch, scale=lambda found, by: found * by * by),
    "scale of the root forgotten": lambda patch: patch.setattr(ScaledDot, "scale", lambda self, width: 1 / width),
    "window starts one late": lambda patch: allows(
        patch, Window, lambda self, batch, query, key: (key > query - self.before) & (key <= query + self.after)
    ),
    "window ends one late": lambda patch: allows(
        patch, Window, lambda self, batch, query, key: (key >= query - self.before) & (key <= query + self.after + 1)
    ),
    "NaN on empty rows": lambda patch: softmax(patch, lambda scores: torch.softmax(scores, dim=-1)),
    "uniform weights on empty rows": uniform_on_empty_rows,
    "softmax over the queries": lambda patch: softmax(patch, over_queries),
    "dropout in evaluation": dropout_in_evaluation,
    "dropout without its scale": dropout_without_scale,
    "bias dropped": lambda patch: scores_with(patch, finish=capped),
    "bias after the softmax": bias_after_softmax,
    "offset ignored": offset_ignored,
    "value not hidden": value_not_hidden,
    "keys hidden that some see": hides_what_some_see,
    "strictly causal": lambda patch: allows(patch, Causal, lambda self, batch, query, key: key < query),
    "padding one longer": lambda patch: allows(
        patch, Padding, lambda self, batch, query, key: key <= self.lengths[batch]
    ),
    "padding one shorter": lambda patch: allows(
        patch, Padding, lambda self, batch, query, key: key < self.lengths[batch] - 1
    ),
    "positions of keys shifted": key_positions_shifted,
    "locations turned round": location_shifted,
    "cosine not normalized": lambda patch: patch.setattr(scores_module, "direction", lambda vectors: vectors),
    "strength of the cosine ignored": lambda patch: patch.setattr(Cosine, "scale", lambda self, width: 1.0),
    "bilinear form transposed": lambda patch: patch.setattr(
        General, "prepare_query", lambda self, query: query @ self.weight.weight
    ),
    "tanh of each side": tanh_of_each_side,
    "rows of a tensor mask from the start": lambda patch: patch.setattr(
        TensorMask, "dense", lambda self, extent: self.allowed[:, :, : extent.queries]
    ),
    "padding keeps its order": lambda patch: patch.setattr(
        Padding, "keep", lambda self, entries: Padding(self.lengths[: len(entries)])
    ),
    "causal in training alone": causal_in_training_alone,
    "every step at position zero": every_step_at_position_zero,
}


def test_the_checks_pass_on_what_is_right() -> None:
    assert caught(lambda patch: None, checks) is None


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name: str) -> None:
    assert caught(MUTANTS[name], checks) is not None, f"{name}: no check noticed"


def test_nothing_is_left_of_the_mutants() -> None:
    given = case(mask="causal", bias="tensor", sizes=SIZES._replace(offset=1))
    test_reference.check_equation("scaled_dot", given)
