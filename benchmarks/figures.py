"""The figures that benchmarks are run for, the bars that they are held against, and the machine that gave them."""

import argparse
import json
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch


class Figure(NamedTuple):
    """One line of the table.

    Attributes:
        work: What was done.
        measured: What was measured, in words with its numbers.
        value: The figure: how many times faster ("x": more is better), or seconds ("s": less is better).
        bar: What it is to reach; None where it is for information only.
        unit: See `value`.
    """

    work: str
    measured: str
    value: float
    bar: float | None
    unit: str = "x"

    def verdict(self) -> str:
        """Say whether the bar is reached."""
        if self.bar is None:
            return ""
        reached = self.value >= self.bar if self.unit == "x" else self.value <= self.bar
        return "reached" if reached else "MISSED"


def show(figures: Iterable[Figure]) -> None:
    """Print figures as a table."""
    figures = list(figures)
    left, middle = (max(len(text) for text in column) for column in ([f[0] for f in figures], [f[1] for f in figures]))
    print(f"{'work':{left}}  {'measured':{middle}}  {'figure':>8}  {'bar':>8}")
    for figure in figures:
        bar = "" if figure.bar is None else f"{figure.bar:.2f} {figure.unit}"
        value = f"{figure.value:.2f} {figure.unit}"
        print(f"{figure.work:{left}}  {figure.measured:{middle}}  {value:>8}  {bar:>8}  {figure.verdict()}".rstrip())


def save(figures: Sequence[Figure], path: Path | None) -> None:
    """Write figures for the table of `run.py`, if a file is wanted."""
    if path is not None:
        path.write_text("".join(json.dumps(figure) + "\n" for figure in figures), encoding="utf-8")


def load(path: Path) -> list[Figure]:
    """Read what `save` wrote."""
    return [Figure(*json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def add_option(parser: argparse.ArgumentParser) -> None:
    """Let a benchmark be told where to save its figures."""
    parser.add_argument("--figures", type=Path, help="write the figures into this file as well")


def machine(threads: int) -> str:
    """Describe the machine in a line."""
    name = platform.processor()
    described = Path("/proc/cpuinfo")
    if described.exists():
        names = [line.partition(":")[2].strip() for line in described.read_text().split("\n") if "model name" in line]
        name = names[0] if names else name
    kind = torch.backends.cpu.get_cpu_capability()
    return f"{name} ({kind}), {os.cpu_count()} cores, {threads} threads a side, torch {torch.__version__}"


def load_average() -> str:
    """Say how busy the machine is; what runs beside a benchmark spoils it."""
    return "load average " + " ".join(f"{load:.2f}" for load in os.getloadavg())
