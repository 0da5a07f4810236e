"""FlexAttention: what it refuses, and that masks, biases and caps reach it with PyTorch's meaning.

Its kernels run on CUDA; here, without one, PyTorch's own uncompiled form of the same function judges what it is given.
"""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from regard.attention.attend import attend
from regard.attention.call import AttentionCall
from regard.attention.catalogue import BIASES, MASKS
from regard.attention.lengths import Padding
from regard.attention.masks import Mask
from regard.attention.normalizers import SinkSoftmax
from regard.attention.patterns import Causal, Window
from regard.attention.scores import Additive, ScaledDot
from regard.attention.ways import flex
from tests.attention.judge import GROUPED, SIZES, Case, assert_same, case


def on_cuda(**changes: Any) -> AttentionCall:
    """Return a call whose tensors say that they are on CUDA."""
    like = SimpleNamespace(device=torch.device("cuda"), dtype=torch.bfloat16, shape=torch.Size((2, 3, 5, 64)))
    tensors = {"query": like, "value": SimpleNamespace(shape=torch.Size((2, 3, 7, 64)))}
    return case(mask="causal").call()._replace(**(tensors | changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"mask": Window(2, 2) & Padding(torch.tensor([3, 4])), "soft_cap": 30.0}, None),
        ({"score": Additive(11, 11, 13)}, "its score is additive and flex computes dot products only"),
        ({"normalizer": SinkSoftmax(3)}, "its normalizer is sinksoftmax and flex computes the softmax only"),
        ({"dropout": 0.1}, "it drops weights with the probability 0.1 and flex drops none"),
        (
            {"value": SimpleNamespace(shape=torch.Size((2, 3, 7, 8)))},
            "its heads are 64 and 8 wide and flex needs 16 at least",
        ),
    ],
)
def test_it_refuses_in_words(changes: dict[str, Any], reason: str | None) -> None:
    assert flex.why_not(on_cuda(**changes)) == reason


def test_it_runs_on_cuda_alone_and_not_in_float64() -> None:
    assert flex.why_not(case().call()) == "it is on cpu and flex runs on CUDA only"
    doubled = SimpleNamespace(device=torch.device("cuda"), dtype=torch.float64, shape=torch.Size((2, 3, 5, 64)))
    assert flex.why_not(on_cuda(query=doubled)) == (
        "it is in torch.float64 and flex computes in float32, bfloat16 and float16 only"
    )


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run PyTorch's function as it is written, on blocks small enough that there are several."""
    from torch.nn.attention import flex_attention as module

    monkeypatch.setattr(module, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    monkeypatch.setattr(flex, "kernel", lambda: module.flex_attention)
    monkeypatch.setattr(flex, "SIZE", 2)
    flex.block_mask.cache_clear()


def check(given: Case) -> None:
    plain = given.to(torch.float32)
    assert_same(flex.run(plain.call()), plain.context("reference"))


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("mask", MASKS)
def test_every_mask_is_understood(mask: str) -> None:
    for offset in (0, 2):
        check(case(mask=mask, sizes=SIZES._replace(offset=offset)))


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("bias", BIASES)
def test_every_bias_is_understood_after_the_cap(bias: str) -> None:
    check(case(mask="causal", bias=bias, sizes=SIZES._replace(offset=2), soft_cap=0.8, scale=1.9))


@pytest.mark.usefixtures("uncompiled")
def test_joined_masks_and_grouped_heads_are_understood() -> None:
    masks: list[Mask] = [Causal() & Padding(torch.tensor([4, 7])), Window(1, 0) | Padding(torch.tensor([2, 0]))]
    for mask in masks:
        check(case(mask=mask, sizes=GROUPED, groups=2))


@pytest.mark.usefixtures("uncompiled")
def test_a_row_that_may_see_nothing_gets_zeros() -> None:
    given = case(mask=Padding(torch.tensor([0, 5]))).to(torch.float32)
    assert not flex.run(given.call())[0].any()
    check(replace(given, mask=Causal(), offset=-2))


@pytest.mark.usefixtures("uncompiled")
def test_a_mask_is_translated_once_for_all_layers() -> None:
    given = case(mask=Causal()).to(torch.float32)
    flex.run(given.call())
    flex.run(replace(given, score=ScaledDot()).call())
    assert flex.block_mask.cache_info().hits == 1
    assert flex.block_mask.cache_info().misses == 1


def test_blocks_that_a_mask_leaves_empty_are_not_listed() -> None:
    extent = case().call().extent()._replace(queries=1024, keys=1024)
    mask = flex.block_mask(Causal() & Window(200, 0), extent)
    assert mask.kv_num_blocks.flatten().tolist() == [1, 2, 3, 3, 3, 3, 3, 3]  # with the edges of both
    assert mask.full_kv_num_blocks.flatten().tolist() == [0] * 8
    causal = flex.block_mask(Causal(), extent)
    assert causal.kv_num_blocks.flatten().tolist() == [1] * 8
    assert causal.full_kv_num_blocks.flatten().tolist() == list(range(8))
    assert causal.full_kv_indices[0, 0, 5, :5].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="FlexAttention's kernels need CUDA")
def test_the_kernels_equal_the_reference_forward_and_backward() -> None:
    torch.manual_seed(3)
    for mask in (Causal(), Window(100, 50), Causal() & Padding(torch.tensor([700, 0]))):
        leaves = [torch.randn(2, 4, n, 64, device="cuda", requires_grad=True) for n in (650, 777, 777)]
        found = []
        for way in ("flex", "reference"):
            context = attend(*leaves, mask=mask, soft_cap=20.0, offset=100, way=way)
            found.append([context, *torch.autograd.grad(context.square().sum(), leaves)])
        for actual, expected in zip(*found, strict=True):
            torch.testing.assert_close(actual, expected, rtol=2e-3, atol=2e-3)  # its products are in TF32
