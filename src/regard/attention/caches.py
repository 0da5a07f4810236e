"""Caches: keys and values of earlier steps, kept so that a step computes its own alone."""

from jaxtyping import Float, Int
from torch import Tensor

from regard.errors import ShapeError


class GrowingCache:
    """Keys and values that grow by rows; storage doubles when it is full.

    Several beams append one row each a step, side by side: nothing is moved when beams change places, and which rows
    belong to which beam is a mask (`generation/search.py`).
    """

    def __init__(self, capacity: int = 64) -> None:
        self.capacity = capacity
        self.length = 0
        self.key: Tensor | None = None
        self.value: Tensor | None = None

    def append(
        self, key: Float[Tensor, "B G N D"], value: Float[Tensor, "B G N E"]
    ) -> tuple[Float[Tensor, "B G K D"], Float[Tensor, "B G K E"]]:
        """Add rows and return all there are, as views.

        Storage is written in place, so gradients do not flow through a cache of several steps.
        """
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

    def check(self, key: Tensor, value: Tensor) -> None:
        """Raise if rows do not continue those that are kept."""
        for name, kept, new in (("key", self.key, key), ("value", self.value, value)):
            if kept is not None and (kept.shape[:2], kept.shape[3], kept.dtype) != (
                new.shape[:2],
                new.shape[3],
                new.dtype,
            ):
                raise ShapeError(
                    f"The cache holds {name}s of shape {list(kept[:, :, : self.length].shape)} in {kept.dtype} and was "
                    f"given {list(new.shape)} in {new.dtype}: only the lengths may differ. "
                    "Start a new cache, or choose batch entries with keep()."
                )

    def keep(self, entries: Int[Tensor, "N"]) -> None:
        """Keep the chosen batch entries, in this order."""
        if self.key is not None and self.value is not None:
            self.key = self.key.index_select(0, entries)
            self.value = self.value.index_select(0, entries)
