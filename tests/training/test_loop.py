import dataclasses
import itertools
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from regard.data.batches import Batch
from regard.data.loading import Loader
from regard.errors import DamagedError, DataError, DivergedError, OptionError, WorkError
from regard.training.checkpoints import checkpoint_folder, load, stored_steps
from regard.training.config import TrainingConfig
from regard.training.events import Logged, Updated, Validated, Warned
from regard.training.loop import Trainer
from regard.training.objectives import Loss
from regard.training.optimizers import Optimizer
from regard.training.schedules import ScheduleConfig
from tests.training.hammer import RARELY
from tests.training.test_checkpoints import hammer
from tests.training.tiny import (
    BUDGET,
    CONFIG,
    DATA,
    Finished,
    Recorder,
    finish,
    make_trainer,
    metrics_of,
    objective,
    require_same,
)


@pytest.fixture(autouse=True)
def _fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the disk keeps what it was told is seen in test_checkpoints and test_files."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


class Killed(BaseException):
    """Stands for SIGKILL where the test wants to stay alive: nothing in the package may catch it."""


def after(calls: int, action: Callable[[], None], inner: Callable[..., Any] = objective) -> Callable[..., Any]:
    """Do something before the numbered call, from 1, of a function."""
    count = 0

    def call(*arguments: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if count == calls:
            action()
        return inner(*arguments, **named)

    return call


def in_training(calls: int, action: Callable[[], None]) -> Callable[..., Loss]:
    """An objective that does something before the numbered batch of training."""
    armed = after(calls, action)
    return lambda model, batch: armed(model, batch) if model.training else objective(model, batch)


def in_validation(calls: int, action: Callable[[], None]) -> Callable[..., Loss]:
    armed = after(calls, action)
    return lambda model, batch: objective(model, batch) if model.training else armed(model, batch)


def kill() -> None:
    raise Killed


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


ACCUMULATING = dataclasses.replace(CONFIG, accumulate=3, max_updates=13)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The training that nobody interrupted."""
    return finish(make_trainer(tmp_path_factory.mktemp("whole")))


@pytest.fixture(scope="module")
def whole_accumulated(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finish(make_trainer(tmp_path_factory.mktemp("whole"), config=ACCUMULATING))


def interrupt_while_saving(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill in the middle of the fourth checkpoint, when some of its files are written."""
    true_fsync, calls = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 3 * 7 + 4:
            raise Killed
        true_fsync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        with pytest.raises(Killed):
            trainer.fit()


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


PATTERNS: dict[str, Callable[[], Callable[..., Loss]]] = {
    "killed in an update": lambda: in_training(17, kill),
    "killed in validation": lambda: in_validation(4, kill),
    "killed while saving": lambda: objective,
    "SIGTERM in an update": lambda: in_training(17, send(signal.SIGTERM)),
    "SIGINT in validation": lambda: in_validation(3, send(signal.SIGINT)),
    "SIGINT at an epoch's end": lambda: in_training(11, send(signal.SIGINT)),
}


def interrupt(trainer: Trainer, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if pattern == "killed while saving":
        interrupt_while_saving(trainer, monkeypatch)
    elif pattern.startswith("killed"):
        with pytest.raises(Killed):
            trainer.fit()
    else:
        outcome = trainer.fit()
        assert (outcome.reason, outcome.signal) == ("interrupted", signal.Signals[pattern[:7].strip()])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_resumed_training_is_the_one_that_nobody_interrupted(
    tmp_path: Path, whole: Finished, monkeypatch: pytest.MonkeyPatch, pattern: str, workers: int
) -> None:
    interrupt(make_trainer(tmp_path, workers=workers, objective=PATTERNS[pattern]()), pattern, monkeypatch)
    require_same(finish(make_trainer(tmp_path, workers=workers, seed=99), resume=True), whole)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_with_accumulation_it_is_too(
    tmp_path: Path, whole_accumulated: Finished, monkeypatch: pytest.MonkeyPatch, pattern: str, workers: int
) -> None:
    changes: dict[str, Any] = {"config": ACCUMULATING, "workers": workers}
    interrupt(make_trainer(tmp_path, objective=PATTERNS[pattern](), **changes), pattern, monkeypatch)
    require_same(finish(make_trainer(tmp_path, seed=99, **changes), resume=True), whole_accumulated)


@pytest.mark.parametrize("workers", [0, 2])
def test_after_three_hops_it_still_is(
    tmp_path: Path, whole: Finished, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    make_trainer(tmp_path, workers=workers, objective=in_training(5, send(signal.SIGTERM))).fit()
    with pytest.raises(Killed):
        make_trainer(tmp_path, workers=workers, objective=in_training(9, kill)).fit(resume=True)
    make_trainer(tmp_path, workers=workers, objective=in_training(7, send(signal.SIGINT))).fit(resume=True)
    assert stored_steps(tmp_path)[-1] == 19
    require_same(finish(make_trainer(tmp_path, workers=workers, seed=99), resume=True), whole)


def test_in_bfloat16_it_is_as_well(tmp_path: Path) -> None:
    """The model's rounded weights follow from the masters, which the checkpoint holds."""
    whole = finish(make_trainer(tmp_path / "whole", dtype=torch.bfloat16))
    changes: dict[str, Any] = {"dtype": torch.bfloat16, "objective": in_training(17, send(signal.SIGTERM))}
    make_trainer(tmp_path / "hop", **changes).fit()
    assert load(tmp_path / "hop", 17).weights["mix.weight"].dtype == torch.float32
    require_same(finish(make_trainer(tmp_path / "hop", seed=99, dtype=torch.bfloat16), resume=True), whole)


def test_a_resumed_training_sees_the_batches_that_were_to_come(tmp_path: Path) -> None:
    def recording(seen: list[tuple[int, ...]]) -> Callable[..., Loss]:
        def run(model: nn.Module, batch: Batch) -> Loss:
            if model.training:
                seen.append(batch.indices)
            return objective(model, batch)

        return run

    seen: list[tuple[int, ...]] = []
    make_trainer(tmp_path / "whole", objective=recording(seen)).fit()
    assert sorted(index for indices in seen[:11] for index in indices) == list(range(31))
    make_trainer(tmp_path / "hop", objective=in_training(17, send(signal.SIGTERM))).fit()
    rest: list[tuple[int, ...]] = []
    make_trainer(tmp_path / "hop", objective=recording(rest)).fit(resume=True)
    assert rest == seen[17:]


def test_a_killed_loader_worker_ends_the_training_which_resumes_to_the_same_bits(
    tmp_path: Path, whole: Finished
) -> None:
    def kill_worker() -> None:
        os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)

    began = time.monotonic()
    with pytest.raises(WorkError, match=r"Loader worker \d+ was ended by SIGKILL"):
        make_trainer(tmp_path, workers=2, objective=in_training(5, kill_worker)).fit()
    assert time.monotonic() - began < 10
    assert multiprocessing.active_children() == []
    require_same(finish(make_trainer(tmp_path, workers=2, seed=99), resume=True), whole)


def test_an_interrupted_update_leaves_no_trace(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, config=ACCUMULATING, objective=in_training(5, send(signal.SIGTERM)))
    assert trainer.fit().step == 1
    assert trainer.state.place.position == 3
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


def test_validating_more_often_does_not_change_the_training(tmp_path: Path, whole: Finished) -> None:
    config = dataclasses.replace(CONFIG, validate_every=1)
    found = finish(make_trainer(tmp_path, config=config, evaluate=lambda _: {"drawn": float(torch.rand(()))}))
    assert all(torch.equal(found.weights[name], whole.weights[name]) for name in whole.weights)
    assert torch.equal(found.random, whole.random)


def test_a_second_interrupt_ends_at_once_and_harms_no_file(tmp_path: Path) -> None:
    def twice() -> None:
        send(signal.SIGINT)()
        send(signal.SIGINT)()

    with pytest.raises(KeyboardInterrupt):
        make_trainer(tmp_path, objective=in_training(17, twice)).fit()
    assert stored_steps(tmp_path)[-1] == 15
    load(tmp_path, 15)


def test_signals_do_what_they_did_before_when_the_training_is_over(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    make_trainer(tmp_path, workers=2, objective=in_training(3, send(signal.SIGTERM))).fit()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before[:2]


def test_a_signal_before_the_first_update_saves_the_beginning(tmp_path: Path, whole: Finished) -> None:
    def batches(epoch: int, position: int) -> Iterator[Batch]:
        send(signal.SIGTERM)()
        return Loader(DATA, BUDGET).batches(epoch, position)

    config = dataclasses.replace(CONFIG, accumulate=1)
    assert make_trainer(tmp_path, batches=batches, config=config).fit().step == 1
    require_same(finish(make_trainer(tmp_path, seed=99), resume=True), whole)


def test_a_finished_training_resumes_to_its_end_at_once(tmp_path: Path) -> None:
    first = finish(make_trainer(tmp_path))
    recorder = Recorder()
    require_same(finish(make_trainer(tmp_path, seed=99, observers=[recorder]), resume=True), first)
    assert recorder.events == []


def test_to_resume_where_nothing_was_saved_is_to_start_and_is_said(tmp_path: Path, whole: Finished) -> None:
    recorder = Recorder()
    require_same(finish(make_trainer(tmp_path, observers=[recorder]), resume=True), whole)
    assert [event.text for event in recorder.of(Warned)] == [
        f"{tmp_path} holds no checkpoint yet: the training starts at its beginning."
    ]


def test_a_folder_with_a_training_is_not_trained_over(tmp_path: Path) -> None:
    make_trainer(tmp_path).fit()
    with pytest.raises(OptionError, match=f"{tmp_path} holds a training up to step 29: resume it"):
        make_trainer(tmp_path).fit()


def test_a_training_of_other_data_is_not_taken_up(tmp_path: Path) -> None:
    make_trainer(tmp_path, fingerprint="a1").fit()
    with pytest.raises(OptionError, match=r"its fingerprint is 'a1', now it is 'b2'"):
        make_trainer(tmp_path, fingerprint="b2").fit(resume=True)


def test_a_checkpoint_of_another_model_is_not_taken_up(tmp_path: Path) -> None:
    make_trainer(tmp_path).fit()
    other = make_trainer(tmp_path)
    other.model.mix = nn.Linear(7, 7, bias=False)
    other.optimizer = Optimizer(other.model)
    with pytest.raises(DamagedError, match=r"of another model: mix.bias is not of this model\."):
        other.fit(resume=True)


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(tmp_path: Path, whole: Finished) -> None:
    make_trainer(tmp_path, objective=in_training(17, send(signal.SIGTERM))).fit()
    (checkpoint_folder(tmp_path, 17) / "weights.safetensors").write_bytes(b"")
    recorder = Recorder()
    found = finish(make_trainer(tmp_path, seed=99, observers=[recorder]), resume=True)
    require_same(found, whole)
    (warning,) = recorder.of(Warned)
    assert "The checkpoint of step 17 is damaged" in warning.text


def test_no_line_of_metrics_stands_twice_and_a_half_line_goes(tmp_path: Path, whole: Finished) -> None:
    with pytest.raises(Killed):
        make_trainer(tmp_path, objective=in_training(17, kill)).fit()
    assert metrics_of(tmp_path)[-1]["step"] == 16
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 17, "lo')
    require_same(finish(make_trainer(tmp_path, seed=99), resume=True), whole)


def test_metrics_that_were_cut_are_named(tmp_path: Path) -> None:
    make_trainer(tmp_path, objective=in_training(17, send(signal.SIGTERM))).fit()
    content = (tmp_path / "metrics.jsonl").read_bytes()
    (tmp_path / "metrics.jsonl").write_bytes(content[:-3])
    recorder = Recorder()
    make_trainer(tmp_path, observers=[recorder]).fit(resume=True)
    assert f"{tmp_path / 'metrics.jsonl'} lacks its last 3 bytes: lines are missing." in [
        event.text for event in recorder.of(Warned)
    ]
    assert [line["step"] for line in metrics_of(tmp_path) if "loss" in line] == [
        2, 4, 6, 8, 10, 12, 14, 18, 20, 22, 24, 26, 28
    ]  # fmt: skip


def spoiled(calls: set[int], value: float) -> Callable[..., Loss]:
    """An objective whose loss is not finite in the numbered batches of training, from 1."""
    count = 0

    def run(model: nn.Module, batch: Batch) -> Loss:
        nonlocal count
        loss = objective(model, batch)
        count += model.training
        return loss._replace(loss=loss.loss * value) if model.training and count in calls else loss

    return run


def with_bad_gradient(calls: set[int], value: float) -> Callable[..., Loss]:
    """An objective whose loss is finite and whose gradient is not."""
    count = 0

    def run(model: nn.Module, batch: Batch) -> Loss:
        nonlocal count
        loss = objective(model, batch)
        count += model.training
        if model.training and count in calls:
            loss.loss.register_hook(lambda gradient: gradient * value)  # type: ignore[no-untyped-call]
        return loss

    return run


def out_of_memory(calls: set[int], error: Exception) -> Callable[..., Loss]:
    count = 0

    def run(model: nn.Module, batch: Batch) -> Loss:
        nonlocal count
        count += model.training
        if model.training and count in calls:
            raise error
        return objective(model, batch)

    return run


CPU_ERROR = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "4000000000000 bytes."
)
BAD: dict[str, tuple[Callable[[set[int]], Callable[..., Loss]], str]] = {
    "nan loss": (lambda calls: spoiled(calls, math.nan), "the loss is nan"),
    "infinite loss": (lambda calls: spoiled(calls, math.inf), "the loss is inf"),
    "negative infinite loss": (lambda calls: spoiled(calls, -math.inf), "the loss is -inf"),
    "nan gradient": (lambda calls: with_bad_gradient(calls, math.nan), "the norm of the gradient is nan"),
    "infinite gradient": (lambda calls: with_bad_gradient(calls, math.inf), "the norm of the gradient is"),
    "memory of the CPU": (lambda calls: out_of_memory(calls, CPU_ERROR), "there is not enough memory (["),
    "memory of the GPU": (
        lambda calls: out_of_memory(calls, torch.OutOfMemoryError("CUDA out of memory.")),
        "there is not enough memory (CUDA out of memory.)",
    ),
    "memory of Python": (lambda calls: out_of_memory(calls, MemoryError()), "there is not enough memory ("),
}


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_update_changes_nothing_and_is_named(tmp_path: Path, kind: str, accumulate: int) -> None:
    make_objective, cause = BAD[kind]
    recorder = Recorder()
    states: list[dict[str, torch.Tensor]] = []

    def look(event: object) -> None:
        if isinstance(event, Updated):
            tensors = {**trainer.optimizer.masters(), **trainer.optimizer.state()}
            states.append({name: tensor.clone() for name, tensor in tensors.items()})

    config = dataclasses.replace(CONFIG, max_updates=8, accumulate=accumulate, validate_every=29)
    trainer = make_trainer(
        tmp_path, config=config, observers=[recorder, look], objective=make_objective({3 * accumulate})
    )
    trainer.fit()
    assert all(torch.equal(states[1][name], states[2][name]) for name in states[1])
    assert not all(torch.equal(states[2][name], states[3][name]) for name in states[2])
    (warning,) = recorder.of(Warned)
    batch = 3 * accumulate - 1
    examples = ", ".join(str(index) for index in BUDGET.batches(0)[batch])
    assert warning.text.startswith(f"Update 3 changed nothing: {cause}")
    assert f"batch {batch + 1} of epoch 1 (examples {examples})" in warning.text
    assert [line["skipped"] for line in metrics_of(tmp_path) if "skipped" in line] == [0, 1, 0, 0]
    for step in stored_steps(tmp_path):
        stored = load(tmp_path, step)
        tensors = [*stored.weights.values(), *stored.optimizer.values()]
        assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


@pytest.mark.parametrize("kind", BAD)
def test_bad_updates_in_a_row_end_the_training(tmp_path: Path, kind: str) -> None:
    config = dataclasses.replace(CONFIG, max_skipped=3)
    trainer = make_trainer(tmp_path, config=config, objective=BAD[kind][0]({2, 5, 6, 7}))
    memory = kind.startswith("memory")
    with pytest.raises(WorkError if memory else DivergedError) as caught:
        trainer.fit()
    assert "3 updates in a row changed nothing, the last of them update 7: " in str(caught.value)
    advice = "fewer tokens in a batch" if memory else "Lower the peak of the learning rate"
    assert advice in str(caught.value)
    assert stored_steps(tmp_path) == [3, 6]


def test_a_resumed_training_remembers_bad_updates_in_a_row(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, max_skipped=3)
    bad = spoiled({4, 5}, math.nan)
    make_trainer(tmp_path, config=config, objective=after(6, send(signal.SIGTERM), bad)).fit()
    assert load(tmp_path, 6).state["skipped_in_row"] == 0
    make_trainer(tmp_path / "b", config=config, objective=after(5, send(signal.SIGTERM), bad)).fit()


def test_want_of_memory_in_the_optimizer_saves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise CPU_ERROR

    trainer = make_trainer(tmp_path)
    monkeypatch.setattr(trainer.optimizer, "step", after(5, fail, trainer.optimizer.step))
    with pytest.raises(WorkError, match="not enough memory for the optimizer"):
        trainer.fit()
    assert stored_steps(tmp_path) == [3]


def test_other_errors_come_through(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no kernel"):
        make_trainer(tmp_path, objective=out_of_memory({2}, RuntimeError("no kernel"))).fit()


def test_accumulated_batches_weigh_by_their_tokens(tmp_path: Path) -> None:
    """Two batches an update give the gradient of one batch of all their tokens."""
    two, one = Recorder(), Recorder()
    config = TrainingConfig(max_updates=1, accumulate=2)
    make_trainer(tmp_path / "two", config=config, observers=[two], objective=without_dropout).fit()

    def joined(epoch: int, position: int) -> Iterator[Any]:
        pairs = list(Loader(DATA, BUDGET).batches(epoch, position))
        yield from zip(pairs[0::2], pairs[1::2], strict=False)

    class Pair(tuple[Batch, Batch]):
        indices = (0,)

    def both(model: nn.Module, batch: tuple[Batch, Batch]) -> Loss:
        losses = [without_dropout(model, part) for part in batch]
        return Loss(*(sum(parts[1:], start=parts[0]) for parts in zip(*losses, strict=True)))

    make_trainer(
        tmp_path / "one",
        config=TrainingConfig(max_updates=1),
        validation=None,
        observers=[one],
        objective=both,
        batches=lambda epoch, position: map(Pair, joined(epoch, position)),
    ).fit()
    assert two.of(Updated)[0].tokens == one.of(Updated)[0].tokens
    assert two.of(Updated)[0].gradient_norm == pytest.approx(one.of(Updated)[0].gradient_norm, rel=1e-5)
    assert two.of(Updated)[0].loss == pytest.approx(one.of(Updated)[0].loss, rel=1e-6)


def without_dropout(model: nn.Module, batch: Batch) -> Loss:
    model.eval()
    return objective(model, batch)


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


def test_an_open_schedule_needs_an_end(tmp_path: Path) -> None:
    schedule = ScheduleConfig(kind="linear", peak=0.01, warmup=29)
    with pytest.raises(OptionError, match="The linear schedule falls until the training ends, and patience does not"):
        make_trainer(tmp_path, schedule=schedule, config=TrainingConfig(patience=2))
    with pytest.raises(OptionError, match=r"max_updates \(29\) must be above the schedule's warmup \(29\): the linear"):
        make_trainer(tmp_path, schedule=schedule)
    make_trainer(tmp_path, schedule=dataclasses.replace(schedule, total=31))


def test_an_empty_epoch_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Epoch 1 has no batch"):
        make_trainer(tmp_path, batches=lambda epoch, position: []).fit()


@pytest.mark.parametrize(("times", "seed"), [(8, 3), pytest.param(40, 5, marks=pytest.mark.slow)])
def test_a_stopped_process_saves_leaves_with_its_status_and_goes_on(tmp_path: Path, times: int, seed: int) -> None:
    """SIGINT and SIGTERM at random moments, to the process or to its whole group with the loader's workers."""
    report = hammer(tmp_path / "hops", "stop", times, seed)
    for found in report:
        assert found["exit"] == 128 + found["signal"]
        assert found["warnings"] == []
        assert found["step"] == found["told"]
        assert found["took"] < 30
        assert found["temporary"] == 0
    step = report[-1]["step"]
    make_trainer(tmp_path / "whole", config=dataclasses.replace(RARELY, max_updates=step)).fit()
    hops, whole = load(tmp_path / "hops", step), load(tmp_path / "whole", step)
    for mine, other in ((hops.weights, whole.weights), (hops.optimizer, whole.optimizer)):
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in mine)
    assert hops.state["random"] == whole.state["random"]
    assert metrics_of(tmp_path / "hops") == [
        line for line in metrics_of(tmp_path / "whole") if "valid" not in line or line["step"] % 19 == 0
    ]
