"""Scores for TensorBoard, for those who want them there; the package is optional."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from regard.errors import OptionError
from regard.training.events import Event, Logged, Saved, Validated


class TensorBoard:
    """Writes every line of metrics.jsonl and every validation as scalars.

    A resumed training hides what the earlier session wrote beyond the step that it goes on from.

    Args:
        folder: Where; TensorBoard compares runs that lie in one folder.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise OptionError(
                "TensorBoard is not installed. Install it with `pip install 'regard[tensorboard]'`, or leave the "
                "option out: metrics.jsonl has the same figures."
            ) from error
        self._class = SummaryWriter
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def __call__(self, event: Event) -> None:
        """Write an event that has scores."""
        if isinstance(event, Logged):
            self._write("train", event.line["step"], event.line)
        elif isinstance(event, Validated):
            self._write("valid", event.step, event.scores)
        elif isinstance(event, Saved) and self._writer is not None:
            self._writer.flush()

    def _write(self, group: str, step: int, scores: Mapping[str, Any]) -> None:
        if self._writer is None:
            self._writer = self._class(str(self._folder), purge_step=step)
        for name, value in scores.items():
            if isinstance(value, int | float) and name not in ("step", "seconds"):
                self._writer.add_scalar(f"{group}/{name}", value, step)
