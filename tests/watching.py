"""The calls of attention that something makes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from regard.attention.attend import Run, observers
from regard.attention.call import AttentionCall
from regard.attention.ways import reference


@contextmanager
def watching() -> Iterator[list[AttentionCall]]:
    """Keep the calls made meanwhile."""
    calls: list[AttentionCall] = []

    def around(call: AttentionCall, run: Run) -> Tensor:
        calls.append(call)
        return run(call)

    observers.append(around)
    try:
        yield calls
    finally:
        observers.remove(around)


def weights_of(calls: list[AttentionCall]) -> Tensor:
    """Return the weights [B Q K] of calls with one head, the queries of all calls in order."""
    return torch.cat([reference.weights(call)[:, 0] for call in calls], dim=1)
