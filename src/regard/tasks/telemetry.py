"""What heads look at while a run trains: an observer of the training loop that writes `attention.jsonl`.

A line is one sampled update: `{"step": 100, "sites": {"encoder.0.self_attention": {"entropy": [...], ...}}}`, one
number a head.
"""

import json
from pathlib import Path
from types import TracebackType
from typing import Self

from torch import nn

from regard.data.text import read_lines
from regard.files import write_whole
from regard.inspection.statistics.telemetry import EVERY, Telemetry
from regard.training.events import Event, Updated

FILE = "attention.jsonl"
DIGITS = 6


class AttentionLog:
    """Writes samples of a training into its run; a resumed one goes on where its checkpoint was.

    Args:
        model: The model in training.
        run: The run's folder.
        every: Updates from one sample to the next.
    """

    def __init__(self, model: nn.Module, run: Path, *, every: int = EVERY) -> None:
        self.telemetry = Telemetry(model, every=every)
        self.path = run / FILE
        self.begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: object, trace: TracebackType | None) -> None:
        self.telemetry.close()

    def __call__(self, event: Event) -> None:
        """Write what was sampled in an update."""
        if not isinstance(event, Updated):
            return
        found = self.telemetry.updated(event.step)
        if not self.begun:
            self.cut_back(event.step)
        if found is not None:
            line = {"step": event.step, "sites": rounded(found.table())}
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(json.dumps(line) + "\n")

    def cut_back(self, step: int) -> None:
        """Leave out what an interrupted session wrote from this update on, and a line that it broke off in."""
        self.begun = True
        if self.path.exists():
            kept = [line for line in read_lines(self.path) if is_before(line, step)]
            write_whole(self.path, "".join(f"{line}\n" for line in kept))


def is_before(line: str, step: int) -> bool:
    """Say whether a line is whole and of an earlier update."""
    try:
        written = json.loads(line)
    except json.JSONDecodeError:
        return False
    return isinstance(written, dict) and isinstance(written.get("step"), int) and written["step"] < step


def rounded(table: dict[str, dict[str, list[float | None]]]) -> dict[str, dict[str, list[float | None]]]:
    """Leave the digits that tell something."""
    return {
        site: {
            name: [None if value is None else round(value, DIGITS) for value in values]
            for name, values in numbers.items()
        }
        for site, numbers in table.items()
    }
