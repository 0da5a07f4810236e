"""Softmax, and rows that may see nothing: zeros, with finite gradients, in every mode, precision and way."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from regard.attention.attend import Attention, attend, attention_weights
from regard.attention.biases import Bias, TensorBias
from regard.attention.catalogue import NORMALIZERS
from regard.attention.lengths import Padding
from regard.attention.masks import Mask
from regard.attention.normalizers import Softmax
from regard.attention.patterns import Causal, TensorMask, Window
from tests.attention.judge import DEVICES, PRODUCT_WAYS, SIZES, assert_same

B, H, Q, K, D = 2, 3, 5, 7, 11


@pytest.mark.parametrize("name", NORMALIZERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_weights_are_not_negative_sum_to_one_and_hide_what_the_mask_hides(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    scores = (3 * torch.randn(B, H, Q, K)).to(dtype)
    mask = torch.rand(B, 1, Q, K) < 0.6
    mask[..., 2] = True
    weights = NORMALIZERS[name].build(SIZES)(scores, mask)
    assert weights.dtype == dtype
    assert bool((weights >= 0).all())
    assert not weights[~mask.expand_as(weights)].any()
    torch.testing.assert_close(
        weights.double().sum(-1), torch.ones(B, H, Q).double(), rtol=0, atol=4 * K * epsilon(dtype)
    )


def epsilon(dtype: torch.dtype) -> float:
    return float(torch.finfo(dtype).eps)


def test_softmax_of_known_scores() -> None:
    scores = torch.tensor([0.0, math.log(2), math.log(5), 9.0]).view(1, 1, 1, 4)
    mask = torch.tensor([True, True, True, False]).view(1, 1, 1, 4)
    torch.testing.assert_close(Softmax()(scores, mask).flatten(), torch.tensor([0.125, 0.25, 0.625, 0.0]))


@given(st.floats(-1e4, 1e4), st.integers(0, 2**16))
def test_adding_a_number_to_all_scores_changes_nothing(shift: float, seed: int) -> None:
    scores = torch.randn(1, 1, 3, K, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(Softmax()(scores + shift, None), Softmax()(scores, None), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NORMALIZERS)
def test_huge_scores_do_not_overflow(name: str) -> None:
    scores = torch.tensor([3e38, -3e38, 3e38, 0.0]).view(1, 1, 1, 4)
    weights = NORMALIZERS[name].build(SIZES)(scores, None)
    torch.testing.assert_close(weights.flatten(), torch.tensor([0.5, 0.0, 0.5, 0.0]))


@pytest.mark.parametrize("name", NORMALIZERS)
def test_scores_that_are_all_minus_infinity_give_zeros_and_finite_gradients(name: str) -> None:
    scores = torch.full((1, 1, 2, K), -torch.inf)
    scores[0, 0, 1, 3] = 0.5
    scores.requires_grad_()
    weights = NORMALIZERS[name].build(SIZES)(scores, None)
    assert not weights[0, 0, 0].any()
    assert weights[0, 0, 1, 3] == 1
    (gradient,) = torch.autograd.grad(weights.square().sum(), scores)
    assert bool(gradient.isfinite().all())


# Rows that may see nothing


class Cause(NamedTuple):
    """Why rows may see nothing, and the same call in which they may see something."""

    blind: Callable[[], dict[str, Any]]
    seeing: Callable[[], dict[str, Any]]
    rows: Tensor


def some_mask() -> Tensor:
    mask = torch.rand(B, 1, Q, K, generator=torch.Generator().manual_seed(2)) < 0.6
    mask[:, :, :, 0] = True
    return mask


def with_row(mask: Mask | Tensor, rows: Tensor, allowed: bool, offset: int = 0) -> Mask:
    """Return a mask as a tensor, with some rows allowed or hidden."""
    if isinstance(mask, Mask):
        indices = torch.meshgrid(*(torch.arange(n) for n in (B, 1, Q, K)), indexing="ij")
        mask = mask.allows(indices[0], indices[1], indices[2] + offset, indices[3])
    dense = mask.expand(B, 1, Q, K).clone()
    dense[rows[:, :1].expand(B, 1, Q)] = allowed
    return TensorMask(dense, first_query=offset)


def rows_of(*queries: int, entry: int | None = None) -> Tensor:
    rows = torch.zeros(B, H, Q, dtype=torch.bool)
    for query in queries:
        rows[slice(None) if entry is None else entry, :, query] = True
    return rows


def bias_with(value: float) -> Bias:
    added = torch.randn(B, H, Q, K, generator=torch.Generator().manual_seed(3))
    added[0, :, 2] = value
    return TensorBias(added)


CAUSES = {
    "an empty sentence": Cause(
        lambda: {"mask": Padding(torch.tensor([0, 5]))},
        lambda: {"mask": Padding(torch.tensor([6, 5]))},
        rows_of(*range(Q), entry=0),
    ),
    "a row of the mask": Cause(
        lambda: {"mask": with_row(some_mask(), rows_of(2), False)},
        lambda: {"mask": with_row(some_mask(), rows_of(2), True)},
        rows_of(2),
    ),
    "a window beyond the keys": Cause(
        lambda: {"mask": Window(1, 0), "offset": 4},
        lambda: {"mask": with_row(Window(1, 0), rows_of(4), True, 4), "offset": 4},
        rows_of(4),
    ),
    "a bias of minus infinity": Cause(
        lambda: {"bias": bias_with(-math.inf)}, lambda: {"bias": bias_with(0.0)}, rows_of(2, entry=0)
    ),
    "causal, before the first key": Cause(
        lambda: {"mask": Causal(), "offset": -2},
        lambda: {"mask": with_row(Causal(), rows_of(0, 1), True, -2), "offset": -2},
        rows_of(0, 1),
    ),
}


def tensors(dtype: torch.dtype) -> list[Tensor]:
    torch.manual_seed(4)
    return [torch.randn(B, H, n, D).to(dtype).requires_grad_() for n in (Q, K, K)]


def run_attention(given: list[Tensor], parts: dict[str, Any], *, way: str, training: bool) -> Tensor:
    """Attend through the module, as a model does; the same seed drops the same weights."""
    attention = Attention(dropout=0.5, way=way).train(training)
    torch.manual_seed(5)
    context: Tensor = attention(given[0], attention.remember(given[1], given[2]), **parts)
    return context


def check_blind_rows(cause: str, dtype: torch.dtype, mode: str, way: str) -> None:
    """Compare a call in which rows see nothing with one in which they see something."""
    blind, seeing, rows = CAUSES[cause]
    given = tensors(dtype)
    training = mode == "train" and way != "windowed"  # which draws random numbers for what a mask leaves alone
    with torch.set_grad_enabled(mode != "no_grad"):
        context = run_attention(given, blind(), way=way, training=training)
        expected = run_attention(given, seeing(), way=way, training=training)
    assert not context[rows].any(), "a row that may see nothing is not zero"
    assert torch.equal(context[~rows], expected[~rows]), "another row has changed"
    if mode != "no_grad":
        for gradient in torch.autograd.grad(context.float().square().sum(), given):
            assert bool(gradient.isfinite().all()), "a gradient is not finite"


MODES = ["train", "eval", "no_grad"]
PRECISIONS = [torch.float32, torch.bfloat16, torch.float64]


@pytest.mark.parametrize("way", ["auto", *PRODUCT_WAYS])
@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cause", CAUSES)
def test_a_row_that_may_see_nothing_gets_zeros(cause: str, mode: str, dtype: torch.dtype, way: str) -> None:
    check_blind_rows(cause, dtype, mode, way)


def check_blind_weights(cause: str, dtype: torch.dtype, mode: str) -> None:
    blind, seeing, rows = CAUSES[cause]
    query, key, _ = tensors(dtype)
    with torch.set_grad_enabled(mode != "no_grad"):
        weights = attention_weights(query, key, **blind())
        expected = attention_weights(query, key, **seeing())
    assert not weights[rows].any()
    assert torch.equal(weights[~rows], expected[~rows])
    if mode != "no_grad":
        for gradient in torch.autograd.grad(weights.float().square().sum(), (query, key)):
            assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cause", CAUSES)
def test_a_row_that_may_see_nothing_gets_zero_weights(cause: str, mode: str, dtype: torch.dtype) -> None:
    check_blind_weights(cause, dtype, mode)


@pytest.mark.parametrize("way", ["auto", *PRODUCT_WAYS])
@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
def test_an_empty_sentence_changes_nothing_for_its_company(dtype: torch.dtype, way: str) -> None:
    query, key, value = tensors(dtype)
    both = attend(query, key, value, mask=Padding(torch.tensor([0, 5])), way=way)
    alone = attend(query[1:], key[1:], value[1:], mask=Padding(torch.tensor([5])), way=way)
    assert torch.equal(both[1:], alone)


@pytest.mark.parametrize("way", ["auto", *PRODUCT_WAYS])
@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
def test_without_the_row_that_sees_nothing_the_others_are_the_same(dtype: torch.dtype, way: str) -> None:
    query, key, value = tensors(dtype)
    rest = torch.tensor([0, 1, 3, 4])
    mask = some_mask()
    mask[:, :, 2] = False
    full = attend(query, key, value, mask=mask, way=way)
    fewer = attend(query[:, :, rest], key, value, mask=mask[:, :, rest], way=way)
    tolerance = {torch.float32: 1e-6, torch.float64: 1e-14, torch.bfloat16: 0.02}[dtype]  # other sizes, other kernels
    assert_same(full[:, :, rest], fewer, tolerance)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("way", ["auto", *PRODUCT_WAYS])
def test_blind_rows_on_every_device(way: str, device: str) -> None:
    """Kernels for other devices have their own ideas of a row that is hidden altogether."""
    query, key, value = (tensor.detach().to(device).requires_grad_() for tensor in tensors(torch.float32))
    mask = some_mask().to(device)
    mask[1, :, 3] = False
    context = attend(query, key, value, mask=mask, way=way)
    assert not context[1, :, 3].any()
    for gradient in torch.autograd.grad(context.square().sum(), (query, key, value)):
        assert bool(gradient.isfinite().all())


def test_a_module_with_every_row_blind_gives_zeros() -> None:
    query, key, value = tensors(torch.float32)
    context = attend(query, key, value, mask=~Padding(torch.tensor([K, K])))
    assert_same(context, torch.zeros(B, H, Q, D))
    assert not any(gradient.any() for gradient in torch.autograd.grad(context.sum(), (query, key, value)))
