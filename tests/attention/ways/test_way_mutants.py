"""Ways with one thing wrong each: what compares ways with the reference must see every one of them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from regard.attention.call import AttentionCall
from regard.attention.grid import Extent
from regard.attention.lengths import Padding
from regard.attention.patterns import Causal, GlobalTokens, Window
from regard.attention.ways import additive, blocks, fused, products, streamed, windowed
from tests.attention.judge import SIZES, case
from tests.attention.mutation import caught
from tests.attention.ways import test_additive, test_parity, test_streamed

pytestmark = pytest.mark.slow

Patch = pytest.MonkeyPatch


def checks() -> Iterator[Callable[[], object]]:
    """Give the comparisons, the quickest first."""
    padding = Padding(torch.tensor([4, 7]))
    chosen = torch.tensor([[True, False, False, False, False, False, False], [False] * 7])
    for mask in (Causal(), Window(2, 1) & padding, Window(0, 0) | GlobalTokens(chosen), padding):
        for score, bias in (("scaled_dot", None), ("scaled_dot", "tensor"), ("additive", "local_p")):
            given = case(score, mask, bias, sizes=SIZES._replace(offset=2))
            yield lambda given=given: test_parity.check_ways(given)  # type: ignore[misc]
    yield lambda: test_parity.check_dropout("products", case(mask="causal"), 0.5)
    for score in ("scaled_dot", "additive"):
        yield lambda score=score: test_streamed.test_what_is_dropped_is_dropped_again_in_backward(score)  # type: ignore[misc]
    yield lambda: test_parity.test_half_precision_is_as_good_as_it_can_be(
        "streamed", "scaled_dot", torch.bfloat16, 59, "everything"
    )
    yield test_additive.test_gradients_are_right_by_differences


def shifted_rows(patch: Patch) -> None:
    """All blocks stand where the first does."""
    real = blocks.by_rows
    for module in (streamed, windowed):
        patch.setattr(
            module, "by_rows", lambda call, rows: [part._replace(offset=call.offset) for part in real(call, rows)]
        )


def last_block_skipped(patch: Patch) -> None:
    real = blocks.left

    def left(*given: Any) -> list[Any]:
        return real(*given)[:-1] or real(*given)

    patch.setattr(windowed, "left", left)


def first_key_forgotten(patch: Patch) -> None:
    real = windowed.patterned
    patch.setattr(windowed, "patterned", lambda block, stretches: real(block, stretches)._replace(first_key=0))


def stretches_turned_round(patch: Patch) -> None:
    real = windowed.side_by_side
    patch.setattr(windowed, "side_by_side", lambda parts, extents: real(parts[::-1], extents[::-1]))


def mask_of_the_first_stretch_alone(patch: Patch) -> None:
    real: Callable[[Extent, range], Extent] = windowed.extent_of
    patch.setattr(windowed, "extent_of", lambda whole, stretch: real(whole, range(len(stretch))))


def other_random_numbers_in_backward(patch: Patch) -> None:
    def recomputed(run: Callable[[AttentionCall], Tensor], block: AttentionCall) -> Tensor:
        context: Tensor = checkpoint(run, block, use_reentrant=False, preserve_rng_state=False)
        return context

    patch.setattr(streamed, "recomputed", recomputed)


def heads_mixed_up(patch: Patch) -> None:
    real = products.of_maps
    patch.setattr(
        products, "of_maps", lambda added, call, entries, heads: real(added, call, entries, range(len(heads)))
    )


def entries_mixed_up(patch: Patch) -> None:
    real = products.of_maps
    patch.setattr(
        products, "of_maps", lambda added, call, entries, heads: real(added, call, range(len(entries)), heads)
    )


def dropout_twice(patch: Patch) -> None:
    real = products.mixed

    def mixed(query: Tensor, key: Tensor, value: Tensor, added: Tensor | None, dropout: float) -> Tensor:
        return real(query, key, torch.dropout(value, dropout, train=True), added, dropout)

    patch.setattr(products, "mixed", mixed)


def causal_at_any_offset(patch: Patch) -> None:
    patch.setattr(fused, "is_causal", lambda call: call.bias is None and isinstance(call.mask, Causal))


def wrong_slope(patch: Patch) -> None:
    """The slope of the sigmoid, not of tanh."""
    real = additive.Pairs.backward

    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        by_query, by_key, by_vector = real(ctx, gradient)
        return None if by_query is None else by_query / 4, by_key, by_vector

    patch.setattr(additive.Pairs, "backward", staticmethod(backward))


def keys_of_the_first_tile(patch: Patch) -> None:
    real = additive.Tiles.__iter__

    def tiles(self: additive.Tiles) -> Iterator[tuple[additive.Place, Tensor]]:
        first: Tensor | None = None
        for place, s in real(self):
            first = s.clone() if first is None or first.shape != s.shape else first
            yield place, first.clone()

    patch.setattr(additive.Tiles, "__iter__", tiles)


MUTANTS: dict[str, Callable[[Patch], None]] = {
    "blocks without their offset": shifted_rows,
    "last block of a row skipped": last_block_skipped,
    "position of the first key forgotten": first_key_forgotten,
    "stretches turned round": stretches_turned_round,
    "positions of the first stretch for all": mask_of_the_first_stretch_alone,
    "other random numbers in backward": other_random_numbers_in_backward,
    "gradients summed in half precision": lambda patch: patch.setattr(streamed, "widened", lambda call: call),
    "mask of other heads": heads_mixed_up,
    "mask of other batch entries": entries_mixed_up,
    "values dropped too": dropout_twice,
    "causal kernel at any offset": causal_at_any_offset,
    "slope of tanh a quarter": wrong_slope,
    "every tile the first": keys_of_the_first_tile,
}


def test_the_checks_pass_on_what_is_right() -> None:
    assert caught(lambda patch: None, checks) is None


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name: str) -> None:
    assert caught(MUTANTS[name], checks) is not None, f"{name}: no check noticed"


def test_nothing_is_left_of_the_mutants() -> None:
    test_parity.check_ways(replace(case(mask="causal", bias="tensor"), scale=1.3))
