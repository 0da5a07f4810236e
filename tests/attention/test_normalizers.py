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
from regard.attention.normalizers import AdaptiveEntmax, Entmax, Entmax15, Sigmoid, SinkSoftmax, Softmax, Sparsemax
from regard.attention.patterns import Causal, TensorMask, Window
from regard.errors import OptionError, ShapeError
from tests.attention.judge import DEVICES, PRODUCT_WAYS, SIZES, assert_same, case

B, H, Q, K, D = 2, 3, 5, 7, 11


DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
SUMMING = [name for name in NORMALIZERS if name not in ("sink_softmax", "sigmoid")]
OTHERS = [name for name in NORMALIZERS if name != "softmax"]


@pytest.mark.parametrize("name", NORMALIZERS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_weights_are_not_negative_sum_to_one_and_hide_what_the_mask_hides(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    scores = (3 * torch.randn(B, H, Q, K)).to(dtype)
    mask = torch.rand(B, 1, Q, K) < 0.6
    mask[..., 2] = True
    weights = NORMALIZERS[name].build(SIZES)(scores, mask)
    assert weights.dtype == dtype
    assert bool((weights >= 0).all())
    assert not weights[~mask.expand_as(weights)].any()
    total = weights.double().sum(-1)
    if name in SUMMING:
        torch.testing.assert_close(total, torch.ones(B, H, Q).double(), rtol=0, atol=4 * K * epsilon(dtype))
    elif name == "sink_softmax":
        assert bool((total < 1 + epsilon(dtype)).all())


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
    weights = NORMALIZERS[name].build(SIZES._replace(heads=1, keys=4))(scores, None)
    expected = [1.0, 0.0, 1.0, 0.2] if name == "sigmoid" else [0.5, 0.0, 0.5, 0.0]  # a shift by -log(4) makes 1 / 5
    torch.testing.assert_close(weights.flatten(), torch.tensor(expected))


@pytest.mark.parametrize("name", NORMALIZERS)
def test_scores_that_are_all_minus_infinity_give_zeros_and_finite_gradients(name: str) -> None:
    scores = torch.full((1, 1, 2, K), -torch.inf)
    scores[0, 0, 1, 3] = 0.5
    scores.requires_grad_()
    weights = NORMALIZERS[name].build(SIZES._replace(heads=1))(scores, None)
    assert not weights[0, 0, 0].any()
    assert weights[0, 0, 1, 3] == (1 if name in SUMMING else weights.max())
    (gradient,) = torch.autograd.grad(weights.square().sum(), scores)
    assert bool(gradient.isfinite().all())
    assert not gradient[0, 0, 0].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", NORMALIZERS)
def test_half_precision_is_rounded_once(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    normalizer = NORMALIZERS[name].build(SIZES)
    scores = (2 * torch.randn(B, H, Q, 37)).to(dtype).requires_grad_()
    exact = scores.detach().double().requires_grad_()
    weights, expected = normalizer(scores, None), normalizer.double()(exact, None)
    torch.testing.assert_close(weights.double(), expected, rtol=epsilon(dtype) / 2, atol=1e-6)
    factors = torch.randn(weights.shape).to(dtype)
    (found,) = torch.autograd.grad((weights * factors).sum(), scores)
    (wanted,) = torch.autograd.grad((expected * factors).sum(), exact)
    torch.testing.assert_close(found.double(), wanted, rtol=2 * epsilon(dtype), atol=1e-5)


# Each by itself


def check_sinks() -> None:
    """A sink is one key more, whose score is learned and whose value is zero."""
    normalizer, sinks = SinkSoftmax(H).double(), torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)
    with torch.no_grad():
        normalizer.sinks.copy_(sinks)
    scores = torch.randn(B, H, Q, K, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    longer = torch.cat((scores, sinks.view(1, H, 1, 1).expand(B, H, Q, 1)), dim=-1)
    assert_same(normalizer(scores, None), torch.softmax(longer, dim=-1)[..., :K])


def test_a_sink_is_one_key_more() -> None:
    check_sinks()


def test_sinks_of_minus_infinity_are_none() -> None:
    normalizer = SinkSoftmax(H)
    torch.nn.init.constant_(normalizer.sinks, -torch.inf)
    scores = torch.randn(B, H, Q, K)
    scores[0, 0, 0] = -torch.inf
    scores.requires_grad_()
    weights = normalizer(scores, None)
    assert_same(weights, Softmax()(scores, None))
    for gradient in torch.autograd.grad(weights.square().sum(), (scores, normalizer.sinks)):
        assert bool(gradient.isfinite().all())


def test_one_sink_may_serve_all_heads() -> None:
    scores = torch.randn(B, H, Q, K)
    assert_same(SinkSoftmax(1)(scores, None), SinkSoftmax(H)(scores, None))


@pytest.mark.parametrize("make", [SinkSoftmax, AdaptiveEntmax])
def test_a_number_a_head_wants_its_heads(make: type[SinkSoftmax] | type[AdaptiveEntmax]) -> None:
    with pytest.raises(ShapeError, match=r"built for 2 heads and the scores have 3; build it with num_heads=3"):
        make(2)(torch.zeros(B, H, Q, K), None)
    with pytest.raises(OptionError, match=r"num_heads .* must be 1 or more; it is 0"):
        make(0)


@pytest.mark.parametrize("name", ["sink_softmax", "adaptive_entmax"])
def test_what_heads_learn_is_the_state_of_the_module(name: str) -> None:
    attention = Attention(normalizer=NORMALIZERS[name].build(SIZES))
    (parameter,) = attention.parameters()
    assert parameter.shape == (H,)
    query, key, value = tensors(torch.float32)
    context = attention(query, attention.remember(key, value))
    (gradient,) = torch.autograd.grad(context.square().sum(), parameter)
    assert bool(gradient.ne(0).all())


def test_heads_start_halfway_between_softmax_and_sparsemax() -> None:
    normalizer = AdaptiveEntmax(H)
    torch.testing.assert_close(normalizer.alpha(), torch.full((H,), 1.505))
    with torch.no_grad():
        normalizer.free.copy_(torch.tensor([-1e9, 0.0, 1e9]))
    torch.testing.assert_close(normalizer.alpha(), torch.tensor([1.01, 1.505, 2.0]))


def test_names_of_alphas() -> None:
    scores = torch.randn(B, H, Q, K)
    assert torch.equal(Sparsemax()(scores, None), Entmax(2.0)(scores, None))
    assert torch.equal(Entmax15()(scores, None), Entmax(1.5)(scores, None))
    assert "alpha=1.5" in repr(Entmax15())
    assert "shift=-2.0" in repr(Sigmoid(-2.0))


@pytest.mark.parametrize("alpha", [1.0, 0.0, -0.5, math.inf, math.nan])
def test_entmax_refuses_an_alpha_that_it_has_no_weights_for(alpha: float) -> None:
    with pytest.raises(OptionError, match=f"above 0, and not 1, which is Softmax.*it is {alpha}"):
        Entmax(alpha)


def test_a_sigmoid_needs_a_finite_shift() -> None:
    with pytest.raises(OptionError, match="finite number; it is inf"):
        Sigmoid(math.inf)


@pytest.mark.parametrize("name", OTHERS)
def test_fast_ways_say_that_they_compute_the_softmax_only(name: str) -> None:
    given = case(normalizer=name)
    kind = type(given.normalizer).__name__.lower()
    for way in ("products", "fused"):
        with pytest.raises(OptionError, match=f"way '{way}' cannot run this call: its normalizer is {kind} and "):
            given.context(way)
    assert_same(given.context("auto"), given.context("reference"))


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


def run_attention(
    given: list[Tensor], parts: dict[str, Any], *, way: str, training: bool, normalizer: str = "softmax"
) -> Tensor:
    """Attend through the module, as a model does; the same seed drops the same weights."""
    attention = Attention(normalizer=NORMALIZERS[normalizer].build(SIZES), dropout=0.5, way=way).train(training)
    torch.manual_seed(5)
    context: Tensor = attention(given[0], attention.remember(given[1], given[2]), **parts)
    return context


def check_blind_rows(cause: str, dtype: torch.dtype, mode: str, way: str, normalizer: str = "softmax") -> None:
    """Compare a call in which rows see nothing with one in which they see something."""
    blind, seeing, rows = CAUSES[cause]
    given = tensors(dtype)
    training = mode == "train" and way != "windowed"  # which draws random numbers for what a mask leaves alone
    with torch.set_grad_enabled(mode != "no_grad"):
        context = run_attention(given, blind(), way=way, training=training, normalizer=normalizer)
        expected = run_attention(given, seeing(), way=way, training=training, normalizer=normalizer)
    assert not context[rows].any(), "a row that may see nothing is not zero"
    assert torch.equal(context[~rows], expected[~rows]), "another row has changed"
    if mode != "no_grad":
        for gradient in torch.autograd.grad(context.float().square().sum(), given):
            assert bool(gradient.isfinite().all()), "a gradient is not finite"


MODES = ["train", "eval", "no_grad"]


@pytest.mark.parametrize("way", ["auto", *PRODUCT_WAYS])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cause", CAUSES)
def test_a_row_that_may_see_nothing_gets_zeros(cause: str, mode: str, dtype: torch.dtype, way: str) -> None:
    check_blind_rows(cause, dtype, mode, way)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("normalizer", OTHERS)
def test_a_row_that_may_see_nothing_gets_zeros_from_every_normalizer(
    normalizer: str, cause: str, dtype: torch.dtype
) -> None:
    for mode in MODES:
        check_blind_rows(cause, dtype, mode, "auto", normalizer)


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


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cause", CAUSES)
def test_a_row_that_may_see_nothing_gets_zero_weights(cause: str, mode: str, dtype: torch.dtype) -> None:
    check_blind_weights(cause, dtype, mode)


@pytest.mark.parametrize("way", ["auto", *PRODUCT_WAYS])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_an_empty_sentence_changes_nothing_for_its_company(dtype: torch.dtype, way: str) -> None:
    query, key, value = tensors(dtype)
    both = attend(query, key, value, mask=Padding(torch.tensor([0, 5])), way=way)
    alone = attend(query[1:], key[1:], value[1:], mask=Padding(torch.tensor([5])), way=way)
    assert torch.equal(both[1:], alone)


@pytest.mark.parametrize("way", ["auto", *PRODUCT_WAYS])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_without_the_row_that_sees_nothing_the_others_are_the_same(dtype: torch.dtype, way: str) -> None:
    query, key, value = tensors(dtype)
    rest = torch.tensor([0, 1, 3, 4])
    mask = some_mask()
    mask[:, :, 2] = False
    full = attend(query, key, value, mask=mask, way=way)
    fewer = attend(query[:, :, rest], key, value, mask=mask[:, :, rest], way=way)
    tolerance = {torch.float32: 1e-6, torch.float64: 1e-14, torch.bfloat16: 0.02, torch.float16: 3e-3}[
        dtype
    ]  # other sizes, other kernels
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
