"""Objectives that do something at a chosen batch: what tests interrupt a training with."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regard.training.objectives import Loss
from tests.training.tiny import objective


class Killed(BaseException):
    """Stands for SIGKILL where the test wants to stay alive: nothing in the package may catch it."""


def after(calls: int, action: Callable[[], None], inner: Callable[..., Any] = objective) -> Callable[..., Any]:
    """Do something before the numbered call, from 1, of a function."""
    count = 0

    def call(*arguments: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if count == calls:
            action()
        return inner(*arguments, **named)

    return call


def in_training(calls: int, action: Callable[[], None]) -> Callable[..., Loss]:
    """An objective that does something before the numbered batch of training."""
    armed = after(calls, action)
    return lambda model, batch: armed(model, batch) if model.training else objective(model, batch)


def in_validation(calls: int, action: Callable[[], None]) -> Callable[..., Loss]:
    armed = after(calls, action)
    return lambda model, batch: objective(model, batch) if model.training else armed(model, batch)


def kill() -> None:
    raise Killed


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def hammer(run: Path, mode: str, times: int, seed: int) -> list[dict[str, Any]]:
    """Run `tests.training.hammer` and return its report."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.hammer", str(run), mode, str(times), str(seed)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    report: list[dict[str, Any]] = json.loads(done.stdout)
    assert len(report) == times
    return report
