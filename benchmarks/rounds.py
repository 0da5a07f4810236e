"""Sides of a benchmark that take turns in one process, for work too short to wait for other processes."""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch

Work = Callable[[], object]
Clock = Callable[[], float]

LEAST_SECONDS = 5e-3
"""A turn repeats its work until it lasts about so long."""


def in_turns(sides: Mapping[str, Work], rounds: int, clock: Clock = time.perf_counter) -> dict[str, list[float]]:
    """Return the seconds of each side's work, round by round; every other round goes backwards."""
    times = {name: repetitions(work, clock) for name, work in sides.items()}
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            started = clock()
            for _ in range(times[name]):
                sides[name]()
            found[name].append((clock() - started) / times[name])
    return found


def repetitions(work: Work, clock: Clock) -> int:
    """Return how often to repeat some work in a turn, warmed up."""
    work()
    started = clock()
    work()
    return max(1, round(LEAST_SECONDS / max(clock() - started, 1e-9)))


def times_faster(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return how many times as fast ours is: the median of the ratios of the rounds."""
    return statistics.median(their / our for our, their in zip(ours, theirs, strict=True))


def geometric_mean(ratios: Sequence[float]) -> float:
    """Return the geometric mean."""
    return math.exp(statistics.fmean(map(math.log, ratios)))


def kind(dtype: torch.dtype) -> str:
    """Name a type."""
    return str(dtype).removeprefix("torch.")


def add_round_options(parser: argparse.ArgumentParser, *, rounds: int = 7) -> None:
    """Let threads, rounds and the clock be chosen."""
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1], help="once with each number of threads")
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each side")
    parser.add_argument(
        "--cpu-time", action="store_true", help="count the process's own time: one thread, busy machine"
    )


def chosen_clock(options: argparse.Namespace) -> Clock:
    """Return the clock that the options ask for."""
    return time.process_time if options.cpu_time else time.perf_counter
