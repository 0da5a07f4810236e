"""What a person sees while a training runs: two live lines at a terminal, plain lines anywhere else.

Both listen to the loop's events and write to the stream that they are given, standard error as a rule; results are
not their business.
"""

import math
import time
from collections import deque
from typing import Protocol, Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from regard.training.config import TrainingConfig
from regard.training.events import Event, Saved, Updated, Validated, Warned
from regard.training.selection import Selection


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


class Figures:
    """How the training stands: the means of the last seconds, the time left, the best validation so far."""

    window = 10.0

    def __init__(self, config: TrainingConfig) -> None:
        self._config = config
        self._recent: deque[Updated] = deque()
        self._best: Selection | None = None

    def take(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, Validated):
            self._best = event.selection
        if not isinstance(event, Updated):
            return
        self._recent.append(event)
        while len(self._recent) > 2 and self._recent[0].seconds < event.seconds - self.window:
            self._recent.popleft()

    def loss(self) -> float:
        """Give the mean loss of a token; NaN if no update has one."""
        counted = [update for update in self._recent if math.isfinite(update.loss)]
        total = sum(update.loss * update.tokens for update in counted)
        return total / (sum(update.tokens for update in counted) or math.nan)

    def tokens_per_second(self) -> float:
        """Give the target tokens a second; 0 before there are two updates."""
        if len(self._recent) < 2:
            return 0.0
        took = self._recent[-1].seconds - self._recent[0].seconds
        return sum(update.tokens for update in list(self._recent)[1:]) / max(took, 1e-9)

    def seconds_left(self) -> float | None:
        """Give the time to the end that comes first, updates or minutes; None where there is no such end."""
        if not self._recent:
            return None
        first, last = self._recent[0], self._recent[-1]
        ends = []
        if self._config.max_minutes is not None:
            ends.append(60 * self._config.max_minutes - last.seconds)
        if self._config.max_updates is not None and last is not first:
            took = (last.seconds - first.seconds) / max(last.step - first.step, 1)
            ends.append(took * (self._config.max_updates - last.step))
        return max(min(ends), 0.0) if ends else None

    def share(self) -> float | None:
        """Give the part of the way to the end that is done; None where it is not known."""
        if not self._recent:
            return None
        shares = []
        if self._config.max_updates is not None:
            shares.append(self._recent[-1].step / self._config.max_updates)
        if self._config.max_minutes is not None:
            shares.append(self._recent[-1].seconds / (60 * self._config.max_minutes))
        return min(max(shares), 1.0) if shares else None

    def in_words(self) -> str:
        """Write epoch, loss, learning rate and speed."""
        last = self._recent[-1]
        return (
            f"epoch {last.epoch}  loss {self.loss():.3f}  learning rate {last.learning_rate:.2e}  "
            f"{self.tokens_per_second():,.0f} tokens/s"
        )

    def prospects_in_words(self) -> str:
        """Write the time left and the best score so far, as far as they are known."""
        left, best = self.seconds_left(), self._best
        parts = [] if left is None else [f"{clock(left)} left"]
        if best is not None and best.step is not None:
            parts.append(f"best {best.by} {best.score:.4g} at {best.step:,}")
        return "  ".join(parts)


class PlainDisplay:
    """A line every so many seconds, and one for every validation, checkpoint and warning."""

    def __init__(self, stream: TextIO, config: TrainingConfig, every_seconds: float = 10.0) -> None:
        self._stream = stream
        self._figures = Figures(config)
        self._every_seconds = every_seconds
        self._next = 0.0

    def __enter__(self) -> Self:
        self._next = time.monotonic() + self._every_seconds
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.flush()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        self._figures.take(event)
        text = describe(event)
        if isinstance(event, Updated) and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every_seconds
            parts = [f"step {event.step:,}", self._figures.in_words(), self._figures.prospects_in_words()]
            text = "  ".join(part for part in parts if part)
        if text is not None:
            print(text, file=self._stream, flush=True)


class LiveDisplay:
    """A bar with the figures below it, redrawn in place, and lines above for what should stay to be read."""

    def __init__(self, console: Console, config: TrainingConfig) -> None:
        self._figures = Figures(config)
        self._bar = Progress(
            TextColumn("step {task.fields[step]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.description}", markup=False),
        )
        self._task = self._bar.add_task("", total=None, step="0", visible=False)
        self._below = Text(no_wrap=True, overflow="ellipsis")
        self._live = Live(Group(self._bar, self._below), console=console, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        self._figures.take(event)
        if isinstance(event, Updated):
            share = self._figures.share()
            self._bar.update(
                self._task,
                description=self._figures.prospects_in_words(),
                step=f"{event.step:,}",
                total=None if share is None else 1.0,
                completed=share or 0.0,
                visible=True,
            )
            self._below.plain = self._figures.in_words()
        text = describe(event)
        if text is not None and not isinstance(event, Saved):
            self._live.console.print(Text(text))


def describe(event: Event) -> str | None:
    """Put an event into a line of its own; None for those that need none."""
    match event:
        case Validated():
            scores = "  ".join(f"{name} {score:.4g}" for name, score in event.scores.items())
            best = event.selection
            before = f"best {best.by} at step {best.step}" if best.step is not None else f"no {best.by} is a number yet"
            note = "the best so far" if best.step == event.step else before
            return f"step {event.step:,}  validation: {scores}  ({note})"
        case Saved():
            return f"step {event.step:,}  saved {event.folder}"
        case Warned():
            return f"warning: {event.text}"
    return None


def clock(seconds: float) -> str:
    """Write a time as hours, minutes and seconds: 1:02:03, or 2:03 below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
