import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from regard.training.config import TrainingConfig
from regard.training.events import Event, Logged, Saved, Updated, Validated, Warned
from regard.training.progress import Figures, LiveDisplay, PlainDisplay, clock, display
from regard.training.selection import Selection


def updated(step: int, seconds: float, tokens: int = 1000, loss: float = 3.5) -> Updated:
    return Updated(
        step=step,
        epoch=2,
        loss=loss,
        tokens=tokens,
        learning_rate=0.0005,
        gradient_norm=1.0,
        seconds=seconds,
    )


VALIDATED = Validated(
    step=1300, scores={"loss": 1.25, "bleu": 31.0}, selection=Selection("bleu", None, 1100, 32.5, waited=2)
)


def shown(events: Sequence[Event], config: TrainingConfig, every_seconds: float = 0.0) -> list[str]:
    stream = io.StringIO()
    with PlainDisplay(stream, config, every_seconds) as show:
        for event in events:
            show(event)
    return stream.getvalue().split("\n")[:-1]


def test_a_plain_line_has_all_figures() -> None:
    lines = shown([updated(10, 1.0), updated(20, 3.0)], TrainingConfig(max_updates=50))
    assert lines[1] == "step 20  epoch 2  loss 3.500  learning rate 5.00e-04  500 tokens/s  0:06 left"


def test_plain_lines_come_every_so_many_seconds() -> None:
    events = [updated(step, step / 100) for step in range(100)]
    assert shown(events, TrainingConfig(max_updates=100), every_seconds=60.0) == []


def test_validations_checkpoints_and_warnings_always_have_a_line() -> None:
    events: list[Event] = [
        VALIDATED,
        Saved(step=1300, folder=Path("run/x")),
        Warned(text="[bold]7"),
        Logged(line={"step": 1300}),
    ]
    assert shown(events, TrainingConfig(max_updates=1), every_seconds=60.0) == [
        "step 1,300  validation: loss 1.25  bleu 31  (best bleu at step 1100)",
        "step 1,300  saved run/x",
        "warning: [bold]7",
    ]


def test_the_best_validation_is_called_so() -> None:
    best = Validated(step=7, scores={"loss": 1.0}, selection=Selection("loss", None, 7, 1.0))
    assert shown([best], TrainingConfig(max_updates=1)) == ["step 7  validation: loss 1  (the best so far)"]


def test_validations_without_a_number_have_no_best_step() -> None:
    none = Validated(step=7, scores={"loss": math.nan}, selection=Selection("loss", None))
    (line,) = shown([none], TrainingConfig(max_updates=1))
    assert line == "step 7  validation: loss nan  (no loss is a number yet)"


def test_a_loss_that_is_none_is_shown_as_it_is() -> None:
    (line,) = shown([updated(3, 1.0, loss=math.nan)], TrainingConfig(patience=2))
    assert line == "step 3  epoch 2  loss nan  learning rate 5.00e-04  0 tokens/s"


def test_the_best_score_so_far_stands_in_every_line() -> None:
    lines = shown([VALIDATED, updated(1310, 3.0)], TrainingConfig(patience=2))
    assert lines[1].endswith("0 tokens/s  best bleu 32.5 at 1,100")


def test_the_loss_is_the_mean_of_a_token_over_the_last_seconds() -> None:
    figures = Figures(TrainingConfig(patience=1))
    for event in (
        updated(2, 1.0, 7, 9.0),
        updated(3, 14.0, 1, 2.0),
        updated(5, 15.0, 3, 6.0),
        updated(7, 16.0, 5, math.nan),
    ):
        figures.take(event)
    assert figures.loss() == 5.0


@pytest.mark.parametrize(
    ("config", "left", "share"),
    [
        (TrainingConfig(max_updates=70), 10.0, 3 / 7),
        (TrainingConfig(max_minutes=0.1), 1.0, 5 / 6),
        (TrainingConfig(max_updates=70, max_minutes=0.1), 1.0, 5 / 6),
        (TrainingConfig(max_updates=30, max_minutes=0.1), 0.0, 1.0),
        (TrainingConfig(patience=3), None, None),
    ],
)
def test_the_time_left_is_to_the_end_that_comes_first(
    config: TrainingConfig, left: float | None, share: float | None
) -> None:
    figures = Figures(config)
    assert figures.seconds_left() is None
    for event in (updated(22, 3.0), updated(30, 5.0)):
        figures.take(event)
    assert figures.seconds_left() == (None if left is None else pytest.approx(left))
    assert figures.share() == (None if share is None else pytest.approx(share))


def test_the_speed_is_that_of_the_last_seconds() -> None:
    figures = Figures(TrainingConfig(patience=1))
    for second in range(100):
        figures.take(updated(second, float(second), tokens=10 if second < 80 else 70))
    assert figures.tokens_per_second() == pytest.approx(70)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (125, "2:05"), (3_723, "1:02:03"), (90_000, "25:00:00")]
)
def test_times_are_written_as_on_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_a_stream_that_is_no_terminal_has_plain_lines() -> None:
    assert isinstance(display(io.StringIO(), TrainingConfig(patience=1)), PlainDisplay)


def test_a_terminal_has_a_live_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Console, "is_terminal", True)
    assert isinstance(display(io.StringIO(), TrainingConfig(patience=1)), LiveDisplay)


@pytest.mark.parametrize("config", [TrainingConfig(max_updates=123_456), TrainingConfig(patience=3)])
def test_two_live_lines_have_all_figures_and_what_stays_stands_above(config: TrainingConfig) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, color_system=None, legacy_windows=False)
    with LiveDisplay(console, config) as show:
        for event in (updated(10_000, 1.0), VALIDATED, Warned(text="[bold]7"), updated(11_320, 3.0, tokens=98_765)):
            show(event)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).replace("\r", "\n")
    above, below = text.rstrip().split("\n")[-2:]
    assert above.startswith("step 11,320 ")
    assert ("2:50 left" in above) == (config.max_updates is not None)
    assert above.rstrip().endswith("best bleu 32.5 at 1,100")
    assert below.rstrip() == "epoch 2  loss 3.500  learning rate 5.00e-04  49,382 tokens/s"
    joined = " ".join(text.split())
    assert "step 1,300 validation: loss 1.25 bleu 31 (best bleu at step 1100)" in joined
    assert "warning: [bold]7" in text
