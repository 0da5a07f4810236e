"""Which way takes a map in one piece: by type, by what the ways can run, and by whether a gradient is wanted."""

import pytest
import torch

from regard.attention.call import AttentionCall
from regard.attention.ways import additive, choice, fused, products, reference
from tests.attention.judge import case

HALVES = [torch.bfloat16, torch.float16]


def learning(call: AttentionCall) -> AttentionCall:
    """Want the gradient of the keys alone, as a model whose queries are given does."""
    return call._replace(key=call.key.detach().requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_full_precision_is_fused(dtype: torch.dtype) -> None:
    call = case(mask="causal").to(dtype).call()
    assert choice.in_one_piece(call) is choice.in_one_piece(learning(call)) is fused


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_takes_products_and_learns_long_maps_by_the_fused_kernel(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = case(mask="causal").to(dtype).call()
    queries, keys = call.query.shape[2], call.key.shape[2]
    assert choice.in_one_piece(learning(call)) is products
    monkeypatch.setattr(choice, "FUSED_FROM", queries * keys)
    assert choice.in_one_piece(learning(call)) is fused
    assert choice.in_one_piece(call) is products  # its last bits may not depend on the padding
    with torch.no_grad():
        assert choice.in_one_piece(learning(call)) is products
    monkeypatch.setattr(choice, "FUSED_FROM", queries * keys + 1)
    assert choice.in_one_piece(learning(call)) is products


def test_what_the_fused_kernel_cannot_run_goes_to_ways_that_give_weights() -> None:
    assert choice.in_one_piece(case(normalizer="sparsemax").call()) is reference
    assert choice.in_one_piece(case("additive").call()) is additive


def test_the_map_is_held_by_products_where_they_can_run_it() -> None:
    assert choice.holding_the_map(case().call()) is products
    assert choice.holding_the_map(case(soft_cap=1.7).call()) is reference
    assert choice.holding_the_map(case("additive").call()) is additive
