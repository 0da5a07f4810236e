"""Telemetry: what heads look at while a model trains, from a few queries of an update now and then.

    telemetry = Telemetry(model, every=50)
    after each update:  found = telemetry.updated(step)

The lens is open in the sampled updates alone, so all others run as they would. The fused kernels run in all of them.
No random number of the training is used, so that it comes to the same weights with telemetry and without.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from regard.attention.call import AttentionCall
from regard.errors import OptionError
from regard.inspection.lens import Lens
from regard.inspection.statistics.running import RunningStatistics, queries_seen

EVERY = 50
"""Updates from one sample to the next."""
SHARE = 0.02
"""Share of a training's time that samples may take."""
QUERIES = 8
"""Queries of each call that are looked at, side by side."""
CALLS = 8
"""Calls of a site that are looked at in an update; a recurrent decoder makes one a token."""


class Telemetry:
    """Samples entropy, distance, greatest weight and mass on the first key of each head of a model in training.

    Args:
        model: The model; what it does in evaluation mode is not looked at.
        every: Updates from one sample to the next.
        queries: Queries of each call that are looked at: so many side by side, at a place drawn anew for each call.
        calls: Calls of a site that are looked at in an update.
        share: Share of the time that samples may take: where updates are so fast that they took more, samples are left
            out until they did not. 1 leaves none out.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        every: int = EVERY,
        queries: int = QUERIES,
        calls: int = CALLS,
        share: float = SHARE,
    ) -> None:
        for name, value in (("every", every), ("queries", queries), ("calls", calls)):
            if value < 1:
                raise OptionError(f"{name} of telemetry must be 1 or more; it is {value}.")
        if not 0 < share <= 1:
            raise OptionError(f"share of telemetry must lie above 0 and not above 1; it is {share}.")
        self.model, self.every, self.queries, self.calls, self.share = model, every, queries, calls, share
        self.spent = 0.0
        self.began = time.perf_counter()
        self.lens: Lens | None = None
        self.running = RunningStatistics()
        self.places = torch.Generator()

    def updated(self, step: int) -> RunningStatistics | None:
        """Say that an update is done; return what was sampled in it, if anything was.

        The next update is watched from here on if its number is a multiple of `every`.
        """
        found = self.running if self.lens is not None and len(self.running) else None
        self.close()
        if (step + 1) % self.every == 0 and self.spent <= self.share * (time.perf_counter() - self.began):
            self.open(step + 1)
        return found

    def open(self, step: int) -> None:
        """Watch the update of this number."""
        with self.timed():
            self.running = RunningStatistics()
            self.places.manual_seed(step)
            self.lens = Lens(self.model, keep=self.take, partial=True)
            self.lens.__enter__()

    def close(self) -> None:
        """Stop watching; who ends a training calls it."""
        lens, self.lens = self.lens, None
        if lens is not None:
            with self.timed():
                lens.__exit__(None, None, None)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time that this takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.spent += time.perf_counter() - started

    def take(self, name: str, call: AttentionCall) -> None:
        """Look at some queries of a call."""
        if not self.model.training or (name in self.running and self.running[name].calls >= self.calls):
            return
        with self.timed():
            spare = call.query.shape[2] - self.queries
            start = int(torch.randint(spare + 1, (), generator=self.places)) if spare > 0 else 0
            part = slice(start, start + self.queries)
            seen = queries_seen(name, call)
            counts = None if seen is None else seen[:, part]
            self.running.take(name, call._replace(query=call.query[:, :, part], offset=call.offset + start), counts)
