"""Entmax, by its definition: of all distributions it is the one with the greatest mean score plus Tsallis entropy."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from regard.attention import entmax as entmax_module
from regard.attention.entmax import by_halving, entmax

ALPHAS = [0.4, 0.7, 1.1, 1.3, 1.5, 1.9, 2.0, 2.3, 4.0]


def drawn(*shape: int, seed: int = 1, deviation: float = 1.0) -> Tensor:
    return deviation * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def same(actual: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


HAND = [
    (2.0, [1.0, 0.5, -1.0], [0.75, 0.25, 0.0]),
    (2.0, [0.2, 0.2, 0.2, -5.0], [1 / 3, 1 / 3, 1 / 3, 0.0]),
    (2.0, [3.0, 1.0], [1.0, 0.0]),
    (1.5, [0.4, 0.0, -5.0], [0.64, 0.36, 0.0]),  # roots 0.8 and 0.6, whose difference is half of 0.4
    (1.5, [2.0, 0.0], [1.0, 0.0]),
    (3.0, [0.1, 0.0], [0.6, 0.4]),  # squares 0.36 and 0.16, whose difference is twice 0.1
    (0.5, [2 / 0.6 - 2 / 0.8, 0.0], [0.64, 0.36]),  # roots again, of which one is divided by
]


def check_by_hand() -> None:
    for alpha, scores, expected in HAND:
        same(entmax(torch.tensor(scores, dtype=torch.float64), alpha), torch.tensor(expected, dtype=torch.float64))


def test_entmax_by_hand() -> None:
    check_by_hand()


def worth(weights: Tensor, scores: Tensor, alpha: float) -> Tensor:
    """Return what entmax makes as great as it can be (Peters et al. 2019, eq. 8 and 9)."""
    return (weights * scores + (weights - weights**alpha) / (alpha * (alpha - 1))).sum(dim=-1)


def check_worth(alpha: float) -> None:
    for deviation in (0.1, 1.0, 10.0):
        scores = drawn(13, 7, deviation=deviation)
        weights = entmax(scores, alpha)
        best = worth(weights, scores, alpha)
        for seed in range(5):
            other = torch.softmax(drawn(13, 7, seed=seed, deviation=3.0), dim=-1)
            for share in (1.0, 1e-3):
                mixed = torch.lerp(weights, other, share)
                assert bool((worth(mixed, scores, alpha) <= best + 1e-12).all()), (alpha, deviation)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_no_other_distribution_is_worth_more(alpha: float) -> None:
    check_worth(alpha)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(ALPHAS), st.integers(0, 2**16), st.floats(-1e3, 1e3), st.floats(0.01, 100))
def test_it_gives_a_distribution_whatever_the_order_and_the_level(
    alpha: float, seed: int, shift: float, deviation: float
) -> None:
    scores = drawn(3, 11, seed=seed, deviation=deviation)
    weights = entmax(scores, alpha)
    assert bool((weights >= 0).all())
    same(weights.sum(dim=-1), torch.ones(3, dtype=torch.float64))
    order = torch.randperm(11, generator=torch.Generator().manual_seed(seed))
    same(entmax(scores[:, order], alpha), weights[:, order], 1e-9)
    same(entmax(scores + shift, alpha), weights, 1e-7)
    ranked = weights.gather(-1, scores.argsort(dim=-1))
    assert bool((ranked.diff(dim=-1) >= 0).all()), "a greater score has a smaller weight"


def test_near_one_it_is_softmax() -> None:
    scores = drawn(3, 11)
    for alpha in (0.999, 1.001):
        same(entmax(scores, alpha), torch.softmax(scores, dim=-1), 2e-3)


def test_a_greater_alpha_leaves_fewer_keys() -> None:
    left = [(entmax(drawn(31, 37), alpha) > 0).sum().item() for alpha in ALPHAS]
    assert left == sorted(left, reverse=True)
    assert left[0] == 31 * 37 > left[3]


# Steps and halving find the same root


@pytest.mark.parametrize("deviation", [1e-4, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("alpha", [1.05, 1.3, 1.5, 2.0])
def test_steps_find_what_halving_encloses(alpha: float, deviation: float) -> None:
    scores = drawn(5, 4096, deviation=deviation)
    scores[1, ::2] = -torch.inf
    scores[2] = 0.0
    exact = by_halving(scores, alpha)
    same(entmax(scores, alpha), exact, 1e-13)
    same(entmax(scores.float(), alpha).double(), by_halving(scores.float().double(), alpha), 1e-6)


@pytest.mark.parametrize("alpha", [1.5, 2.0])
def test_a_row_gets_the_same_weights_in_any_company(alpha: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some rows need more steps than others, and rows are worked on several at a time."""
    scores = torch.cat([drawn(3, 67, seed=seed, deviation=d).float() for seed, d in enumerate((1e-3, 1.0, 50.0))])
    together = entmax(scores, alpha)
    alone = torch.cat([entmax(row, alpha) for row in scores.unsqueeze(1)])
    assert torch.equal(together, alone)
    monkeypatch.setattr(entmax_module, "AT_ONCE", 2 * 67)
    assert torch.equal(entmax(scores, alpha), together)


def test_a_row_of_nan_ends_and_stays_where_it_is() -> None:
    scores = drawn(3, 7)
    expected = entmax(scores, 1.5)
    scores[1, 2] = math.nan
    weights = entmax(scores, 1.5)
    assert bool(weights[1].isnan().all())
    assert torch.equal(weights[::2], expected[::2])


def test_no_rows_have_no_weights() -> None:
    for alpha in (1.5, 3.0):
        assert entmax(torch.zeros(2, 0, 7), alpha).shape == (2, 0, 7)


# Gradients


def check_gradients(alpha: float) -> None:
    scores = drawn(3, 7).requires_grad_()
    assert torch.autograd.gradcheck(lambda scores: entmax(scores, alpha), scores)
    assert torch.autograd.gradgradcheck(lambda scores: entmax(scores, alpha), scores)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_its_gradients_are_exact(alpha: float) -> None:
    check_gradients(alpha)


def check_gradient_of_alpha() -> None:
    alpha = torch.tensor([[0.6], [1.2], [2.7]], dtype=torch.float64).requires_grad_()
    scores = drawn(2, 3, 7).requires_grad_()
    assert torch.autograd.gradcheck(entmax, (scores, alpha))
    together = entmax(scores, alpha)
    for row, number in enumerate(alpha.flatten().tolist()):
        same(together[:, row], entmax(scores[:, row], number))


def test_alpha_gets_an_exact_gradient_for_each_row() -> None:
    check_gradient_of_alpha()


@pytest.mark.parametrize("alpha", [0.5, 1.3, 1.5, 2.0, 3.0])
def test_a_row_that_may_see_nothing_gets_zeros_and_gives_none(alpha: float) -> None:
    for dtype in (torch.float64, torch.float32):
        scores = drawn(3, 7).to(dtype)
        scores[1] = -torch.inf
        scores.requires_grad_()
        power = torch.tensor(alpha, dtype=dtype, requires_grad=True)
        for given_alpha, leaves in ((alpha, (scores,)), (power, (scores, power))):
            weights = entmax(scores, given_alpha)
            assert not weights[1].any()
            found = torch.autograd.grad(weights.square().sum(), leaves)
            assert not found[0][1].any()
            assert all(bool(gradient.isfinite().all()) for gradient in found)


def test_it_may_be_mapped_and_differentiated_as_a_function() -> None:
    scores = drawn(5, 3, 7)
    alphas = torch.tensor([[1.2], [1.5], [3.0]], dtype=torch.float64)
    mapped = torch.vmap(lambda row: entmax(row, 1.5), in_dims=1, out_dims=1)(scores)
    same(mapped, entmax(scores, 1.5))
    by_row = torch.vmap(entmax, in_dims=(1, 0), out_dims=1)(scores, alphas)
    same(by_row, entmax(scores, alphas))
    jacobian = torch.func.jacrev(lambda row: entmax(row, 1.5))(scores[0, 0])
    slope = entmax(scores[0, 0], 1.5).sqrt()
    same(jacobian, torch.diag(slope) - torch.outer(slope, slope) / slope.sum())
