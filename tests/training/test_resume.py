import dataclasses
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
from regard.errors import DamagedError, OptionError, WorkError
from regard.training.checkpoints import Checkpoint, checkpoint_folder, load, save, stored_steps
from regard.training.events import Warned
from regard.training.loop import Trainer
from regard.training.objectives import Loss
from regard.training.optimizers import Optimizer
from tests.training.hammer import RARELY
from tests.training.interrupting import Killed, hammer, in_training, in_validation, kill, send
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

pytestmark = pytest.mark.usefixtures("fast_disk")


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


@pytest.mark.parametrize("now", [{"a.json": "2"}, {}, {"a.json": "1", "b.json": "1"}])
def test_a_file_that_belongs_to_the_checkpoints_must_be_the_same_on_resume(now: dict[str, str], tmp_path: Path) -> None:
    make_trainer(tmp_path, companions={"a.json": "1"}).fit()
    named = "b.json" if len(now) == 2 else "a.json"
    with pytest.raises(DamagedError, match=rf"^{tmp_path / named} is missing or not the file that the training in"):
        make_trainer(tmp_path, companions=now).fit(resume=True)
    make_trainer(tmp_path, companions={"a.json": "1"}).fit(resume=True)


def test_checkpoints_that_know_no_files_beside_them_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of earlier versions."""

    def save_without(run: Path, checkpoint: Checkpoint) -> Path:
        state = {name: value for name, value in checkpoint.state.items() if name != "companions"}
        return save(run, dataclasses.replace(checkpoint, state=state))

    with monkeypatch.context() as patch:
        patch.setattr("regard.training.checkpoints.save", save_without)
        make_trainer(tmp_path).fit()
    make_trainer(tmp_path, companions={"a.json": "1"}).fit(resume=True)


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


def test_a_checkpoint_of_another_optimizer_is_not_taken_up(tmp_path: Path) -> None:
    make_trainer(tmp_path).fit()
    stored = load(tmp_path, 29)
    tensors = {**stored.optimizer, "mix.weight.exp_avg": torch.zeros(2)}
    save(tmp_path, dataclasses.replace(stored, optimizer=tensors))
    with pytest.raises(DamagedError, match=r"of another optimizer: 'mix\.weight\.exp_avg' has shape \(2,\)"):
        make_trainer(tmp_path).fit(resume=True)


def test_another_number_of_threads_is_told(tmp_path: Path) -> None:
    make_trainer(tmp_path).fit()
    threads, recorder = torch.get_num_threads(), Recorder()
    torch.set_num_threads(threads + 1)
    try:
        make_trainer(tmp_path, observers=[recorder]).fit(resume=True)
    finally:
        torch.set_num_threads(threads)
    (warning,) = recorder.of(Warned)
    assert warning.text.startswith(f"The training ran on {threads} threads and now runs on {threads + 1}: it goes on")


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
    config = dataclasses.replace(RARELY, max_updates=report[-1]["step"] + 1)
    hops = finish(make_trainer(tmp_path / "hops", config=config), resume=True)
    require_same(hops, finish(make_trainer(tmp_path / "whole", config=config)))
