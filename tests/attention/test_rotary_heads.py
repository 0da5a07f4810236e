from typing import Any

import pytest
import torch
from torch import Tensor

from regard.attention.attend import Attention
from regard.attention.caches import Cache, FixedCache, GrowingCache, SlidingCache
from regard.attention.catalogue import ROTATIONS
from regard.attention.heads import SelfAttention
from regard.attention.lengths import Documents, Padding, document_numbers
from regard.attention.patterns import Causal, TensorMask, Window
from regard.attention.rotary import Rotary
from regard.attention.rotary_heads import RotarySelfAttention
from regard.attention.scalings import DynamicNtk
from regard.attention.scores import Cosine
from regard.errors import OptionError
from tests.attention.judge import SIZES, assert_same
from tests.attention.test_heads import (
    MODEL,
    PADDED,
    POISONS,
    biased,
    check_cached_equals_full,
    check_reordered,
    poisoned,
    real,
    states,
)

WIDTH = 4  # of a head
FIXED = [name for name in ROTATIONS if name not in ("dynamic_ntk", "long_rope")]


def module(name: str = "rotary", *, groups: int = 3, attention: Attention | None = None) -> RotarySelfAttention:
    torch.manual_seed(8)
    rotary = ROTATIONS[name].build(SIZES._replace(query_dim=WIDTH))
    made = RotarySelfAttention(MODEL, 3, attention or Attention(), rotary, num_kv_heads=groups).double()
    biased(made)
    return made


def plain(ours: RotarySelfAttention) -> SelfAttention:
    """Return the same heads without their rotation."""
    theirs = SelfAttention(MODEL, 3, Attention(), num_kv_heads=ours.num_kv_heads).double()
    theirs.load_state_dict(ours.state_dict())
    return theirs


def check_by_hand() -> None:
    """Each head by itself: queries and keys turned, scaled products, softmax over the past, values mixed."""
    ours, given = module(groups=1), states(5)
    query, key, value = ours.query_key_value(given).split([12, 4, 4], dim=-1)
    contexts = []
    for head in range(3):
        turned = ours.rotary(query[:, None, :, 4 * head : 4 * head + 4]), ours.rotary(key[:, None])
        scores = (turned[0] @ turned[1].transpose(-2, -1)).squeeze(1) / 2
        hidden = torch.ones(5, 5, dtype=torch.bool).triu(1)
        contexts.append(torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1) @ value)
    assert_same(ours(given, mask=Causal()), ours.output(torch.cat(contexts, dim=-1)))


def test_queries_and_keys_are_turned_and_values_are_not() -> None:
    check_by_hand()


def test_rotations_tell_order() -> None:
    ours, order = module(), torch.tensor([4, 0, 6, 2, 1, 5, 3])
    assert not torch.allclose(ours(states(7)[:, order]), ours(states(7))[:, order])
    assert_same(plain(ours)(states(7)[:, order]), plain(ours)(states(7))[:, order])


@pytest.mark.parametrize("name", FIXED)
def test_where_a_text_begins_does_not_matter(name: str) -> None:
    """Seven tokens behind eleven that nobody sees are as seven by themselves: differences alone count."""
    ours = module(name, groups=1)
    behind = torch.cat((states(11, seed=6), states(7)), dim=1)
    padded = ours(behind, mask=Causal() & Padding(torch.tensor([18, 18]), torch.tensor([11, 11])))
    assert_same(padded[:, 11:], ours(states(7), mask=Causal()), 1e-11)


def test_documents_in_one_row_may_each_count_from_zero() -> None:
    ours = module()
    mask = Causal() & Documents(document_numbers([[3, 4]]))
    positions = torch.tensor([0, 1, 2, 0, 1, 2, 3])
    counted = ours(states(7), mask=mask, positions=positions)
    assert_same(counted, ours(states(7), mask=mask), 1e-11)
    assert_same(counted[:, 3:], ours(states(7)[:, 3:], mask=Causal()))
    assert_same(counted, ours(states(7), mask=mask, positions=positions.expand(2, -1)))


# Caches


@pytest.mark.parametrize("chunk", [1, 2, 7])
@pytest.mark.parametrize("name", FIXED)
def test_cached_steps_and_chunks_equal_the_whole(name: str, chunk: int) -> None:
    check_cached_equals_full(Causal(), chunk, ours=module(name, groups=1))
    check_cached_equals_full(Window(2, 0), chunk, ours=module(name), cache=SlidingCache(3))


def check_growing_text(name: str, cache: Cache) -> None:
    """Where frequencies vary, a step is as the last row of a pass over the text up to it, and a chunk as its last."""
    ours, mask = module(name, groups=1), Causal() & Window(2, 0)
    with torch.no_grad():
        for start, end in ((0, 2), (2, 3), (3, 4), (4, 7), (7, 11), (11, 12)):
            found = ours(states(12)[:, start:end], mask=mask, cache=cache)
            assert_same(found, ours(states(12)[:, :end], mask=mask)[:, start:])


@pytest.mark.parametrize("make", [GrowingCache, lambda: FixedCache(12), lambda: SlidingCache(3)])
@pytest.mark.parametrize("name", ["dynamic_ntk", "long_rope"])
def test_keys_are_turned_anew_as_a_text_grows(name: str, make: Any) -> None:
    check_growing_text(name, make())


@pytest.mark.parametrize("name", ["yarn", "dynamic_ntk"])
@pytest.mark.parametrize("make", [GrowingCache, lambda: SlidingCache(3)])
def test_beams_that_change_places_see_what_their_ancestors_left(name: str, make: Any) -> None:
    check_reordered(module(name), make(), Window(2, 0))


def check_beams_side_by_side() -> None:
    """Rows of one step stand at one position; which are ancestors says a mask."""
    ours, entries, rows = module(), GrowingCache(), GrowingCache()
    ancestry = torch.zeros(2, 2, 0, dtype=torch.bool)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for step in range(5):
            new = torch.randn(2, 2, MODEL, generator=generator, dtype=torch.float64)
            ancestry = torch.cat((ancestry, torch.eye(2, dtype=torch.bool).expand(2, -1, -1)), dim=-1)
            mask = TensorMask(ancestry.unsqueeze(1), first_query=2 * step)
            found = ours(new, mask=mask, cache=rows, positions=torch.full((2,), step))
            assert_same(found, ours(new.flatten(0, 1).unsqueeze(1), mask=Causal(), cache=entries).view_as(found))
            parents = torch.randint(0, 2, (2, 2), generator=generator)
            entries.reorder(parents)
            ancestry = ancestry.gather(1, parents.unsqueeze(-1).expand(-1, -1, ancestry.shape[-1]))


def test_beams_may_stand_side_by_side_at_one_position() -> None:
    check_beams_side_by_side()


def test_a_score_prepares_turned_keys() -> None:
    ours = module(attention=Attention(Cosine(3.0)))
    check_cached_equals_full(Causal(), 2, ours=ours)
    check_growing = module("dynamic_ntk", attention=Attention(Cosine(3.0)))
    cache = GrowingCache()
    with torch.no_grad():
        for end in range(1, 8):
            found = check_growing(states(7)[:, end - 1 : end], mask=Causal(), cache=cache)
            assert_same(found[:, 0], check_growing(states(7)[:, :end], mask=Causal())[:, -1])


def test_gradients_flow_through_the_rotation() -> None:
    ours, given = module(groups=1), states(5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ours(x, mask=Causal()), given)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_turned_heads_work_under_autocast(dtype: torch.dtype) -> None:
    ours = module().float()
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(states(7).to(dtype), mask=Causal()).dtype == torch.bfloat16


@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("name", ["yarn", "dynamic_ntk"])
@pytest.mark.parametrize("cached", [False, True])
def test_poison_in_padded_rows_stays_there(poison: float, name: str, cached: bool) -> None:
    ours = module(name, groups=1)
    clean, dirty = (
        real(ours(poisoned(fill), mask=PADDED, cache=GrowingCache() if cached else None)) for fill in (0.0, poison)
    )
    assert torch.equal(clean, dirty)


# Refusals


def test_no_more_than_a_head_is_turned() -> None:
    words = r"rotary_dim \(6\) must be at most the width of a head \(4: model_dim 12 / num_heads 3\)"
    with pytest.raises(OptionError, match=words):
        RotarySelfAttention(12, 3, Attention(), Rotary(6))


def test_positions_of_keys_that_are_turned_anew_are_refused() -> None:
    ours = RotarySelfAttention(12, 3, Attention(), Rotary(4, scaling=DynamicNtk(2.0, 3))).double()
    positions: Tensor = torch.arange(2)
    assert ours(states(2), mask=Causal(), positions=positions).shape == (2, 2, 12)
    with pytest.raises(OptionError, match="positions cannot be given with a cache and DynamicNtk"):
        ours(states(2), mask=Causal(), positions=positions, cache=GrowingCache())
