"""Products: how maps are divided, and what half precision keeps."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from regard.attention.biases import TensorBias
from regard.attention.ways import products, reference
from tests.attention.judge import Case, case


@pytest.mark.parametrize(
    ("batch", "heads", "scores"), [(2, 3, 5), (7, 5, products.CACHED // 3), (2, 3, 10**9), (0, 3, 5)]
)
def test_every_map_is_taken_once_and_in_order(batch: int, heads: int, scores: int) -> None:
    taken = [
        (entry, head)
        for entries, some in products.maps_at_a_time(batch, heads, scores)
        for entry in entries
        for head in some
    ]
    assert taken == [(entry, head) for entry in range(batch) for head in range(heads)]


def test_as_many_maps_are_taken_as_the_cache_holds() -> None:
    for entries, some in products.maps_at_a_time(31, 3, products.CACHED // 7):
        assert len(entries) * len(some) <= 7


def test_weights_of_half_precision_are_rounded_once() -> None:
    torch.manual_seed(1)
    query, key = torch.randn(2, 3, 5, 11).bfloat16(), torch.randn(2, 3, 7, 11).bfloat16()
    ones = torch.eye(7).bfloat16().expand(2, 3, 7, 7)  # the context is the weights
    found = products.mixed(query.flatten(0, 1), key.flatten(0, 1), ones.flatten(0, 1), None, 0.0)
    scores = torch.bmm(query.flatten(0, 1), key.flatten(0, 1).transpose(1, 2))
    assert torch.equal(found, torch.softmax(scores.double(), dim=-1).float().bfloat16())


@pytest.mark.parametrize("cached", [1, 40, 2**18])
def test_the_division_changes_nothing(cached: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "CACHED", cached)
    call = case("scaled_dot", "causal", "tensor").call()
    assert not products.why_not(call)
    torch.testing.assert_close(products.run(call), reference.run(call))


# Gradients by hand


def low_case(mask: str, bias: str | None = None) -> Case:
    low = case(mask=mask, bias=bias).to(torch.bfloat16)
    leaves = [tensor.requires_grad_() for tensor in (low.query, low.key, low.value)]
    return replace(low, query=leaves[0], key=leaves[1], value=leaves[2])


def gradients_of(low: Case, wanted: tuple[int, ...] = (0, 1, 2)) -> tuple[Tensor, ...]:
    leaves = [(low.query, low.key, low.value)[number] for number in wanted]
    return torch.autograd.grad(low.context("products").float().square().sum(), leaves)


@pytest.mark.parametrize("bias", [None, "tensor"])
@pytest.mark.parametrize("mask", ["everything", "causal", "padding", "window"])
def test_gradients_by_hand_are_those_of_autograd(mask: str, bias: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    low = low_case(mask, bias)
    assert products.learns_by_hand(low.call())
    by_hand = gradients_of(low)
    monkeypatch.setattr(products, "BY_HAND_FROM", 10**9)
    assert not products.learns_by_hand(low.call())
    for found, expected in zip(by_hand, gradients_of(low), strict=True):
        torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2 * expected.abs().max().item())


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2)])
def test_what_is_not_wanted_is_not_computed(wanted: tuple[int, ...]) -> None:
    low = low_case("causal")
    everything = gradients_of(low)
    tensors = [
        tensor.detach().requires_grad_(number in wanted)
        for number, tensor in enumerate((low.query, low.key, low.value))
    ]
    some = replace(low, query=tensors[0], key=tensors[1], value=tensors[2])
    for number, found in zip(wanted, gradients_of(some, wanted), strict=True):
        assert torch.equal(found, everything[number])


def test_gradients_by_hand_have_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    low = low_case("causal")
    found = []
    for start in (0, 10**9):
        monkeypatch.setattr(products, "BY_HAND_FROM", start)
        (first,) = torch.autograd.grad(low.context("products").sum(), low.query, create_graph=True)
        found.append(torch.autograd.grad(first.float().square().sum(), (low.query, low.key, low.value)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-2, atol=2e-2 * other.abs().max().item())


def test_dropout_biases_that_learn_and_full_precision_are_left_to_autograd() -> None:
    low = low_case("causal")
    assert not products.learns_by_hand(low.call()._replace(dropout=0.1))
    assert not products.learns_by_hand(low.call()._replace(query=low.query.float()))
    with torch.no_grad():
        assert not products.learns_by_hand(low.call())
    learned = torch.randn(5, 7, dtype=torch.bfloat16, requires_grad=True)
    context = replace(low, bias=TensorBias(learned), mask=case().mask).context("products")
    (change,) = torch.autograd.grad(context.float().sum(), learned)
    assert bool((change != 0).any())


def test_one_map_is_kept_of_each_and_nothing_else_of_its_size() -> None:
    low = low_case("everything")
    kept: list[Tensor] = []

    def noted(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(noted, lambda tensor: tensor):
        low.context("products")
    assert [tensor.dtype for tensor in kept if tensor.numel() == 2 * 3 * 5 * 7] == [torch.bfloat16]
