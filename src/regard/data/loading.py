"""Batches made ahead by worker processes that are watched: one that dies or hangs is told, and none is left behind."""

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import active_children
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch.utils.data import DataLoader

from regard.data.batches import Batch, ParallelSet, TokenBudget
from regard.errors import OptionError, WorkError

_POLL = 1.0  # seconds between looks at whether the workers live
_SLICES = 5  # a wait is counted in so many slices: while the whole process group is stopped (Ctrl-Z) only one passes


class Loader:
    """Makes the batches of a budget, in worker processes if asked to.

    A batch is made in a fraction of a millisecond, so workers pay only where the training step leaves cores idle.

    Args:
        dataset: The pairs.
        budget: Which of them make a batch.
        workers: Number of worker processes; 0 makes the batches here.
        timeout: Seconds after which workers that answer nothing count as lost.
        pin_memory: Whether batches lie in memory that a GPU can fetch from by itself.
    """

    def __init__(
        self,
        dataset: ParallelSet,
        budget: TokenBudget,
        *,
        workers: int = 0,
        timeout: float = 5.0,
        pin_memory: bool = False,
    ) -> None:
        if workers < 0:
            raise OptionError(f"The number of loader workers must be 0 or more; it is {workers}.")
        if timeout <= 0:
            raise OptionError(f"The workers must be given some time to answer; timeout is {timeout:g} seconds.")
        self.dataset = dataset
        self.budget = budget
        self.workers = workers
        self.timeout = timeout
        self.pin_memory = pin_memory

    def batches(self, epoch: int, position: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, from a position on. Draws none of training's random numbers.

        Raises:
            WorkError: A worker was killed, or answers nothing.
        """
        loader: DataLoader[Any] = DataLoader(
            self.dataset,
            batch_sampler=self.budget.batches(epoch)[position:],
            collate_fn=_as_it_is,
            num_workers=self.workers,
            timeout=_POLL if self.workers else 0,
            pin_memory=self.pin_memory,
            # A fork shares the data and is there at once. Where it is not safe, the tensors go by shared memory.
            multiprocessing_context="fork" if self.workers and sys.platform == "linux" else None,
            worker_init_fn=_leave_interrupts_to_parent,
            generator=torch.Generator(),  # else a seed for the workers would be drawn from what dropout draws from
        )
        return _watched(loader, self.timeout) if self.workers else iter(loader)


def _as_it_is(batch: Any) -> Any:
    return batch


def _leave_interrupts_to_parent(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _watched(loader: DataLoader[Any], timeout: float) -> Iterator[Batch]:
    others = active_children()
    iterator = _start(loader)
    workers = [child for child in active_children() if child not in others]
    try:
        while (batch := _next(iterator, workers, timeout)) is not None:
            yield batch
    finally:
        del iterator  # asks the workers to end, and waits
        for worker in workers:
            worker.kill()  # a stopped one hears nothing else


def _start(loader: DataLoader[Any]) -> Iterator[Batch]:
    """Start the workers, without the side effects of that on the rest of the program."""
    # No worker tokenizes; without this the tokenizers library prints a warning in each fork after it ran in parallel.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGCHLD) if in_main_thread and sys.platform != "win32" else None
    with warnings.catch_warnings():
        # From Python 3.12 on. The workers touch numpy arrays and their queues, no lock of another thread.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        with _interrupts_held():
            iterator = iter(loader)
    if before is not None:
        # PyTorch tells a worker's death from a handler of SIGCHLD, between any two lines of the main thread: in the
        # middle of the optimizer's step, or of a save. Here it is told where the next batch is asked for.
        signal.signal(signal.SIGCHLD, before)
    return iterator


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let processes that start here inherit that interrupts wait, until they say that they ignore them."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _next(iterator: Iterator[Batch], workers: Sequence[BaseProcess], timeout: float) -> Batch | None:
    """Take the next batch, or None at the end; raise within about the timeout if the workers are lost."""
    done, overdue = threading.Event(), threading.Event()
    watch = threading.Thread(target=_end_overdue, args=(done, overdue, workers, timeout), daemon=True)
    watch.start()
    try:
        while True:
            try:
                return next(iterator, None)
            except (RuntimeError, OSError, EOFError) as error:
                only_slow = str(error).startswith("DataLoader timed out")
                lost = wait([worker.sentinel for worker in workers], 0 if only_slow else _POLL)
                if lost:
                    worker = next(worker for worker in workers if worker.sentinel in lost)
                    raise _loss_of(worker, timeout if overdue.is_set() else None) from error
                if not only_slow:
                    raise
    finally:
        done.set()
        watch.join()


def _end_overdue(
    done: threading.Event, overdue: threading.Event, workers: Sequence[BaseProcess], timeout: float
) -> None:
    """Kill workers that keep their parent waiting; this also frees it where it reads from one that is stopped."""
    for _ in range(_SLICES):
        if done.wait(timeout / _SLICES):
            return
    overdue.set()
    for worker in workers:
        worker.kill()


def _loss_of(worker: BaseProcess, waited: float | None) -> WorkError:
    worker.join()
    if waited is not None:
        what = f"The loader workers answered nothing for {waited:g} seconds and were ended"
    elif worker.exitcode is not None and worker.exitcode < 0:
        number = -worker.exitcode
        what = f"Loader worker {worker.pid} was ended by {signal.Signals(number).name}"
    else:
        what = f"Loader worker {worker.pid} ended by itself with status {worker.exitcode}"
    return WorkError(f"{what}. Resume from the last checkpoint, without workers (0) if it happens again.")
