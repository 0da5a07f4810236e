import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest
import torch
from torch import Tensor

from regard.data import loading
from regard.data.batches import Batch, ParallelSet, TokenBudget, TokenRows
from regard.data.loading import Loader
from regard.errors import OptionError, WorkError

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="signals and forks as Linux has them")


def some_loader(*, workers: int = 0, timeout: float = 5.0) -> Loader:
    source, target = (TokenRows.gather([[3 + n] * (n * step % 17) for n in range(997)]) for step in (5, 7))
    dataset = ParallelSet(source, target)
    return Loader(dataset, TokenBudget(dataset, tokens=101, seed=3), workers=workers, timeout=timeout)


def equal(one: Batch, other: Batch) -> bool:
    return all(
        torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a == b
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("position", [0, 41])
def test_a_loader_goes_on_from_any_place_with_or_without_workers(workers: int, position: int) -> None:
    whole = list(some_loader().batches(epoch=2))
    rest = list(some_loader(workers=workers).batches(epoch=2, position=position))
    assert len(rest) == len(whole) - position > 50
    assert all(map(equal, rest, whole[position:]))


def test_the_end_of_an_epoch_is_a_place_too() -> None:
    loader = some_loader()
    assert list(loader.batches(0, len(loader.budget.batches(0)))) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_leaves_random_numbers_and_signals_as_they_were(workers: int) -> None:
    state, handler = torch.get_rng_state(), signal.getsignal(signal.SIGCHLD)
    batches = some_loader(workers=workers).batches(0)
    next(batches)
    assert torch.equal(torch.get_rng_state(), state)
    assert signal.getsignal(signal.SIGCHLD) == handler


def workers_of(batches: object) -> list[int]:
    assert batches is not None
    return [pid for child in multiprocessing.active_children() if (pid := child.pid) is not None]


def are_gone(pids: list[int]) -> bool:
    """Whether no such process is left, but for ones that wait for a parent that is init by now."""
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rsplit(")", 1)[1].split()[0] != "Z":
                    return False
        except FileNotFoundError:
            continue
    return True


@ON_LINUX
def test_a_killed_worker_is_told_and_the_others_end() -> None:
    batches = some_loader(workers=2).batches(0)
    next(batches)
    pids = workers_of(batches)
    os.kill(pids[1], signal.SIGKILL)
    began = time.monotonic()
    told = (
        rf"^Loader worker {pids[1]} was ended by SIGKILL\. Resume from the last checkpoint, without workers \(0\) if it"
    )
    with pytest.raises(WorkError, match=told):
        list(batches)
    assert time.monotonic() - began < 5
    assert are_gone(pids)


@ON_LINUX
@pytest.mark.parametrize("taken", [0, 1, 29])
def test_a_stopped_worker_is_told_and_ended(taken: int) -> None:
    batches = some_loader(workers=2, timeout=1.5).batches(0)
    for _ in range(taken + 1):
        next(batches)
    pids = workers_of(batches)
    os.kill(pids[0], signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(WorkError, match=r"^The loader workers answered nothing for 1\.5 seconds and were ended\."):
        list(batches)
    assert 1 < time.monotonic() - began < 5
    assert are_gone(pids)


@ON_LINUX
def test_a_loader_that_is_let_go_leaves_no_worker() -> None:
    batches = some_loader(workers=2).batches(0)
    next(batches)
    pids = workers_of(batches)
    assert len(pids) == 2
    del batches
    assert are_gone(pids)


@ON_LINUX
def test_an_interrupt_at_the_keyboard_is_left_to_the_parent() -> None:
    batches = some_loader(workers=2).batches(0)
    next(batches)
    for pid in workers_of(batches):
        os.kill(pid, signal.SIGINT)
    time.sleep(0.1)
    assert len(list(batches)) > 50


@ON_LINUX
def test_a_worker_that_has_just_started_holds_an_interrupt_too(monkeypatch: pytest.MonkeyPatch) -> None:
    left_to_parent = loading._leave_interrupts_to_parent

    def interrupted_before_it_is_ready(worker: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        left_to_parent(worker)

    monkeypatch.setattr(loading, "_leave_interrupts_to_parent", interrupted_before_it_is_ready)
    assert len(list(some_loader(workers=2).batches(0))) > 50
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@ON_LINUX
def test_workers_start_in_silence_beside_other_threads() -> None:
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            next(some_loader(workers=1).batches(0))
    finally:
        ended.set()
        thread.join()


@ON_LINUX
@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed() -> None:
    code = (
        "import os, sys, signal; from tests.data.test_loading import some_loader, workers_of\n"
        "batches = some_loader(workers=2).batches(0); next(batches)\n"
        "print(*workers_of(batches), flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False)
    pids = [int(pid) for pid in run.stdout.split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 10
    while not are_gone(pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert are_gone(pids)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(OptionError, match=r"^The number of loader workers must be 0 or more; it is -1\.$"):
        some_loader(workers=-1)
    with pytest.raises(OptionError, match=r"^The workers must be given some time to answer; timeout is 0 seconds\.$"):
        some_loader(timeout=0)
