from typing import Any

import pytest
import torch
from torch import Tensor

from regard.attention.attend import EVERYTHING
from regard.attention.biases import Alibi, TensorBias
from regard.attention.call import AttentionCall
from regard.attention.lengths import Padding
from regard.attention.masks import Mask
from regard.attention.patterns import Causal, TensorMask, Window
from regard.attention.ways import reference
from regard.inspection.statistics import strips as strips_file
from regard.inspection.statistics.strips import greatest, strips
from tests.inspection.calls import call_of

MASKS: dict[str, Mask] = {
    "everything": EVERYTHING,
    "causal": Causal(),
    "window": Window(before=29, after=13),
    "padding": Padding(torch.tensor([601, 257])),
    "hole": TensorMask((torch.arange(601) // 150 % 2 == 0)[None]),
    "nothing": TensorMask(torch.zeros(1, 601, dtype=torch.bool)),
}


@pytest.fixture(autouse=True)
def small_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(strips_file.CELLS, "cpu", 601 * 23)


def together(call: AttentionCall, **part: Any) -> Tensor:
    """Put the weights of all strips into one map."""
    weights = torch.zeros(*call.query.shape[:3], call.key.shape[2], dtype=torch.float64)
    for strip in strips(call, **part):
        weights[strip.place][..., strip.keys.start : strip.keys.stop] = strip.raised * strip.inverse
    return weights


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_strips_put_together_are_the_map(name: str, groups: int) -> None:
    call = call_of(queries=601, keys=601, heads=6, groups=groups, mask=MASKS[name])
    assert torch.allclose(together(call), reference.weights(call), atol=1e-12)


@pytest.mark.parametrize("heads", [range(1, 2), range(2, 5), range(3, 6), range(6)])
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("length", [5, 43])
def test_a_part_of_the_heads_is_that_part_of_the_map(heads: range, groups: int, length: int) -> None:
    call = call_of(queries=length, keys=length + 2, heads=6, groups=groups, mask=Causal(), bias=Alibi(6))
    found = together(call, heads=heads, batch=range(1, 2), queries=range(2, length - 1))
    expected = torch.zeros_like(found)
    part = (slice(1, 2), slice(heads.start, heads.stop), slice(2, length - 1))
    expected[part] = reference.weights(call)[part]
    assert torch.allclose(found, expected, atol=1e-12)


def test_a_bias_of_minus_infinity_hides_and_one_of_the_least_number_does_not() -> None:
    added = torch.zeros(2, 1, 7, 11, dtype=torch.float64)
    added[0, :, 3] = -torch.inf
    added[1, :, 3] = torch.finfo(torch.float64).min
    added[1, :, 4, :5] = torch.finfo(torch.float64).min
    call = call_of(queries=7, keys=11, bias=TensorBias(added))
    found = together(call)
    assert torch.allclose(found, reference.weights(call), atol=1e-12)
    assert found[0, :, 3].sum() == 0
    assert torch.allclose(found[1, :, 3].sum(-1), torch.ones(3, dtype=torch.float64))


def test_a_mask_that_leaves_little_is_not_walked_over_in_vain() -> None:
    call = call_of(queries=601, keys=601, mask=Window(before=29, after=13))
    assert max(len(strip.keys) for strip in strips(call)) <= 3 * strips_file.LEAST_BLOCK


def test_a_strip_is_no_larger_than_it_may_be() -> None:
    call = call_of(queries=601, keys=601)
    assert max(strip.raised.numel() for strip in strips(call)) <= 601 * 23


@pytest.mark.parametrize(("keys", "count"), [(7, 3), (7, 11), (512, 1), (1031, 8), (1031, 1), (4099, 13), (1031, 200)])
def test_the_greatest_are_those_of_a_full_sort(keys: int, count: int) -> None:
    scores = torch.randn(2, 3, keys, generator=torch.Generator().manual_seed(keys))
    values, places = greatest(scores, count)
    assert torch.equal(values, scores.sort(dim=-1, descending=True).values[..., :count])
    assert torch.equal(scores.gather(-1, places), values)


def test_the_greatest_among_equals_are_different_ones() -> None:
    _, places = greatest(torch.zeros(1, 1031), 8)
    assert len(set(places[0].tolist())) == 8
