import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regard.attention.caches import GrowingCache
from regard.errors import ShapeError
from tests.attention.judge import as_a_user


def rows(count: int, *, batch: int = 2, heads: int = 3, width: int = 5, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, heads, count, width, generator=torch.Generator().manual_seed(seed))


@given(st.lists(st.integers(0, 7), min_size=1, max_size=9), st.integers(0, 11))
def test_a_cache_returns_all_rows_in_order_whatever_its_capacity(chunks: list[int], capacity: int) -> None:
    total = sum(chunks)
    keys, values = rows(total), rows(total, width=7, seed=2)
    cache = GrowingCache(capacity)
    done = 0
    for size in chunks:
        key, value = cache.append(keys[:, :, done : done + size], values[:, :, done : done + size])
        done += size
        assert cache.length == done
        assert torch.equal(key, keys[:, :, :done])
        assert torch.equal(value, values[:, :, :done])


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


def test_keep_of_nothing_yet_is_nothing() -> None:
    cache = GrowingCache()
    cache.keep(torch.tensor([0]))
    assert cache.length == 0
    assert cache.append(rows(1), rows(1))[0].shape == (2, 3, 1, 5)


def test_a_cache_keeps_the_precision_of_its_rows() -> None:
    cache = GrowingCache()
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
def test_rows_that_do_not_continue_the_cache_are_refused(
    key: torch.Tensor, value: torch.Tensor, words: list[str]
) -> None:
    cache = GrowingCache()
    cache.append(rows(4), rows(4))
    with as_a_user(), pytest.raises(ShapeError) as caught:
        cache.append(key, value)
    for word in words:
        assert word in str(caught.value)
    assert cache.length == 4
