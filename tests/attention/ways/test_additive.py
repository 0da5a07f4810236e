"""The fast way of the additive score: the same numbers as tanh, and never the tensor of all pairs and features."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from regard.attention.attend import attend, chosen_way
from regard.attention.catalogue import MASKS, SCORES
from regard.attention.lengths import Padding
from regard.attention.scores import Additive, Positions
from regard.attention.ways import additive, reference, streamed
from tests.attention.judge import GROUPED, SIZES, Case, assert_same, case
from tests.attention.test_call import check_poison
from tests.attention.ways.counting import forward_and_backward
from tests.attention.ways.test_parity import check_dropout, check_ways

LONG = SIZES._replace(batch=1, heads=1, queries=53, keys=61, hidden_dim=67)
PAIRS, FEATURES = 53 * 61, 67
LARGEST = 61 * FEATURES  # the prepared keys


@pytest.mark.parametrize("score", SCORES)
def test_it_runs_the_additive_score_alone(score: str) -> None:
    reason = additive.why_not(case(score).call())
    if score in ("additive", "concat"):
        assert reason is None
    else:
        name = type(case(score).score).__name__.lower()
        assert reason == f"its score is {name} and additive computes the additive score only"


def test_a_kind_of_additive_score_is_not_taken_for_it() -> None:
    class Louder(Additive):
        def pair(self, query: Tensor, key: Tensor, positions: Positions) -> Tensor:
            return 2 * super().pair(query, key, positions)

    plain = case("additive")
    louder = Louder(11, 11, 13).double()
    louder.load_state_dict(plain.score.state_dict())
    expected = replace(plain, scale=2.0).context("reference")
    assert_same(replace(plain, score=louder).context(), expected)


@settings(max_examples=25)
@given(
    st.integers(1, 3), st.sampled_from([(1, 1), (2, 1), (2, 2), (4, 2)]), st.integers(1, 9), st.integers(1, 9),
    st.integers(1, 90), st.integers(0, 2**16),
)  # fmt: skip
def test_pairs_of_any_sizes_are_those_of_tanh(
    batch: int, heads: tuple[int, int], queries: int, keys: int, width: int, seed: int
) -> None:
    torch.manual_seed(seed)
    query = torch.randn(batch, heads[0], queries, 5, dtype=torch.float64, requires_grad=True)
    key = torch.randn(batch, heads[1], keys, 5, dtype=torch.float64, requires_grad=True)
    score = Additive(5, 5, width).double()
    leaves = [query, key, *score.parameters()]
    found = []
    for way in ("additive", "reference"):
        context = attend(query, key, key, score=score, way=way)
        found.append([context, *torch.autograd.grad(context.square().sum(), leaves)])
    for actual, expected in zip(*found, strict=True):
        assert_same(actual, expected)


@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0, 1e4, 1e30])
def test_small_and_huge_features_are_those_of_tanh(size: float) -> None:
    """Sums in between are as exact as tanh's, and where tanh is flat its slope is zero and no NaN."""
    plain = case("additive").to(torch.float32)
    query, key = (size * tensor for tensor in (plain.query, plain.key))
    found = []
    for way in ("additive", "reference"):
        leaves = [query.clone().requires_grad_(), key.clone().requires_grad_()]
        context = attend(leaves[0], leaves[1], plain.value, score=plain.score, way=way)
        found.append([context, *torch.autograd.grad(context.sum(), leaves)])
    for actual, expected in zip(*found, strict=True):
        assert_same(actual, expected)


def test_the_weights_of_the_fast_way_are_handed_out() -> None:
    for mask in MASKS:
        grouped = case("additive", mask, "tensor", sizes=GROUPED, groups=2, soft_cap=0.8)
        assert_same(grouped.weights(), reference.weights(grouped.call()))


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_drops_weights_and_keeps_their_mean(p: float) -> None:
    check_dropout("additive", case("additive", "causal"), p)
    check_dropout("streamed", case("additive", "causal"), p)


def test_gradients_are_right_by_differences() -> None:
    small = case("additive", "causal", sizes=SIZES._replace(batch=1, queries=3, query_dim=2, key_dim=2, hidden_dim=3))
    vector = small.score.get_parameter("vector.weight")

    def pairs(query: Tensor, key: Tensor, vector: Tensor) -> Tensor:
        return additive.Pairs.apply(query, key, vector)  # type: ignore[no-untyped-call, no-any-return]

    leaves = [
        tensor.detach().clone().requires_grad_()
        for tensor in (torch.randn(2, 3, 3).double(), torch.randn(2, 4, 3).double(), vector[0])
    ]
    assert torch.autograd.gradcheck(pairs, leaves)
    assert torch.autograd.gradgradcheck(pairs, leaves)
    assert_same(pairs(*leaves), torch.tanh(leaves[0].unsqueeze(2) + leaves[1].unsqueeze(1)) @ leaves[2])
    assert_same(additive.in_one_tile(*leaves), pairs(*leaves))


@pytest.mark.parametrize("poison", [math.nan, math.inf, 1e30])
def test_poison_that_nobody_sees_leaks_nowhere(poison: float) -> None:
    check_poison("additive", Padding(torch.tensor([4, 7])), poison, "additive")


@pytest.mark.parametrize("tile", [1, 10**6])
def test_few_pairs_and_many_are_computed_alike(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(additive, "TILE", tile)
    for mask in ("causal", "padding"):
        assert check_ways(case("additive", mask, "tensor", sizes=GROUPED, groups=2), ["additive"])


def test_what_needs_no_gradient_gets_none() -> None:
    plain = case("additive")
    for name in ("query", "key"):
        leaf = getattr(plain, name).clone().requires_grad_()
        frozen = replace(plain, **{name: leaf}, score=plain.score.requires_grad_(False))
        found = [torch.autograd.grad(frozen.context(way).sum(), leaf)[0] for way in ("additive", "reference")]
        assert_same(*found)


def test_backward_under_autocast_is_that_without() -> None:
    plain = case("additive").to(torch.float32)
    query = plain.query.requires_grad_()
    context = plain.context("additive").sum()
    vector = plain.score.get_parameter("vector.weight")
    expected = torch.autograd.grad(context, (query, vector), retain_graph=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.autograd.grad(context, (query, vector))
    for actual, want in zip(found, expected, strict=True):
        assert_same(actual, want, 0.02)  # the products around the pairs are PyTorch's and cast


@pytest.mark.parametrize("farthest", [3.0, 39.9, 41.0, 300.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_features_near_and_far_are_scored_as_tanh_scores_them(farthest: float, dtype: torch.dtype) -> None:
    """Up to 40 by exponentials; beyond, where one of them may be 0 and the other infinite, by sigmoids."""
    torch.manual_seed(3)
    query, key = (farthest * (2 * torch.rand(2, 5, 11, dtype=dtype) - 1) for _ in range(2))
    query[:, 0], key[:, 0] = farthest, -farthest  # far apart, and their sum is 0
    query[:, 1], key[:, 1] = -farthest, 0.875 * farthest
    vector = torch.randn(11, dtype=dtype)
    leaves = [tensor.requires_grad_() for tensor in (query, key, vector)]
    exact = [tensor.detach().double().requires_grad_() for tensor in leaves]
    assert additive.Tiles(query, key).by_exponentials is (farthest <= additive.FARTHEST)
    scores: Tensor = additive.Pairs.apply(*leaves)  # type: ignore[no-untyped-call]
    expected = torch.tanh(exact[0].unsqueeze(2) + exact[1].unsqueeze(1)) @ exact[2]
    drawn = torch.randn(scores.shape, dtype=torch.float64)
    found = [scores, *torch.autograd.grad(scores, leaves, drawn.to(dtype))]
    wanted = [expected, *torch.autograd.grad(expected, exact, drawn)]
    tolerance = 1e-12 if dtype == torch.float64 else 4e-6
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=tolerance, atol=tolerance)


def test_features_that_are_no_numbers_stay_so() -> None:
    query, key = torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)
    key[0, 1, 2] = torch.nan
    assert not additive.Tiles(query, key).by_exponentials
    scores = additive.Pairs.apply(query, key, torch.ones(3))  # type: ignore[no-untyped-call]
    assert scores.isnan().tolist() == [[[False, True], [False, True]]]


# The tensor that is never built


def long_case() -> tuple[Case, list[Tensor]]:
    drawn = case("additive", "causal", sizes=LONG).to(torch.float32)
    leaves = [tensor.requires_grad_() for tensor in (drawn.query, drawn.key, drawn.value)]
    return drawn, [*leaves, *drawn.score.parameters()]


RUNS: dict[str, Callable[[Case], Tensor]] = {
    "attend": lambda drawn: drawn.context(),
    "additive": lambda drawn: drawn.context("additive"),
    "streamed": lambda drawn: drawn.context("streamed"),
    "windowed": lambda drawn: drawn.context("windowed"),
    "attention_weights": lambda drawn: drawn.weights(),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_tensor_of_all_pairs_and_features_is_never_built(name: str) -> None:
    drawn, leaves = long_case()
    largest, kept = forward_and_backward(lambda: RUNS[name](drawn), leaves)
    assert largest <= LARGEST, f"a tensor of {largest} numbers"
    assert kept <= 6 * PAIRS + 8 * (53 + 61) * FEATURES


def test_the_reference_builds_it_which_shows_that_the_count_sees_it() -> None:
    drawn, leaves = long_case()
    largest, kept = forward_and_backward(lambda: drawn.context("reference"), leaves)
    assert largest >= PAIRS * FEATURES
    assert kept >= PAIRS * FEATURES


@pytest.mark.parametrize("tile", [1, 67, 1000, 10**6])
def test_a_tile_is_as_large_as_it_may_be_and_no_larger(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(additive, "TILE", tile)
    with torch.no_grad():
        call = long_case()[0].call()
    seen = torch.zeros(1, 53, 61)
    for place, s in additive.Tiles(call.query[0], call.key[0]):
        assert s.numel() <= max(additive.tile_of(s), FEATURES)
        seen[place.pairs] += 1
    assert bool((seen == 1).all()), "every pair once"


def test_auto_takes_it_for_every_additive_score_and_streams_it_where_the_map_is_long() -> None:
    assert chosen_way(case("additive", "causal", "tensor").call()) is additive
    for length, way in ((1024, additive), (1025, streamed)):
        query = torch.zeros(1, 1, length, 1)
        with torch.no_grad():
            call = replace(case("additive"), query=query, key=query, value=query, score=Additive(1, 1, 1)).call()
        assert chosen_way(call) is way
