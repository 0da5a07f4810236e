from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.attention.caches import Cache, FixedCache, GrowingCache, SlidingCache, beam_entries
from regard.attention.catalogue import CACHES
from regard.attention.lengths import Padding
from regard.attention.masks import Mask
from regard.attention.patterns import Causal, TensorMask, Window
from regard.errors import OptionError, ShapeError
from tests.attention.judge import SIZES, as_a_user

CHUNKS = st.lists(st.integers(0, 7), min_size=1, max_size=9)


def rows(count: int, *, batch: int = 2, heads: int = 3, width: int = 5, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, heads, count, width, generator=torch.Generator().manual_seed(seed))


@given(CHUNKS, st.integers(0, 11))
def test_a_cache_returns_all_rows_in_order_whatever_its_capacity(chunks: list[int], capacity: int) -> None:
    total = sum(chunks)
    for cache in (GrowingCache(capacity), FixedCache(total + capacity + 1)):
        check_rows(cache, chunks, lambda done, size: 0)


@given(CHUNKS, st.integers(1, 11))
@settings(max_examples=200)
def test_a_sliding_cache_returns_what_the_windows_of_new_rows_hold(chunks: list[int], window: int) -> None:
    check_rows(SlidingCache(window), chunks, lambda done, size: max(0, done - (window - 1)))


def check_rows(cache: Cache, chunks: list[int], first: Callable[[int, int], int]) -> None:
    """Append rows in chunks; each time the rows from `first` on must come back."""
    total = sum(chunks)
    keys, values = rows(total), rows(total, width=7, seed=2)
    done = 0
    for size in chunks:
        begin = first(done, size)
        key, value = cache.append(keys[:, :, done : done + size], values[:, :, done : done + size])
        done += size
        assert cache.length == done
        assert cache.first_key == begin
        assert torch.equal(key, keys[:, :, begin:done])
        assert torch.equal(value, values[:, :, begin:done])


def check_sliding_storage() -> None:
    """However long a text becomes, storage is that of two windows, and rows are written in place."""
    cache, every = SlidingCache(3), rows(40)
    places = set()
    for step in range(40):
        key, _ = cache.append(every[:, :, step : step + 1], every[:, :, step : step + 1])
        assert cache.key is not None
        assert cache.key.shape == (2, 3, 6, 5)
        assert torch.equal(key, every[:, :, max(0, step - 2) : step + 1])
        places.add(cache.key.data_ptr())
    assert len(places) == 1
    assert cache.first_key == 37


def test_a_sliding_cache_stays_small() -> None:
    check_sliding_storage()


def test_a_fixed_cache_never_moves() -> None:
    cache, every = FixedCache(7), rows(7)
    cache.append(every[:, :, :2], every[:, :, :2])
    assert cache.key is not None
    place = cache.key.data_ptr()
    cache.append(every[:, :, 2:5], every[:, :, 2:5])
    cache.keep(torch.tensor([1, 1]))
    assert cache.key.data_ptr() == place
    key, _ = cache.append(every[:, :, 5:], every[:, :, 5:])
    assert torch.equal(key, torch.cat((every[[1, 1], :, :5], every[:, :, 5:]), dim=2))
    assert key.data_ptr() == place
    cache.keep(torch.tensor([0]))
    assert cache.key.shape == (1, 3, 7, 5)


@pytest.mark.parametrize("name", CACHES)
@given(CHUNKS, st.integers(0, 8), st.lists(st.integers(0, 1), min_size=1, max_size=3))
@settings(max_examples=30)
def test_kept_entries_go_on_in_every_cache(name: str, chunks: list[int], after: int, entries: list[int]) -> None:
    """Rows of chosen entries are those that a cache of these entries alone would hold."""
    total, chosen = sum(chunks), torch.tensor(entries)
    keys = rows(total)
    cache, alone = (CACHES[name].build(SIZES._replace(queries=64)) for _ in range(2))
    done = 0
    for number, size in enumerate(chunks):
        if number == after:
            cache.keep(chosen)
        now = keys[:, :, done : done + size]
        found = cache.append(*[now if number < after else now[chosen]] * 2)
        expected = alone.append(now[chosen], now[chosen])
        done += size
        if number >= after:
            assert torch.equal(found[0], expected[0])
            assert torch.equal(found[1], expected[1])


def check_beams() -> None:
    """Two sentences of three beams: sentence 1's beams are the entries 3, 4 and 5."""
    parents = torch.tensor([[2, 0, 0], [1, 1, 2]])
    assert beam_entries(parents).tolist() == [2, 0, 0, 4, 4, 5]
    cache = GrowingCache()
    cache.append(rows(4, batch=6), rows(4, batch=6))
    cache.reorder(parents)
    assert cache.key is not None
    assert torch.equal(cache.key[:, :, :4], rows(4, batch=6)[[2, 0, 0, 4, 4, 5]])


def test_beams_go_on_from_their_parents() -> None:
    check_beams()


@pytest.mark.parametrize(
    "mask", [Causal(), Window(3, 0), TensorMask(torch.ones(1, 9, dtype=torch.bool))], ids=["causal", "window", "tensor"]
)
def test_a_mask_that_reaches_beyond_a_sliding_cache_is_refused(mask: Mask) -> None:
    cache = SlidingCache(3)
    cache.append(rows(3), rows(3))
    cache.check_reach(mask, 3)
    cache.append(rows(2), rows(2))
    words = "keeps the keys from position 1 on, .* queries from position 3 on .* Window .* GrowingCache"
    with pytest.raises(OptionError, match=words):
        cache.check_reach(mask, 2)
    cache.check_reach(Window(2, 0) & mask, 2)
    cache.check_reach(Window(2, 0) & Padding(torch.tensor([9, 3])), 2)


def test_storage_doubles_and_rows_are_written_in_place() -> None:
    cache = GrowingCache(4)
    key, _ = cache.append(rows(3), rows(3))
    place = key.data_ptr()
    assert cache.append(rows(1), rows(1))[0].data_ptr() == place
    assert cache.capacity == 4
    assert cache.append(rows(1), rows(1))[0].data_ptr() != place
    assert cache.capacity == 8
    cache.append(rows(29), rows(29))
    assert cache.capacity == 34
    assert cache.key is not None
    assert cache.key.shape == (2, 3, 34, 5)


def test_keep_chooses_batch_entries_and_goes_on() -> None:
    cache = GrowingCache(2)
    cache.append(rows(3), rows(3, seed=2))
    cache.keep(torch.tensor([1, 1, 0]))
    new = rows(2, batch=3, seed=3)
    key, value = cache.append(new, new)
    assert torch.equal(key, torch.cat((rows(3)[[1, 1, 0]], new), dim=2))
    assert torch.equal(value, torch.cat((rows(3, seed=2)[[1, 1, 0]], new), dim=2))


@pytest.mark.parametrize("name", CACHES)
def test_keep_of_nothing_yet_is_nothing(name: str) -> None:
    cache = CACHES[name].build(SIZES)
    cache.keep(torch.tensor([0]))
    assert cache.length == 0
    assert cache.append(rows(1), rows(1))[0].shape == (2, 3, 1, 5)


@pytest.mark.parametrize("name", CACHES)
def test_a_cache_keeps_the_precision_of_its_rows(name: str) -> None:
    cache = CACHES[name].build(SIZES)
    assert cache.append(rows(2).bfloat16(), rows(2).bfloat16())[0].dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (rows(1, batch=1), rows(1, batch=1), ["keys", "[2, 3, 4, 5]", "[1, 3, 1, 5]", "keep()"]),
        (rows(1, heads=1), rows(1, heads=1), ["keys", "[2, 1, 1, 5]"]),
        (rows(1, width=1), rows(1), ["keys", "[2, 3, 1, 1]"]),
        (rows(1), rows(1, width=7), ["values", "[2, 3, 4, 5]", "[2, 3, 1, 7]"]),
        (rows(1).double(), rows(1).double(), ["keys", "torch.float32", "torch.float64"]),
    ],
)
@pytest.mark.parametrize("name", CACHES)
def test_rows_that_do_not_continue_the_cache_are_refused(
    name: str, key: torch.Tensor, value: torch.Tensor, words: list[str]
) -> None:
    cache = CACHES[name].build(SIZES)
    cache.append(rows(4), rows(4))
    with as_a_user(), pytest.raises(ShapeError) as caught:
        cache.append(key, value)
    for word in words:
        assert word in str(caught.value)
    assert cache.length == 4


def test_a_fixed_cache_refuses_what_it_has_no_room_for() -> None:
    cache = FixedCache(5)
    cache.append(rows(3), rows(3))
    with pytest.raises(ShapeError, match=r"room for 5 rows, holds 3 and was given 3.* larger max_length"):
        cache.append(rows(3), rows(3))
    assert cache.append(rows(2), rows(2))[0].shape == (2, 3, 5, 5)


def test_a_cache_holds_one_row_or_more() -> None:
    with pytest.raises(OptionError, match="max_length of a cache must be 1 or more; it is 0"):
        FixedCache(0)
    with pytest.raises(OptionError, match=r"window of a cache must be 1 or more, .* it is 0"):
        SlidingCache(0)
    with pytest.raises(OptionError, match="capacity of a cache must be 0 or more; it is -5"):
        GrowingCache(-5)


def test_parents_are_of_sentences_and_their_beams() -> None:
    with as_a_user(), pytest.raises(ShapeError, match=r"\[sentences, beams\]; they have \[2\].*keep\(entries\)"):
        GrowingCache().reorder(torch.tensor([0, 1]))
