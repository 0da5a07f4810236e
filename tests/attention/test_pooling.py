import math

import pytest
import torch

from regard.attention.attend import Attention
from regard.attention.heads import CrossAttention
from regard.attention.lengths import Padding
from regard.attention.pooling import AttentionPooling
from regard.errors import OptionError
from tests.attention.judge import assert_same
from tests.attention.test_heads import HEADS, MODEL, biased, states


def pooling(queries: int = 5, memory_dim: int = 17) -> AttentionPooling:
    torch.manual_seed(4)
    made = AttentionPooling(CrossAttention(MODEL, HEADS, Attention(), memory_dim), queries).double()
    biased(made)
    return made


def check_pooling() -> None:
    """The same queries for every batch entry, each attending by itself."""
    ours, given = pooling(), states(7, 17)
    expected = ours.cross_attention(ours.queries.expand(2, -1, -1), ours.cross_attention.remember(given))
    found = ours(given)
    assert found.shape == (2, 5, MODEL)
    assert_same(found, expected)
    for query in range(5):
        alone = pooling(1)
        alone.load_state_dict(ours.state_dict() | {"queries": ours.queries[query : query + 1]})
        assert_same(alone(given), found[:, query : query + 1])


def test_learned_queries_attend_to_a_sequence() -> None:
    check_pooling()


def test_the_order_of_what_is_pooled_does_not_matter() -> None:
    ours, given = pooling(), states(7, 17)
    assert_same(ours(given[:, torch.tensor([4, 0, 6, 2, 1, 5, 3])]), ours(given))


@pytest.mark.parametrize("poison", [math.nan, 1e30])
def test_padding_is_not_pooled(poison: float) -> None:
    ours, given = pooling(), states(7, 17)
    given[0, 4:] = poison
    found = ours(given, Padding(torch.tensor([4, 7])))
    assert_same(found[:1], ours(given[:1, :4]))
    assert_same(found[1:], ours(given[1:]))


def test_queries_learn() -> None:
    ours = pooling()
    ours(states(7, 17)).square().sum().backward()
    assert ours.queries.grad is not None
    assert bool(ours.queries.grad.any(dim=1).all())


def test_nothing_to_pool_gives_the_bias_of_the_output() -> None:
    ours = pooling()
    found = ours(states(7, 17), Padding(torch.tensor([0, 7])))
    assert_same(found[0], ours.cross_attention.output.bias.expand(5, -1))


def test_there_is_a_query_or_more() -> None:
    with pytest.raises(OptionError, match="num_queries must be 1 or more; it is 0"):
        pooling(0)
