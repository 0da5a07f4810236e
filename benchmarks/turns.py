"""Benchmarks whose sides take turns, so that a busy or slowing machine slows all of them.

Each side is a process that lives as long as the benchmark, in an environment of its own, and waits while others work.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[1]
PAUSE = 0.3
"""Seconds between turns, for the threads of a side that wait actively for some time when it is done."""


class Side:
    """A process that answers requests (`sides/answering.py`)."""

    def __init__(self, script: str, *arguments: str, python: Path, folder: Path, threads: int) -> None:
        self.name = " ".join((script, *arguments))
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        with tempfile.NamedTemporaryFile(dir=folder, prefix=script, suffix=".log", delete=False) as log:
            self.log = Path(log.name)
            self.process = subprocess.Popen(
                [python, Path(__file__).parent / "sides" / f"{script}.py", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env=environment,
                text=True,
            )

    def ask(self, **request: float | str) -> dict[str, Any]:
        """Send a request and wait for the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        time.sleep(PAUSE)
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            end = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise SystemExit(f"{self.name} has died, asked for {request}. The end of what it said:\n{end}")
        found: dict[str, Any] = json.loads(answer)
        return found

    def rate(self, **request: float | str) -> float:
        """Send a request and return the tokens a second."""
        answer = self.ask(**request)
        return float(answer["tokens"] / answer["seconds"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait()


def own_python() -> Path:
    """Return the interpreter that runs this."""
    return Path(sys.executable)


def peers_python(environment: Path) -> Path:
    """Return the interpreter of the peers' environment."""
    python = environment.absolute() / "bin" / "python"
    if not python.exists():
        raise SystemExit(f"{environment} holds no environment of the peers: run `make peers`.")
    return python


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Return the ratio of the medians, and the median of the ratios of each round."""
    each = [one / other for one, other in zip(ours, theirs, strict=True)]
    return statistics.median(ours) / statistics.median(theirs), statistics.median(each)


def best(rates: Mapping[str, Sequence[float]], names: Sequence[str]) -> str:
    """Return which of these sides has the greatest median."""
    return max(names, key=lambda name: statistics.median(rates[name]))


def add_options(parser: argparse.ArgumentParser, *, rounds: int) -> None:
    """Let peers, threads and rounds be chosen."""
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers", help="environment with the peers in it")
    parser.add_argument("--threads", type=int, default=2, help="threads a side")
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each side")
