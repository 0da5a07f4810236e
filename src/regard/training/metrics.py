"""The record of a run: sums over updates, and `metrics.jsonl`, one JSON object a line.

The file belongs to the checkpoint: a resumed run cuts it back to the length that it had when the checkpoint was
saved, so that no line stands twice and a killed run leaves no half line.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from regard.errors import WorkError
from regard.files import hold, why_not_written
from regard.training.objectives import Loss


@dataclass
class Totals:
    """Sums over target tokens, of some updates or of a whole validation set.

    Attributes:
        loss: The loss, smoothed if the objective is.
        nll: The negative log-likelihood in nats.
        correct: Tokens that had the highest probability.
        tokens: All tokens.
        updates: Updates in the sums.
        skipped: Updates that changed nothing; they are not in the sums.
        seconds: The time that the updates took.
    """

    loss: float = 0.0
    nll: float = 0.0
    correct: int = 0
    tokens: int = 0
    updates: int = 0
    skipped: int = 0
    seconds: float = 0.0

    def add(self, loss: Loss) -> None:
        """Take in a batch. Reads the numbers off the device at once: it waits there only one time."""
        sums = torch.stack([x.detach().double() for x in (loss.loss, loss.nll, loss.correct)]).tolist()
        self.loss += sums[0]
        self.nll += sums[1]
        self.correct += int(sums[2])
        self.tokens += loss.tokens

    def take(self, other: "Totals", *, skipped: bool, seconds: float) -> None:
        """Take in an update; what a skipped one lost says nothing, so only its time and number count."""
        if not skipped:
            self.loss += other.loss
            self.nll += other.nll
            self.correct += other.correct
            self.tokens += other.tokens
        self.updates += 1
        self.skipped += skipped
        self.seconds += seconds

    def means(self) -> dict[str, float]:
        """Give loss, negative log-likelihood and accuracy of a token; NaN where there is none."""
        count = self.tokens or math.nan
        return {"loss": self.loss / count, "nll": self.nll / count, "accuracy": self.correct / count}


class MetricsFile:
    """`metrics.jsonl` of a run, open for adding lines; while it is, no other process can train into the run.

    Raises:
        WorkError: It cannot be written, or another training does so.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._telling():
            self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 (closed by close)
        if not hold(self._file):
            self.close()
            raise WorkError(f"Another process trains into {path.parent}. Wait until it ends, or choose another folder.")

    def __enter__(self) -> "MetricsFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cut(self, length: int) -> int:
        """Cut off what stands behind the length in bytes that the file had when the checkpoint was saved.

        Returns:
            How many bytes the file was shorter than that: a user has cut it, or a disk has lost it.
        """
        with self._telling():
            missing = max(0, length - os.fstat(self._file.fileno()).st_size)
            self._file.seek(0)
            self._file.truncate(self._file.read().rfind(b"\n") + 1 if missing else length)
        return missing

    def add(self, line: Mapping[str, Any]) -> None:
        """Append a line. A number that is not finite becomes null: JSON has no other word for it."""
        rest = (json.dumps(_finite(line), ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
        with self._telling():
            while rest:  # a full disk takes a part, then says so
                rest = rest[self._file.write(rest) :]

    def sync(self) -> int:
        """Put all lines on the disk and return the file's length: what a checkpoint remembers."""
        with self._telling():
            os.fsync(self._file.fileno())
            return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WorkError(f"Cannot write {self.path}: {why_not_written(error)}") from error


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
