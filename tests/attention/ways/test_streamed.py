"""Blocks of queries, recomputed in backward: what is held, and that what is drawn at random is drawn again."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from regard.attention.attend import attend, chosen_way
from regard.attention.catalogue import NORMALIZERS
from regard.attention.patterns import Causal
from regard.attention.ways import additive, reference, streamed
from tests.attention.judge import SIZES, Case, assert_same, case
from tests.attention.ways.counting import forward_and_backward

LONG = SIZES._replace(batch=1, heads=2, queries=211, keys=223)
ROWS = 5
BLOCK = 2 * ROWS * 223
STATES = 2 * 223 * 17
"""Numbers in the values of a long call, the largest of what it is given."""


def long_case(**parts: Any) -> tuple[Case, list[Tensor]]:
    drawn = replace(case(sizes=LONG), **parts).to(torch.float32)
    leaves = [tensor.requires_grad_() for tensor in (drawn.query, drawn.key, drawn.value)]
    return drawn, leaves


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"mask": Causal()},
        {"mask": Causal(), "soft_cap": 2.0, "dropout": 0.3},
        {"normalizer": NORMALIZERS["sparsemax"].build(LONG)},
    ],
    ids=["plain", "causal", "capped, with dropout", "sparsemax"],
)
def test_a_block_of_the_map_is_held_and_never_all_of_it(parts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "ROWS", ROWS)
    drawn, leaves = long_case(**parts)
    largest, kept = forward_and_backward(lambda: drawn.context("streamed"), leaves)
    assert largest <= max(4 * BLOCK, STATES), "four: indices of a block are numbers twice as long"
    assert kept <= 4 * STATES, "what it is given and the result"
    largest, kept = forward_and_backward(lambda: drawn.context("reference"), leaves)
    assert min(largest, kept) >= 2 * 211 * 223, "the count sees the map where there is one"


def test_without_gradients_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, _ = long_case()
    seen = []
    monkeypatch.setattr(streamed, "recomputed", lambda *given: seen.append(given))
    with torch.no_grad():
        assert_same(drawn.context("streamed"), drawn.context("reference"))
    assert seen == []


def test_the_size_of_blocks_depends_on_heads_and_keys_and_not_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    sizes = SIZES._replace(heads=4, keys=4096, queries=1)
    rows = [streamed.rows(case(sizes=sizes._replace(batch=batch)).call()) for batch in (1, 3)]
    assert rows[0] == rows[1] == streamed.SCORES // (4 * 4096)
    assert streamed.rows(case(sizes=sizes._replace(keys=70_000, heads=8, batch=1)).call()) == streamed.ROWS


@pytest.mark.parametrize("score", ["scaled_dot", "additive", "location"])
def test_what_is_dropped_is_dropped_again_in_backward(score: str) -> None:
    """The gradient is that of the context that forward gave: the product of both is linear in the values."""
    given = replace(case(score, "causal"), dropout=0.5)
    value = given.value.requires_grad_()
    torch.manual_seed(3)
    context = replace(given, value=value).context("streamed")
    probe = torch.randn(context.shape, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((context * probe).sum(), value)
    assert_same((gradient * value).sum(), (context * probe).sum())


def test_random_numbers_go_on_after_backward_as_if_nothing_were_computed_again() -> None:
    given = replace(case(), dropout=0.5)
    query = given.query.requires_grad_()
    drawn = []
    for backward in (False, True):
        torch.manual_seed(4)
        context = replace(given, query=query).context("streamed")
        if backward:
            torch.autograd.grad(context.sum(), query)
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)


def test_gradients_of_gradients_are_right() -> None:
    given = case("additive", sizes=SIZES._replace(batch=1, heads=1, queries=3, keys=2, query_dim=1, key_dim=1))

    def run(query: Tensor, key: Tensor) -> Tensor:
        return replace(given, query=query, key=key).context("streamed").sum(dim=-1)

    assert torch.autograd.gradgradcheck(run, [given.query.requires_grad_(), given.key.requires_grad_()], atol=1e-6)


def test_auto_streams_what_is_long_and_runs_in_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regard.attention.attend.CUT", 1)
    monkeypatch.setattr("regard.attention.attend.LONG", 5 * 7 - 1)
    ways: dict[str, Callable[[], Case]] = {
        "capped": lambda: case(soft_cap=1.0),
        "sparsemax": lambda: case(normalizer="sparsemax"),
        "additive": lambda: case("additive"),
        "location": lambda: case("location", "padding", "tensor"),
    }
    for make in ways.values():
        assert chosen_way(make().call()) is streamed
        assert_same(make().context(), make().context("reference"))
    assert chosen_way(case(mask="causal").call()) is not streamed
    monkeypatch.setattr("regard.attention.attend.LONG", 5 * 7)
    assert chosen_way(ways["capped"]().call()) is reference
    assert chosen_way(ways["additive"]().call()) is additive


def test_a_long_call_has_the_gradients_of_the_reference() -> None:
    _, leaves = long_case()
    found = []
    for way in ("streamed", "reference"):
        context = attend(*leaves, mask=Causal(), soft_cap=2.0, way=way)
        found.append([context, *torch.autograd.grad(context.square().sum(), leaves)])
    for actual, expected in zip(*found, strict=True):
        assert_same(actual, expected)
