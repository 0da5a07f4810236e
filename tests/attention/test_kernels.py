"""Softmax attention with kernels for scores is kernel regression, by the formula of Nadaraya and Watson."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from regard.attention.attend import WAYS, Attention, attend, attention_weights
from regard.attention.kernels import Boxcar, Constant, Gaussian, Kernel, Triangular
from regard.attention.lengths import Padding
from regard.attention.scores import Score
from regard.errors import OptionError, ShapeError
from tests.attention.judge import GROUPED, SIZES, as_a_user, assert_same, assert_same_gradients, case, gradients

KERNELS: dict[str, tuple[Callable[[float], Score], Callable[[Tensor], Tensor]]] = {
    "gaussian": (Gaussian, lambda u: torch.exp(-(u**2) / 2)),
    "boxcar": (Boxcar, lambda u: (u <= 1).double()),
    "triangular": (Triangular, lambda u: (1 - u).clamp(min=0)),
    "constant": (lambda width: Constant(), torch.ones_like),
}


def curve() -> tuple[Tensor, Tensor, Tensor]:
    """Return places that are asked about, places that are known, and what is known there (Zhang et al. 2023, 11.2)."""
    torch.manual_seed(1)
    known = (5 * torch.rand(41, dtype=torch.float64)).sort().values
    return torch.arange(0, 5, 0.13, dtype=torch.float64), known, 2 * known.sin() + known


def regression(kernel: str, width: float, asked: Tensor, known: Tensor, value: Tensor) -> Tensor:
    """Return the mean of the values by the kernel; 0 where it is 0 everywhere."""
    raised = KERNELS[kernel][1]((asked[:, None] - known).abs() / width)
    total = raised.sum(dim=-1, keepdim=True)
    return torch.where(total > 0, raised / total.where(total > 0, 1.0), 0.0) @ value


def attended(score: Score, asked: Tensor, known: Tensor, value: Tensor, way: str = "auto") -> Tensor:
    columns = (tensor.view(1, 1, -1, 1) for tensor in (asked, known, value))
    return attend(*columns, score=score.double(), way=way)[0, 0, :, 0]


def check_regression(kernel: str) -> None:
    for width in (0.1, 0.2, 0.5, 1.0):
        asked, known, value = curve()
        context = attended(KERNELS[kernel][0](width), asked, known, value)
        assert_same(context, regression(kernel, width, asked, known, value), 1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_attention_is_kernel_regression(kernel: str) -> None:
    check_regression(kernel)


def test_far_from_all_that_is_known_the_answer_is_zero() -> None:
    _, known, value = curve()
    for score in (Boxcar(0.5), Triangular(0.5)):
        assert not attended(score, torch.tensor([9.0], dtype=torch.float64), known, value).any()


def check_edges() -> None:
    query, key = torch.zeros(1, 1, 1, 2), torch.tensor([[3.0, 4.0], [0.0, 2.5], [6.0, 0.0]])[None, None]
    assert attention_weights(query, key, score=Boxcar(5.0)).flatten().tolist() == [0.5, 0.5, 0.0]
    assert attention_weights(query, key, score=Triangular(5.0)).flatten().tolist() == [0.0, 1.0, 0.0]
    half = attention_weights(query, key, score=Triangular(10.0)).flatten()
    torch.testing.assert_close(half, torch.tensor([0.5, 0.75, 0.4]) / 1.65)


def test_the_edge_belongs_to_the_boxcar_alone() -> None:
    check_edges()


# The Gaussian


@pytest.mark.parametrize("way", WAYS)
def test_the_gaussian_is_a_product_that_fast_ways_run(way: str) -> None:
    for mask in ("everything", "causal", "padding"):
        given = case("gaussian", mask, sizes=SIZES._replace(offset=1))
        if way in given.able_ways():
            assert_same(given.context(way), given.context("reference"))
            assert_same_gradients(
                gradients(given, lambda c: c.context(way)), gradients(given, lambda c: c.context("reference"))
            )
        assert way not in ("products", "fused") or way in given.able_ways()


def test_its_width_is_learned() -> None:
    """Of three that are too wide or too narrow each comes nearer to the width that the values were made with."""
    asked, known, value = curve()
    wanted = regression("gaussian", 0.4, asked, known, value)
    for width in (0.25, 0.7, 1.0):
        score = Gaussian(width).double()
        optimizer = torch.optim.Adam(score.parameters(), lr=0.05)
        for _ in range(150):
            loss = (attended(score, asked, known, value) - wanted).square().mean()
            (score.sharpness.grad,) = torch.autograd.grad(loss, score.sharpness)
            optimizer.step()
        assert 1 / score.sharpness.item() == pytest.approx(0.4, rel=0.02)


def test_a_gaussian_that_learns_nothing() -> None:
    score = Gaussian(2.0).requires_grad_(False)
    assert score.sharpness == 0.5
    assert not any(parameter.requires_grad for parameter in Attention(score).parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_gaussian_in_half_precision_is_as_good_as_the_formula(dtype: torch.dtype) -> None:
    """The squares are summed in float32; the formula takes differences, and rounds these."""
    for seed in range(3):
        low = case("gaussian", sizes=SIZES._replace(query_dim=59, key_dim=59, keys=37), seed=seed)
        low = replace(low, score=Gaussian(5.0)).to(dtype)
        exact = low.to(torch.float64).context()
        differences = low.query.unsqueeze(-2) - low.key.unsqueeze(-3)
        naive = torch.softmax(-differences.square().sum(dim=-1) / 50, dim=-1) @ low.value
        error, allowed = ((found.double() - exact).abs().max().item() for found in (low.context(), naive))
        assert error <= 2 * allowed + 1e-5


# Distances


@pytest.mark.parametrize("kernel", [Boxcar, Triangular])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_gradients_are_finite_at_the_center_and_at_the_edge(kernel: type[Kernel], dtype: torch.dtype) -> None:
    query = torch.zeros(1, 1, 1, 2, dtype=dtype, requires_grad=True)
    key = torch.tensor([[0.0, 0.0], [3.0, 4.0], [1.0, 1.0], [9.0, 9.0]], dtype=dtype)[None, None].requires_grad_()
    value = torch.randn(1, 1, 4, 3).to(dtype).requires_grad_()
    context = attend(query, key, value, score=kernel(5.0))
    for gradient in torch.autograd.grad(context.sum(), (query, key, value), allow_unused=True):
        assert gradient is None or bool(gradient.isfinite().all())


def test_kernels_share_keys_among_heads() -> None:
    for kernel in ("gaussian", "boxcar", "triangular", "constant"):
        given = case(kernel, "causal", sizes=GROUPED, groups=2)
        repeated = replace(given, key=given.key.repeat_interleave(3, 1), value=given.value.repeat_interleave(3, 1))
        assert_same(given.context(), repeated.context())


def test_the_constant_kernel_is_the_mean_in_every_way_and_any_widths() -> None:
    query, key, value = torch.randn(2, 3, 5, 11), torch.randn(2, 3, 7, 13), torch.randn(2, 3, 7, 17)
    lengths = torch.tensor([4, 7])
    for way in ("reference", "products", "fused"):
        context = attend(query, key, value, score=Constant(), mask=Padding(lengths), way=way)
        for entry, length in enumerate(lengths.tolist()):
            expected = value[entry, :, :length].mean(dim=1, keepdim=True).expand(-1, 5, -1)
            torch.testing.assert_close(context[entry], expected)


@pytest.mark.parametrize("width", [0.0, -2.5, math.inf, math.nan])
@pytest.mark.parametrize("kernel", [Gaussian, Boxcar, Triangular])
def test_a_kernel_needs_a_width_above_zero(kernel: Callable[[float], Score], width: float) -> None:
    with pytest.raises(OptionError, match=f"number above 0; it is {width}"):
        kernel(width)


@pytest.mark.parametrize("kernel", [Gaussian, Boxcar, Triangular])
def test_a_kernel_compares_vectors_of_one_width(kernel: Callable[[], Score]) -> None:
    with as_a_user(), pytest.raises(ShapeError, match=r"query has width 11 and key 13 .* General and Additive"):
        attend(torch.zeros(1, 1, 5, 11), torch.zeros(1, 1, 7, 13), torch.zeros(1, 1, 7, 2), score=kernel())


def test_a_kernel_that_is_not_written_says_nothing() -> None:
    with pytest.raises(NotImplementedError):
        attend(torch.zeros(1, 1, 5, 2), torch.zeros(1, 1, 7, 2), torch.zeros(1, 1, 7, 2), score=Kernel())
