"""Caches: keys and values of earlier steps, kept so that a step computes its own alone.

What a decoder attends to and that never grows, the encoder's states, is a `Memory` (call.py) instead.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.attention.masks import Mask
from regard.errors import OptionError, ShapeError


class Cache:
    """Keys and values of the positions up to `length`, the first of them at `first_key`.

    Storage is written in place, so gradients do not flow through a cache of several steps.
    """

    first_key = 0

    def __init__(self) -> None:
        self.length = 0
        self.key: Tensor | None = None
        self.value: Tensor | None = None
        self.fitting: tuple[object, ...] | None = None

    def append(
        self, key: Float[Tensor, "B G N D"], value: Float[Tensor, "B G N E"]
    ) -> tuple[Float[Tensor, "B G K D"], Float[Tensor, "B G K E"]]:
        """Add rows and return those that the new rows may need, as views where that is possible."""
        raise NotImplementedError

    def check(self, key: Tensor, value: Tensor) -> None:
        """Raise if rows do not continue those that are kept; rows like the last ones do."""
        like = key.shape, value.shape, key.dtype, value.dtype
        if like == self.fitting:
            return
        for name, kept, new in (("key", self.key, key), ("value", self.value, value)):
            if kept is not None and (kept.shape[:2], kept.shape[3], kept.dtype) != (
                new.shape[:2],
                new.shape[3],
                new.dtype,
            ):
                there = [*kept.shape[:2], self.length - self.first_key, kept.shape[3]]
                raise ShapeError(
                    f"The cache holds {name}s of shape {there} in {kept.dtype} and was given {list(new.shape)} in "
                    f"{new.dtype}: only the lengths may differ. Start a new cache, or choose batch entries with keep()."
                )
        self.fitting = like

    def check_reach(self, mask: Mask, queries: int) -> None:
        """Raise if the newest queries may look at keys that the cache let go of."""
        if self.first_key == 0:
            return
        first = self.length - queries
        if mask.block(range(first, self.length), range(self.first_key)) != "empty":
            raise OptionError(
                f"The cache keeps the keys from position {self.first_key} on, and the mask may let the queries from "
                f"position {first} on look at earlier ones. Join it with a Window that ends there, "
                "or use a GrowingCache."
            )

    def keep(self, entries: Int[Tensor, "N"]) -> None:
        """Keep the chosen batch entries, in this order."""
        self.fitting = None
        if self.key is not None and self.value is not None:
            self.key = self.key.index_select(0, entries)
            self.value = self.value.index_select(0, entries)

    def reorder(self, parents: Int[Tensor, "B W"]) -> None:
        """Let beams go on from their parents, where each beam is a batch entry: W of a sentence, side by side."""
        self.keep(beam_entries(parents))


def beam_entries(parents: Int[Tensor, "B W"]) -> Int[Tensor, "N"]:
    """Return which batch entry each beam goes on from, where W beams of each sentence are entries side by side."""
    if parents.dim() != 2:
        raise ShapeError(
            f"parents must have the axes [sentences, beams]; they have {list(parents.shape)}. "
            "Entries that are no beams are chosen by keep(entries)."
        )
    sentences, beams = parents.shape
    first = beams * parents.new_ones(sentences).cumsum(0).sub(1)
    return (first.unsqueeze(1) + parents).flatten()


class GrowingCache(Cache):
    """Keys and values that grow by rows; storage doubles when it is full.

    Several beams append one row each a step, side by side: nothing is moved when beams change places, and which rows
    belong to which beam is a mask (`generation/search.py`).
    """

    def __init__(self, capacity: int = 64) -> None:
        super().__init__()
        if capacity < 0:
            raise OptionError(f"capacity of a cache must be 0 or more; it is {capacity}.")
        self.capacity = capacity

    def append(
        self, key: Float[Tensor, "B G N D"], value: Float[Tensor, "B G N E"]
    ) -> tuple[Float[Tensor, "B G K D"], Float[Tensor, "B G K E"]]:
        """Add rows and return all there are, as views."""
        self.check(key, value)
        end = self.length + key.shape[2]
        if self.key is None or self.value is None or end > self.key.shape[2]:
            self.capacity = max(2 * self.capacity if self.key is not None else self.capacity, end)
            self.key, self.value = self.moved(self.key, key), self.moved(self.value, value)
        self.key[:, :, self.length : end] = key
        self.value[:, :, self.length : end] = value
        self.length = end
        return self.key[:, :, :end], self.value[:, :, :end]

    def moved(self, old: Tensor | None, new: Tensor) -> Tensor:
        """Return storage of the present capacity with what was kept."""
        storage = new.new_empty(*new.shape[:2], self.capacity, new.shape[3])
        if old is not None:
            storage[:, :, : self.length] = old[:, :, : self.length]
        return storage


class FixedCache(Cache):
    """Keys and values in storage that is made once, for `max_length` rows, and never moves.

    What a text may take is known beforehand, and a longer one is refused. Entries that change places are copied within
    the storage, as long as there are as many.
    """

    def __init__(self, max_length: int) -> None:
        super().__init__()
        if max_length < 1:
            raise OptionError(f"max_length of a cache must be 1 or more; it is {max_length}.")
        self.max_length = max_length

    def append(
        self, key: Float[Tensor, "B G N D"], value: Float[Tensor, "B G N E"]
    ) -> tuple[Float[Tensor, "B G K D"], Float[Tensor, "B G K E"]]:
        """Add rows and return all there are, as views."""
        self.check(key, value)
        end = self.length + key.shape[2]
        if end > self.max_length:
            raise ShapeError(
                f"The cache has room for {self.max_length} rows, holds {self.length} and was given {key.shape[2]}. "
                "Shorten the text, make the cache with a larger max_length, or use a GrowingCache."
            )
        if self.key is None or self.value is None:
            self.key, self.value = (x.new_empty(*x.shape[:2], self.max_length, x.shape[3]) for x in (key, value))
        self.key[:, :, self.length : end] = key
        self.value[:, :, self.length : end] = value
        self.length = end
        return self.key[:, :, :end], self.value[:, :, :end]

    def keep(self, entries: Int[Tensor, "N"]) -> None:
        """Keep the chosen batch entries, in this order."""
        if self.key is None or self.value is None or len(entries) != len(self.key):
            super().keep(entries)
            return
        for storage in (self.key, self.value):
            rows = storage[:, :, : self.length]
            rows.copy_(rows.index_select(0, entries))


class SlidingCache(Cache):
    """Keys and values of the last positions: all that queries with a window of `window` keys can see.

    The window counts the query's own key: with it goes the mask `Window(window - 1, 0)`. Memory is that of 2 * window
    rows however long the text becomes (Jiang et al. 2023, 2, keep their rows in a ring; here they stay in order and
    move to the front once a window, so that ways and masks see plain positions).
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        if window < 1:
            raise OptionError(f"window of a cache must be 1 or more, to hold the query's own key; it is {window}.")
        self.window = window
        self.start = 0
        self.end = 0

    def append(
        self, key: Float[Tensor, "B G N D"], value: Float[Tensor, "B G N E"]
    ) -> tuple[Float[Tensor, "B G K D"], Float[Tensor, "B G K E"]]:
        """Add rows and return what the windows of the new rows hold."""
        self.check(key, value)
        if self.key is None or self.value is None:
            self.key, self.value = (x.new_empty(*x.shape[:2], 2 * self.window, x.shape[3]) for x in (key, value))
        rows = key.shape[2]
        start = max(self.start, self.end - (self.window - 1))  # of the earlier rows, these may still be seen
        total = self.end - start + rows
        if total > 2 * self.window:
            found = self.replaced(self.key, key, start), self.replaced(self.value, value, start)
            self.start, self.end = 0, self.window - 1
        else:
            if self.end + rows > 2 * self.window:
                self.to_front(start)
                start = 0
            self.key[:, :, self.end : self.end + rows] = key
            self.value[:, :, self.end : self.end + rows] = value
            self.start, self.end = start, self.end + rows
            found = self.key[:, :, start : self.end], self.value[:, :, start : self.end]
        self.length += rows
        self.first_key = self.length - total
        return found

    def to_front(self, start: int) -> None:
        """Move the rows from `start` on to the front of the storage."""
        for storage in (self.key, self.value):
            assert storage is not None
            storage[:, :, : self.end - start] = storage[:, :, start : self.end].clone()
        self.end -= start

    def replaced(self, storage: Tensor, new: Tensor, start: int) -> Tensor:
        """Put new rows, more than there is room for, behind those from `start` on; keep what a window sees of them."""
        rows = torch.cat((storage[:, :, start : self.end], new), dim=2)
        storage[:, :, : self.window - 1] = rows[:, :, rows.shape[2] - (self.window - 1) :]
        return rows
