import dataclasses
import itertools
import math
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from regard.errors import DataError, OptionError, WorkError
from regard.training.checkpoints import stored_steps
from regard.training.config import TrainingConfig
from regard.training.events import Logged, Updated, Validated, Warned
from regard.training.schedules import ScheduleConfig
from tests.training.interrupting import in_training, send
from tests.training.tiny import (
    CONFIG,
    Recorder,
    finish,
    make_trainer,
    metrics_of,
    require_same,
)

pytestmark = pytest.mark.usefixtures("fast_disk")


def test_a_training_ends_saves_and_tells(tmp_path: Path) -> None:
    recorder = Recorder()
    outcome = make_trainer(tmp_path, observers=[recorder]).fit()
    assert (outcome.reason, outcome.signal, outcome.step) == ("updates", None, 29)
    assert recorder.saved_steps == [3, 6, 7, 9, 12, 14, 15, 18, 21, 24, 27, 28, 29]
    assert [event.step for event in recorder.of(Updated)] == list(range(1, 30))
    assert [event.step for event in recorder.of(Validated)] == [7, 14, 21, 28, 29]
    assert [event.line["step"] for event in recorder.of(Logged)] == list(range(2, 29, 2))
    assert recorder.of(Warned) == []
    losses = [event.loss for event in recorder.of(Updated)]
    assert sum(losses[-5:]) < sum(losses[:5])


def test_metrics_have_what_the_page_on_them_promises(tmp_path: Path) -> None:
    make_trainer(tmp_path).fit()
    lines = metrics_of(tmp_path)
    assert set(lines[0]) == {
        "step", "epoch", "loss", "nll", "accuracy", "learning_rate", "gradient_norm", "tokens", "skipped"
    }  # fmt: skip
    valid = next(line for line in lines if "valid" in line)
    assert set(valid) == {"step", "epoch", "valid", "best"}
    assert set(valid["valid"]) == {"loss", "perplexity", "accuracy"}
    assert valid["valid"]["perplexity"] == math.exp(valid["valid"]["loss"])
    assert [line["epoch"] for line in lines if "loss" in line] == [1] * 5 + [2] * 6 + [3] * 3


def test_validating_more_often_does_not_change_the_training(tmp_path: Path) -> None:
    whole = finish(make_trainer(tmp_path / "whole"))
    config = dataclasses.replace(CONFIG, validate_every=1)
    found = finish(make_trainer(tmp_path / "often", config=config, evaluate=lambda _: {"drawn": float(torch.rand(()))}))
    assert all(torch.equal(found.weights[name], whole.weights[name]) for name in whole.weights)
    assert torch.equal(found.random, whole.random)


def failing(error: Exception) -> Callable[[nn.Module], dict[str, float]]:
    def evaluate(model: nn.Module) -> dict[str, float]:
        raise error

    return evaluate


def test_a_validation_that_fails_loses_no_training(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, save_every=None)
    with pytest.raises(ZeroDivisionError):
        make_trainer(tmp_path, config=config, evaluate=failing(ZeroDivisionError())).fit()
    assert stored_steps(tmp_path) == [7]
    whole = finish(make_trainer(tmp_path / "whole", config=config))
    require_same(finish(make_trainer(tmp_path, config=config), resume=True), whole)


def test_want_of_memory_in_validation_is_named(tmp_path: Path) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory.")
    with pytest.raises(WorkError, match=r"not enough memory to validate after step 7, which is saved: CUDA out"):
        make_trainer(tmp_path, evaluate=failing(error)).fit()
    assert stored_steps(tmp_path) == [3, 6, 7]


def test_a_folder_with_a_training_is_not_trained_over(tmp_path: Path) -> None:
    make_trainer(tmp_path).fit()
    with pytest.raises(OptionError, match=f"{tmp_path} holds a training up to step 29: resume it"):
        make_trainer(tmp_path).fit()


def scores(*values: float) -> Callable[[nn.Module], dict[str, float]]:
    given = iter(values)
    return lambda _: {"bleu": next(given)}


def test_patience_ends_the_training_and_the_best_is_kept(tmp_path: Path) -> None:
    config = TrainingConfig(patience=3, select_by="bleu", validate_every=2, keep=1)
    trainer = make_trainer(tmp_path, config=config, evaluate=scores(1, 5, 5, 4, math.nan, 99))
    outcome = trainer.fit()
    assert (outcome.reason, outcome.step) == ("patience", 10)
    assert (outcome.best_step, outcome.best_score) == (4, 5.0)
    assert stored_steps(tmp_path) == [4, 10]


def test_without_intervals_an_epoch_ends_with_validation_and_checkpoint(tmp_path: Path) -> None:
    recorder = Recorder()
    config = TrainingConfig(max_updates=25)
    make_trainer(tmp_path, config=config, observers=[recorder]).fit()
    assert [event.step for event in recorder.of(Validated)] == [11, 22, 25]
    assert recorder.saved_steps == [11, 22, 25]


def test_epochs_that_end_within_an_update_are_validated_after_it(tmp_path: Path) -> None:
    recorder = Recorder()
    config = TrainingConfig(max_updates=8, accumulate=3)
    make_trainer(tmp_path, config=config, observers=[recorder]).fit()
    assert [event.step for event in recorder.of(Validated)] == [4, 8]


def test_without_validation_the_last_step_is_saved(tmp_path: Path) -> None:
    recorder = Recorder()
    outcome = make_trainer(tmp_path, config=TrainingConfig(max_updates=5), validation=None, observers=[recorder]).fit()
    assert recorder.saved_steps == [5]
    assert outcome.best_step is None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which every look at it takes a second."""
    seconds = itertools.count(1000.0)
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))


@pytest.mark.usefixtures("clock")
def test_minutes_count_over_all_sessions(tmp_path: Path) -> None:
    config = TrainingConfig(max_minutes=1, validate_every=1000, save_every=1)
    whole = make_trainer(tmp_path / "whole", config=config, validation=None).fit()
    assert (whole.reason, whole.step) == ("minutes", 30)
    hop = make_trainer(tmp_path / "hop", config=config, objective=in_training(4, send(signal.SIGTERM)))
    assert hop.fit().seconds == 8
    rest = make_trainer(tmp_path / "hop", config=config, validation=None).fit(resume=True)
    assert (rest.reason, rest.step, rest.seconds) == ("minutes", 30, 60)


def test_a_measure_that_nobody_takes_is_named(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, select_by="blue")
    with pytest.raises(OptionError, match=r"select_by \(blue\) is not among .*: loss, perplexity, accuracy, bleu\."):
        make_trainer(tmp_path, config=config, evaluate=scores(1)).fit()


def test_patience_needs_validation(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"patience \(2\) counts validations"):
        make_trainer(tmp_path, config=TrainingConfig(patience=2), validation=None)


def test_an_open_schedule_ends_with_the_training(tmp_path: Path) -> None:
    recorder = Recorder()
    schedule = ScheduleConfig(kind="cosine", peak=0.01, warmup=3, floor=0.001)
    make_trainer(tmp_path, schedule=schedule, observers=[recorder]).fit()
    rates = [event.learning_rate for event in recorder.of(Updated)]
    assert max(rates) == rates[2] == pytest.approx(0.01)
    assert rates[-1] == pytest.approx(0.001)
    assert rates[3:] == sorted(rates[3:], reverse=True)


@pytest.mark.usefixtures("clock")
def test_an_open_schedule_ends_with_the_minutes(tmp_path: Path) -> None:
    recorder = Recorder()
    schedule = ScheduleConfig(kind="cosine", peak=0.01, warmup=3)
    config = TrainingConfig(max_minutes=1, validate_every=10_000)
    make_trainer(tmp_path, schedule=schedule, config=config, observers=[recorder], validation=None).fit()
    rates = [event.learning_rate for event in recorder.of(Updated)]
    assert len(rates) == 30
    assert max(rates) == rates[2] == pytest.approx(0.01)
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] < 0.0002


@pytest.mark.usefixtures("clock")
def test_an_open_schedule_ends_with_what_comes_first(tmp_path: Path) -> None:
    recorder = Recorder()
    schedule = ScheduleConfig(kind="linear", peak=0.01, warmup=3)
    config = TrainingConfig(max_minutes=1, max_updates=10_000, validate_every=10_000)
    make_trainer(tmp_path, schedule=schedule, config=config, observers=[recorder], validation=None).fit()
    rates = [event.learning_rate for event in recorder.of(Updated)]
    assert len(rates) == 30
    assert rates[-1] < 0.001


def test_a_short_training_warms_up_for_half_of_its_time(tmp_path: Path) -> None:
    recorder = Recorder()
    schedule = ScheduleConfig(kind="cosine", peak=0.01, warmup=1_000)
    make_trainer(tmp_path, schedule=schedule, observers=[recorder]).fit()
    rates = [event.learning_rate for event in recorder.of(Updated)]
    assert len(rates) == 29
    assert max(rates) == rates[13] == pytest.approx(0.01)
    assert rates[-1] == 0


def test_an_open_schedule_needs_an_end(tmp_path: Path) -> None:
    schedule = ScheduleConfig(kind="linear", peak=0.01, warmup=29)
    with pytest.raises(OptionError, match="The linear schedule falls until the training ends, and patience does not"):
        make_trainer(tmp_path, schedule=schedule, config=TrainingConfig(patience=2))
    make_trainer(tmp_path, schedule=dataclasses.replace(schedule, total=31))


def test_an_empty_epoch_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Epoch 1 has no batch"):
        make_trainer(tmp_path, batches=lambda epoch, position: []).fit()
