"""Batches epoch after epoch, from a place that a checkpoint can hold."""

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from regard.errors import DataError
from regard.training.randomness import preserved


class Examples(Protocol):
    """A batch as the loop sees it: a named tuple that also says which examples it holds, to name them in need."""

    @property
    def indices(self) -> tuple[int, ...]:
        """The numbers of the examples in the data set."""

    def __iter__(self) -> Iterator[Any]:
        """Walk over the fields."""


class Place(NamedTuple):
    """Where in the data training stands: the next batch is number `position` of epoch `epoch`, both from 0."""

    epoch: int
    position: int


Batches = Callable[[int, int], Iterable[Examples]]
"""The batches of an epoch from a position on; their order depends on nothing but the epoch."""


class Feed:
    """Gives one batch after the other and knows the place of the next.

    It looks one batch ahead, so that the end of an epoch is known when its last batch is given. Random numbers that
    a loader draws (PyTorch's draws a seed for its workers) do not touch those of training: otherwise to resume, which
    makes a loader in the middle of an epoch, would change them.
    """

    def __init__(self, batches: Batches, place: Place, device: torch.device) -> None:
        self.place = place
        self._batches = batches
        self._device = device
        self._iterator: Iterator[Examples] | None = None
        self._ahead: Examples | None = None

    def take(self) -> Any:
        """Give the next batch, on the device."""
        if self._ahead is None:
            self._begin_epoch()
        batch, self._ahead = self._ahead, self._pull()
        assert batch is not None
        if self._ahead is None:
            self.close()
            self.place = Place(self.place.epoch + 1, 0)
        else:
            self.place = Place(self.place.epoch, self.place.position + 1)
        return to_device(batch, self._device)

    def close(self) -> None:
        """Let go of the loader, and of its workers with it."""
        if isinstance(self._iterator, Generator):
            self._iterator.close()
        self._iterator = self._ahead = None

    def _begin_epoch(self) -> None:
        with preserved(self._device):
            self._iterator = iter(self._batches(self.place.epoch, self.place.position))
        self._ahead = self._pull()
        if self._ahead is None:
            raise DataError(
                f"Epoch {self.place.epoch + 1} has no batch from number {self.place.position + 1} on: is the "
                "data set empty, or another than before?"
            )

    def _pull(self) -> Examples | None:
        assert self._iterator is not None
        with preserved(self._device):
            return next(self._iterator, None)


def to_device(batch: Any, device: torch.device) -> Any:
    """Move the tensors of a named tuple to a device."""
    if device.type == "cpu":
        return batch
    moved = [field.to(device, non_blocking=True) if isinstance(field, Tensor) else field for field in batch]
    return type(batch)(*moved)
