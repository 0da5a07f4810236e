import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from regard.attention import masks as masks_module
from regard.attention.attend import attention_weights
from regard.attention.catalogue import MASKS
from regard.attention.grid import Extent
from regard.attention.lengths import Documents, Padding
from regard.attention.masks import Both, Either, Everything, Mask, Opposite, for_every_query
from regard.attention.patterns import Around, Causal, DilatedWindow, GlobalTokens, TensorMask, Window
from regard.errors import OptionError, ShapeError
from tests.attention.judge import SIZES, as_a_user

CPU = torch.device("cpu")
EXTENT = Extent(batch=2, heads=3, queries=5, keys=7, offset=1, device=CPU)


def whole(mask: Mask, extent: Extent = EXTENT) -> Tensor:
    """Return a mask as a tensor [B H Q K] by asking it about every entry."""
    return mask.allows(*extent.indices()).expand(extent.batch, extent.heads, extent.queries, extent.keys)


def rows(mask: Mask, extent: Extent) -> list[str]:
    """Return the rows of the first head of the first batch entry as pictures."""
    return ["".join("x" if cell else "." for cell in row) for row in whole(mask, extent)[0, 0].tolist()]


def check_hand_drawn_masks() -> None:
    square = Extent(1, 1, 4, 4, 0, CPU)
    assert rows(Causal(), square) == ["x...", "xx..", "xxx.", "xxxx"]
    assert rows(Causal(), square._replace(queries=2, offset=2)) == ["xxx.", "xxxx"]
    assert rows(Causal(), square._replace(offset=-2)) == ["....", "....", "x...", "xx.."]
    assert rows(Window(1, 0), square) == ["x...", "xx..", ".xx.", "..xx"]
    assert rows(Window(1, 2), square) == ["xxx.", "xxxx", ".xxx", "..xx"]
    assert rows(Window(0, 1), square._replace(offset=2)) == ["..xx", "...x", "....", "...."]
    assert rows(Padding(torch.tensor([3])), square) == ["xxx."] * 4
    assert rows(Padding(torch.tensor([3]), torch.tensor([1])), square) == [".xx."] * 4
    assert rows(Padding(torch.tensor([0])), square) == ["...."] * 4
    assert rows(Padding(torch.tensor([9])), square) == ["xxxx"] * 4
    assert rows(Around(torch.tensor([[[0.0, 1.4, 2.0, 3.6]]]), 1), square) == ["xx..", ".xx.", ".xxx", "...x"]
    assert rows(Everything(), square) == ["xxxx"] * 4
    assert rows(Causal() & Window(1, 1), square) == ["x...", "xx..", ".xx.", "..xx"]
    assert rows(Causal() | Padding(torch.tensor([2])), square) == ["xx..", "xx..", "xxx.", "xxxx"]
    assert rows(~Causal(), square) == [".xxx", "..xx", "...x", "...."]


def test_masks_allow_what_was_drawn_by_hand() -> None:
    check_hand_drawn_masks()


def check_first_row() -> None:
    allowed = torch.rand(5, 7) < 0.5
    later = EXTENT._replace(offset=12, queries=3)
    mask = TensorMask(allowed, first_query=10)
    assert torch.equal(mask.dense(later)[0, 0], allowed[2:5])
    assert torch.equal(whole(mask, later)[1, 2], allowed[2:5])


def test_a_tensor_mask_speaks_of_the_queries_from_its_first_row_on() -> None:
    check_first_row()


@pytest.mark.parametrize("name", MASKS)
def test_every_mask_of_the_catalogue_is_dense_as_it_answers(name: str) -> None:
    torch.manual_seed(2)
    mask = MASKS[name].build(SIZES._replace(offset=EXTENT.offset))
    mask.check(EXTENT)
    shape = (EXTENT.batch, EXTENT.heads, EXTENT.queries, EXTENT.keys)
    assert mask.dense(EXTENT).dim() == 4
    assert mask.dense(EXTENT).dtype == torch.bool
    assert torch.equal(mask.dense(EXTENT).expand(shape), whole(mask))


# Laws, for masks joined at random


MakeMask = Callable[[], Mask]  # made inside the test: the checks by jaxtyping draw random numbers of their own


def later(make: Callable[..., Mask], *drawn: st.SearchStrategy[Any]) -> st.SearchStrategy[MakeMask]:
    return st.tuples(*drawn).map(lambda given: functools.partial(make, *given))


def random_tensor(seed: int, shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def leaves() -> st.SearchStrategy[MakeMask]:
    places = st.integers(-3, 9)
    lengths = st.lists(st.integers(0, 9), min_size=2, max_size=2)
    shapes = st.sampled_from([(2, 3, 9, 7), (1, 3, 9, 7), (2, 1, 1, 7), (9, 7), (3, 9, 1)])
    rows_of = st.sampled_from([(2, 5), (1, 7), (2, 9)])
    seeds = st.integers(0, 2**16)
    return st.one_of(
        later(Everything),
        later(Causal),
        later(Window, places, places),
        later(lambda ends: Padding(torch.tensor(ends)), lengths),
        later(lambda ends, starts: Padding(torch.tensor(ends), torch.tensor(starts)), lengths, lengths),
        later(lambda seed, shape: TensorMask(random_tensor(seed, shape) < 0.5, first_query=-2), seeds, shapes),
        later(lambda seed, reach: Around(random_tensor(seed, (2, 1, 9)) * 8, reach, -2), seeds, st.integers(0, 3)),
        later(DilatedWindow, places, places, st.integers(1, 4)),
        later(lambda seed, shape: GlobalTokens(random_tensor(seed, shape) < 0.3), seeds, rows_of),
        later(lambda seed, shape: Documents((random_tensor(seed, shape) * 4 - 1).floor().long()), seeds, rows_of),
        later(lambda seed, shape: Documents((random_tensor(seed, shape) < 0.4).cumsum(dim=1) - 1), seeds, rows_of),
    )


def masks() -> st.SearchStrategy[MakeMask]:
    return st.recursive(
        leaves(),
        lambda inner: st.one_of(
            later(lambda a, b: a() & b(), inner, inner),
            later(lambda a, b: a() | b(), inner, inner),
            later(lambda a: ~a(), inner),
        ),
        max_leaves=4,
    )


def extents() -> st.SearchStrategy[Extent]:
    """Grids over the last keys of seven, or all of them."""
    return st.builds(
        lambda offset, queries, first_key: Extent(2, 3, queries, 7 - first_key, offset, CPU, first_key),
        st.integers(-2, 3),
        st.integers(1, 4),
        st.sampled_from([0, 0, 3, 6]),
    )


@settings(max_examples=150)
@given(masks(), extents())
def test_dense_equals_asking_about_every_entry(make: MakeMask, extent: Extent) -> None:
    mask = make()
    mask.check(extent)
    assert torch.equal(mask.dense(extent).expand(2, 3, extent.queries, extent.keys), whole(mask, extent))


@settings(max_examples=150)
@given(masks(), extents(), st.integers(0, 6), st.integers(1, 7))
def test_a_block_of_keys_is_cut_from_the_whole(make: MakeMask, extent: Extent, first_key: int, keys: int) -> None:
    mask = make()
    extent = extent._replace(first_key=0, keys=7)
    part = extent._replace(first_key=first_key, keys=min(keys, 7 - first_key))
    expected = mask.dense(extent).expand(2, 3, extent.queries, 7)[..., first_key : first_key + part.keys]
    assert torch.equal(mask.dense(part).expand_as(expected), expected)
    assert torch.equal(whole(mask, part), expected)


@settings(max_examples=150)
@given(masks(), st.integers(-2, 6), st.integers(1, 5), st.integers(0, 6), st.integers(1, 7))
def test_a_block_never_lies(make: MakeMask, first_query: int, queries: int, first_key: int, keys: int) -> None:
    mask = make()
    queries, keys = min(queries, 7 - first_query), min(keys, 7 - first_key)
    last_query, last_key = first_query + queries, first_key + keys
    cells = whole(mask, Extent(2, 3, queries, last_key, first_query, CPU))[..., first_key:]
    answer = mask.block(range(first_query, last_query), range(first_key, last_key))
    assert answer == "mixed" or bool((cells == (answer == "full")).all())


@settings(max_examples=150)
@given(masks(), extents(), st.sampled_from([1, 5, masks_module.SMALL]))
def test_seen_are_the_keys_that_any_query_may_see(make: MakeMask, extent: Extent, small: int) -> None:
    mask = make()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks_module, "SMALL", small)
        seen = mask.seen(extent)
    expected = whole(mask, extent).any(dim=2).any(dim=1)
    assert torch.equal(torch.ones_like(expected) if seen is None else seen.expand(2, extent.keys), expected)


@settings(max_examples=150)
@given(masks(), extents())
def test_what_may_not_be_blind_is_not(make: MakeMask, extent: Extent) -> None:
    mask = make()
    assert mask.may_blind(extent) or bool(whole(mask, extent).any(dim=-1).all())


@settings(max_examples=150)
@given(masks(), st.integers(-2, 3), st.integers(1, 4))
def test_what_sees_itself_does(make: MakeMask, first: int, count: int) -> None:
    """A key that any query of a head may see is seen there by the query at the key's own position."""
    mask = make()
    cells = whole(mask, Extent(2, 3, count, count, first, CPU, first))
    if mask.sees_itself:
        assert torch.equal(cells.diagonal(dim1=2, dim2=3), cells.any(dim=2))


@settings(max_examples=150)
@given(masks(), extents(), st.lists(st.integers(0, 1), min_size=1, max_size=4))
def test_keep_chooses_batch_entries(make: MakeMask, extent: Extent, entries: list[int]) -> None:
    mask = make()
    kept = mask.keep(torch.tensor(entries))
    extent_kept = extent._replace(batch=len(entries))
    kept.check(extent_kept)
    assert torch.equal(whole(kept, extent_kept), whole(mask, extent)[entries])
    shape = (len(entries), 3, extent.queries, extent.keys)
    assert torch.equal(kept.dense(extent_kept).expand(shape), whole(mask, extent)[entries])


@settings(max_examples=150)
@given(masks(), extents())
def test_what_is_the_same_for_all_queries_is(make: MakeMask, extent: Extent) -> None:
    mask = make()
    cells = whole(mask, extent)
    if mask.same_for_queries:
        assert torch.equal(cells, cells[:, :1, :1].expand_as(cells))
    assert for_every_query(mask).same_for_queries
    assert bool((whole(for_every_query(mask), extent) | ~cells).all()), "hides what the mask shows"


@given(masks(), masks(), extents())
def test_de_morgan(make_left: MakeMask, make_right: MakeMask, extent: Extent) -> None:
    left, right = make_left(), make_right()
    shape = (2, 3, extent.queries, extent.keys)
    assert torch.equal((~(left & right)).dense(extent).expand(shape), (~left | ~right).dense(extent).expand(shape))
    assert torch.equal((~(left | right)).dense(extent).expand(shape), (~left & ~right).dense(extent).expand(shape))
    assert torch.equal((~~left).dense(extent).expand(shape), left.dense(extent).expand(shape))


def test_everything_adds_nothing_to_a_join() -> None:
    causal = Causal()
    assert Everything() & causal is causal
    assert causal & Everything() is causal


def test_a_block_of_a_long_text_is_known_without_its_map() -> None:
    window = Causal() & Window(128, 0) & Padding(torch.tensor([5000, 6007]))
    assert window.block(range(1024, 1088), range(512)) == "empty"
    assert window.block(range(1024, 1088), range(1088, 2048)) == "empty"
    assert window.block(range(1024, 1088), range(960, 1024)) == "full"
    assert window.block(range(5100, 5101), range(5050, 5060)) == "mixed"
    assert window.block(range(6100, 6101), range(6010, 6060)) == "empty"


LONG = Extent(2, 1, 100_003, 100_003, 0, CPU)  # a map of ten billion cells
NUMBERS = torch.arange(LONG.keys)[None] // 1009
SELDOM = torch.arange(LONG.keys)[None] % 20_011 == 0


@pytest.mark.parametrize(
    "mask",
    [
        Causal() & Window(128, 0),
        Window(128, 128) | GlobalTokens(SELDOM),
        Causal() & Documents(NUMBERS),
        Documents(NUMBERS) & DilatedWindow(64, 0, 3) & Causal(),
        (Window(128, 128) | GlobalTokens(SELDOM)) & Everything(),
    ],
    ids=lambda mask: type(mask).__name__,
)
def test_what_is_seen_of_a_long_text_is_known_without_its_map(mask: Mask) -> None:
    assert mask.seen(LONG) is None
    assert not mask.may_blind(LONG)


def test_what_is_seen_of_a_padded_text_is_known_without_its_map() -> None:
    lengths = torch.tensor([90_001, 100_003])
    held = torch.arange(LONG.keys) < lengths[:, None]
    for mask in (
        (Window(128, 128) | GlobalTokens(SELDOM)) & Padding(lengths),
        Causal() & Padding(lengths) & Window(9, 0),
    ):
        seen = mask.seen(LONG)
        assert seen is not None
        assert torch.equal(seen, held)


def test_what_is_seen_is_found_by_halves_where_nothing_else_tells() -> None:
    extent = Extent(1, 1, 5003, 5003, 0, CPU)
    mask = Window(3, 3) & ~Causal() & (Documents(NUMBERS) | ~Window(1, 1))
    key = torch.arange(5003)
    seen = mask.seen(extent)
    assert seen is not None
    assert seen[0].tolist() == ((key > 1) | ((key == 1) & (key % 1009 != 0))).tolist()


def test_a_query_that_sees_itself_or_the_first_key_is_not_blind() -> None:
    extent = Extent(2, 3, 5, 7, 1, CPU)
    assert not (Causal() & Window(2, 0)).may_blind(extent)
    assert not (Causal() & Padding(torch.tensor([1, 7]))).may_blind(extent)
    assert not (Window(0, 0) | GlobalTokens(torch.zeros(1, 1, dtype=torch.bool))).may_blind(extent)
    assert (Causal() & Padding(torch.tensor([0, 7]))).may_blind(extent)
    assert (Causal() & Window(2, 0)).may_blind(extent._replace(offset=9))
    assert (Window(-1, 2)).may_blind(extent)


# What the first lines of the sources show


def check_lengths_of_rows() -> None:
    """Lengths [[1, 3], [2, 4]] give the first row [1, 0, 0, 0] (Dive into Deep Learning, masked softmax)."""
    torch.manual_seed(3)
    query, key = torch.randn(2, 1, 2, 4), torch.randn(2, 1, 4, 4)
    lengths = torch.tensor([[1, 3], [2, 4]])
    mask = torch.arange(4) < lengths[:, None, :, None]
    weights = attention_weights(query, key, mask=mask)
    assert weights[0, 0, 0].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert weights[0, 0, 1, 3] == 0
    assert weights[1, 0, 0, 2:].tolist() == [0.0, 0.0]
    assert bool((weights[1, 0, 1] > 0).all())
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 1, 2))


def test_lengths_of_rows() -> None:
    check_lengths_of_rows()


# Joins


def test_a_join_is_refused_where_one_of_its_masks_is() -> None:
    with as_a_user(), pytest.raises(ShapeError, match="1 lengths and the call has 2 batch entries"):
        (Causal() | ~Padding(torch.tensor([3]))).check(EXTENT)


@pytest.mark.parametrize("join", [lambda a, b: a & b, lambda a, b: a | b])
def test_masks_join_with_masks_alone(join: Callable[[object, object], object]) -> None:
    with as_a_user(), pytest.raises(TypeError):
        join(Causal(), [True, False])


@pytest.mark.parametrize("join", [lambda a, b: a & b, lambda a, b: a | b, lambda a, b: b & a, lambda a, b: b | a])
def test_a_tensor_that_is_joined_with_a_mask_is_told_to_become_one(join: Callable[[object, object], object]) -> None:
    with as_a_user(), pytest.raises(OptionError, match=r"Join TensorMask\(tensor\); its first_query"):
        join(Causal(), torch.ones(5, 7, dtype=torch.bool))


@pytest.mark.parametrize("join", [lambda a, b: a and b, lambda a, b: a or b, lambda a, _: not a])
def test_masks_are_not_joined_by_words_that_would_drop_one(join: Callable[[Mask, Mask], object]) -> None:
    with pytest.raises(OptionError, match=r"neither true nor false\. Join masks with &, \| and ~"):
        join(Causal(), Window(1, 2))


def test_the_joins_keep_their_sides() -> None:
    left, right = Causal(), Window(1, 2)
    both, either, opposite = left & right, left | right, ~left
    assert isinstance(both, Both)
    assert isinstance(either, Either)
    assert isinstance(opposite, Opposite)
    assert (both.left, both.right, either.left, either.right, opposite.mask) == (left, right, left, right, left)
    assert math.isclose(float(whole(both).sum() + whole(either).sum()), float(whole(left).sum() + whole(right).sum()))
