"""Heads of queries that share keys and values (`regard.attention.heads`)."""

import re

import pytest
import torch
from torch import nn

from regard.attention.attend import Attention
from regard.attention.caches import GrowingCache
from regard.attention.heads import CrossAttention, SelfAttention
from regard.attention.lengths import Padding
from regard.attention.patterns import Causal
from regard.errors import OptionError
from tests.attention.judge import assert_same
from tests.attention.test_heads import MODEL, biased, grouped, states


def repeated(linear: nn.Linear, heads: list[int], times: list[int], width: int) -> nn.Linear:
    """Return a projection whose heads are repeated, neighbors being alike; `heads` counts those of each part."""
    made = nn.Linear(linear.in_features, width * sum(h * n for h, n in zip(heads, times, strict=True))).double()
    for name in ("weight", "bias"):
        parts = getattr(linear, name).detach().unflatten(0, (-1, width)).split(heads)
        rows = torch.cat([part.repeat_interleave(n, dim=0) for part, n in zip(parts, times, strict=True)])
        getattr(made, name).data = rows.flatten(0, 1)
    return made


def check_grouped(groups: int) -> None:
    """Sharing a head is the same as having it several times, neighbors being alike."""
    ours = grouped(groups)
    whole = grouped(6)
    whole.query_key_value = repeated(ours.query_key_value, [6, groups, groups], [1, 6 // groups, 6 // groups], 2)
    whole.output = ours.output
    assert_same(ours(states(7), mask=Causal()), whole(states(7), mask=Causal()))


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_shared_heads_are_repeated_heads(groups: int) -> None:
    check_grouped(groups)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_shared_heads_of_a_memory_are_repeated_heads(groups: int) -> None:
    torch.manual_seed(8)
    ours = CrossAttention(MODEL, 6, Attention(), 17, num_kv_heads=groups).double()
    whole = CrossAttention(MODEL, 6, Attention(), 17).double()
    biased(ours)
    whole.load_state_dict(ours.state_dict() | {f"key_value.{n}": p for n, p in whole.key_value.named_parameters()})
    whole.key_value = repeated(ours.key_value, [groups, groups], [6 // groups, 6 // groups], 2)
    assert ours.remember(states(7, 17)).key.shape == (2, groups, 7, 2)
    padding = Padding(torch.tensor([4, 7]))
    found, expected = (cross(states(5), cross.remember(states(7, 17), padding)) for cross in (ours, whole))
    assert_same(found, expected)


def test_a_cache_keeps_shared_heads_once() -> None:
    cache = GrowingCache()
    grouped(2)(states(7), mask=Causal(), cache=cache)
    assert cache.key is not None
    assert cache.key.shape[:2] == (2, 2)


@pytest.mark.parametrize(("groups", "words"), [(4, "(4)"), (0, "(0)"), (-1, "(-1)"), (12, "(12)")])
def test_shared_heads_divide_those_of_queries(groups: int, words: str) -> None:
    match = rf"num_kv_heads {re.escape(words)} must divide num_heads \(6\): 1, 2, 3, 6 do"
    for kind in (SelfAttention, CrossAttention):
        with pytest.raises(OptionError, match=match):
            kind(MODEL, 6, Attention(), num_kv_heads=groups)
