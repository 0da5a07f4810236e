"""What a person sees while a training runs: one live line at a terminal, plain lines anywhere else.

Both listen to the loop's events and write to the stream that they are given, standard error as a rule; results are
not their business.
"""

import math
import time
from collections import deque
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from regard.training.config import TrainingConfig
from regard.training.events import Event, Saved, Updated, Validated, Warned


class Display(Protocol):
    """Listens to events while entered."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(self, *_: object) -> None:
        """Leave the stream as a terminal is left: whole lines only."""

    def __call__(self, event: Event) -> None:
        """Show an event."""


def display(stream: TextIO, config: TrainingConfig, *, every_seconds: float = 10.0) -> Display:
    """Choose the display for a stream: live at a terminal, else a line every so many seconds."""
    console = Console(file=stream)
    return LiveDisplay(console, config) if console.is_terminal else PlainDisplay(stream, config, every_seconds)


class Meter:
    """The figures of the last updates: how fast the training goes and how long it will take."""

    window = 10.0

    def __init__(self, config: TrainingConfig) -> None:
        self._config = config
        self._recent: deque[tuple[float, int, int]] = deque()

    def take(self, event: Updated) -> None:
        """Take in an update."""
        self._recent.append((event.seconds, event.step, event.tokens))
        while len(self._recent) > 2 and self._recent[0][0] < event.seconds - self.window:
            self._recent.popleft()

    def tokens_per_second(self) -> float:
        """Give the target tokens a second over the last seconds; 0 before there are two updates."""
        if len(self._recent) < 2:
            return 0.0
        took = self._recent[-1][0] - self._recent[0][0]
        return sum(tokens for _, _, tokens in list(self._recent)[1:]) / max(took, 1e-9)

    def seconds_left(self) -> float | None:
        """Give the time to the end that comes first, updates or minutes; None where there is no such end."""
        if not self._recent:
            return None
        seconds, step, _ = self._recent[-1]
        ends = []
        if self._config.max_minutes is not None:
            ends.append(60 * self._config.max_minutes - seconds)
        if self._config.max_updates is not None and len(self._recent) > 1:
            took = (seconds - self._recent[0][0]) / max(step - self._recent[0][1], 1)
            ends.append(took * (self._config.max_updates - step))
        return max(min(ends), 0.0) if ends else None

    def share(self, event: Updated) -> float | None:
        """Give the part of the way to the end that is done; None where it is not known."""
        shares = []
        if self._config.max_updates is not None:
            shares.append(event.step / self._config.max_updates)
        if self._config.max_minutes is not None:
            shares.append(event.seconds / (60 * self._config.max_minutes))
        return min(max(shares), 1.0) if shares else None


class PlainDisplay:
    """A line every so many seconds, and one for every validation, checkpoint and warning."""

    def __init__(self, stream: TextIO, config: TrainingConfig, every_seconds: float = 10.0) -> None:
        self._stream = stream
        self._meter = Meter(config)
        self._every_seconds = every_seconds
        self._next = 0.0

    def __enter__(self) -> Self:
        self._next = time.monotonic() + self._every_seconds
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.flush()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Updated):
            self._meter.take(event)
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + self._every_seconds
            text: str | None = f"step {event.step:,}  {describe_update(event, self._meter)}"
        else:
            text = describe(event)
        if text is not None:
            print(text, file=self._stream, flush=True)


class LiveDisplay:
    """A bar with the figures beside it, redrawn in place, and lines above it for what should stay to be read."""

    def __init__(self, console: Console, config: TrainingConfig) -> None:
        self._config = config
        self._meter = Meter(config)
        self._best = ""
        self._progress = Progress(
            TextColumn("step {task.fields[step]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.description}", markup=False),
            console=console,
            refresh_per_second=4,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Updated):
            self._meter.take(event)
            if self._task is None:
                self._task = self._progress.add_task("", total=None, step="")
            share = self._meter.share(event)
            self._progress.update(
                self._task,
                description=describe_update(event, self._meter) + self._best,
                step=f"{event.step:,}",
                total=None if share is None else 1.0,
                completed=share or 0.0,
            )
            return
        if isinstance(event, Validated) and event.selection.step is not None:
            chosen = event.selection
            self._best = f"  best {chosen.by} {chosen.score:.4g} at {chosen.step:,}"
        text = describe(event)
        if text is not None and not isinstance(event, Saved):
            self._progress.console.print(Text(text))


def describe(event: Event) -> str | None:
    """Put an event into a line; None for those that come with every update."""
    match event:
        case Validated():
            scores = "  ".join(f"{name} {score:.4g}" for name, score in event.scores.items())
            best = event.selection
            note = "the best so far" if best.step == event.step else f"best {best.by} at step {best.step}"
            return f"step {event.step:,}  validation: {scores}  ({note})"
        case Saved():
            return f"step {event.step:,}  saved {event.folder}"
        case Warned():
            return f"warning: {event.text}"
    return None


def describe_update(event: Updated, meter: Meter) -> str:
    """Put the figures of an update into words, without its number."""
    loss = f"{event.loss:.3f}" if math.isfinite(event.loss) else str(event.loss)
    left = meter.seconds_left()
    parts = [
        f"epoch {event.epoch}",
        f"loss {loss}",
        f"learning rate {event.learning_rate:.2e}",
        f"{meter.tokens_per_second():,.0f} tokens/s",
        *([] if left is None else [f"{in_words(left)} left"]),
    ]
    return "  ".join(parts)


def in_words(seconds: float) -> str:
    """Write a time as hours, minutes and seconds: 1:02:03, or 2:03 below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
