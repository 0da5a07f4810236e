"""Products: how maps are divided, and what half precision keeps."""

import pytest
import torch

from regard.attention.ways import products, reference
from tests.attention.judge import case


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
