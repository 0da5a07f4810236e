"""What the loop tells while it runs. Displays and telemetry listen; the loop knows none of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.training.selection import Selection


@dataclass(frozen=True, kw_only=True)
class Updated:
    """An update is done, whether or not it changed anything.

    Attributes:
        step: Updates done, this one included.
        epoch: Epochs begun, from 1.
        loss: The mean loss of a target token in this update; NaN if it could not be computed.
        tokens: The target tokens in it.
        learning_rate: The learning rate that it used.
        gradient_norm: The norm of its gradient before clipping; None if it was skipped.
        seconds: How long the run has trained, over all its sessions.
    """

    step: int
    epoch: int
    loss: float
    tokens: int
    learning_rate: float
    gradient_norm: float | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Logged:
    """A line was added to metrics.jsonl."""

    line: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Validated:
    """The model was measured on the validation set.

    Attributes:
        step: Updates done.
        scores: Every measure by its name.
        selection: The best validation so far, this one included.
    """

    step: int
    scores: Mapping[str, float]
    selection: Selection


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A checkpoint is whole on the disk."""

    step: int
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Warned:
    """Something that the user should read: a damaged checkpoint, an update that changed nothing."""

    text: str


Event = Updated | Logged | Validated | Saved | Warned
Observer = Callable[[Event], None]
