"""Trains a tiny model again and again in processes that are killed or stopped, and reports what was left.

Run as `python -m tests.training.hammer RUN kill TIMES SEED` (or `stop`): one import of torch for all the processes,
which are forked from this one before torch has started any thread.
"""

import dataclasses
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, NamedTuple

import torch

from regard.training.checkpoints import load_latest
from regard.training.config import TrainingConfig
from regard.training.events import Event, Saved, Updated
from tests.training.tiny import CONFIG, make_trainer

ENDLESS = dataclasses.replace(CONFIG, max_updates=10**9, validate_every=5, save_every=1, keep=2)
RARELY = dataclasses.replace(ENDLESS, validate_every=19, save_every=None)


class Blow(NamedTuple):
    """A signal to one training, or to its whole process group with the loader's workers."""

    number: int
    to_group: bool
    delay: float
    config: TrainingConfig


def train(run: Path, announcing: int, blow: Blow) -> None:
    """Train without end, telling every checkpoint, and the first update as step 0."""
    os.setpgid(0, 0)
    told = False

    def announce(event: Event) -> None:
        nonlocal told
        if isinstance(event, Updated) and not told and blow.number != signal.SIGKILL:
            told = True
            os.write(announcing, b"0\n")
        if isinstance(event, Saved):
            os.write(announcing, f"{event.step}\n".encode())

    workers = 2 if blow.to_group else 0
    outcome = make_trainer(run, config=blow.config, workers=workers, observers=[announce]).fit(resume=True)
    os._exit(128 + (outcome.signal or 0))


def strike(run: Path, blow: Blow) -> dict[str, Any]:
    """Start a training, wait until it tells something and then a while, and send it a signal."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            train(run, writing, blow)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    os.close(writing)
    told = os.read(reading, 1 << 16)
    time.sleep(blow.delay)
    sent = time.monotonic()
    os.kill(-child if blow.to_group else child, blow.number)
    _, status = os.waitpid(child, 0)
    took = time.monotonic() - sent
    while more := os.read(reading, 1 << 16):
        told += more
    os.close(reading)
    saved = [int(part) for part in told.split(b"\n")[:-1]]
    found = {"told": max(saved, default=-1), "took": took, "exit": os.waitstatus_to_exitcode(status), **look(run)}
    return {**found, "signal": blow.number}


def look(run: Path) -> dict[str, Any]:
    """Tell what a restart would find."""
    names = [path.name for folder in (run, run / "checkpoints") if folder.exists() for path in folder.iterdir()]
    warnings: list[str] = []
    try:
        checkpoint = load_latest(run, warnings.append)
    except Exception as error:
        return {"step": None, "warnings": [str(error)], "temporary": 0}
    temporary = sum(name.startswith(".") for name in names)
    return {"step": checkpoint.step if checkpoint else -1, "warnings": warnings, "temporary": temporary}


def main(run: Path, mode: str, times: int, seed: int) -> None:
    """Hammer and print a report, a line of JSON."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as warm:  # whatever is imported late is imported here, once
        make_trainer(Path(warm), config=dataclasses.replace(CONFIG, max_updates=2)).fit()
    chance = random.Random(seed)
    report = []
    for hop in range(times):
        if mode == "kill":
            blow = Blow(signal.SIGKILL, False, chance.uniform(0, 0.1), ENDLESS)
        else:
            number = signal.SIGTERM if hop % 2 else signal.SIGINT
            blow = Blow(number, hop % 4 >= 2, chance.uniform(0, 0.05), RARELY)
        report.append(strike(run, blow))
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
