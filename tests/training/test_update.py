import dataclasses
import math
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from regard.data.batches import Batch
from regard.data.loading import Loader
from regard.errors import DivergedError, WorkError
from regard.training.checkpoints import load, stored_steps
from regard.training.config import TrainingConfig
from regard.training.events import Updated, Warned
from regard.training.feed import Place
from regard.training.objectives import Loss
from regard.training.update import Fault, is_out_of_memory
from tests.training.interrupting import after, send
from tests.training.tiny import (
    BUDGET,
    CONFIG,
    DATA,
    Recorder,
    make_trainer,
    metrics_of,
    objective,
)

pytestmark = pytest.mark.usefixtures("fast_disk")


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
            loss.loss.register_hook(lambda gradient: gradient * value)
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


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 7 bytes."), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("not enough memory"), False),
    ],
)
def test_want_of_memory_is_told_from_other_errors(error: Exception, memory: bool) -> None:
    assert is_out_of_memory(error) == memory


def test_a_real_want_of_memory_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 55)
    assert is_out_of_memory(caught.value)


def test_a_fault_names_batches_and_examples() -> None:
    batches = [(Place(0, 2), (3, 5, 7)), (Place(1, 0), tuple(range(11, 19)))]
    assert str(Fault("the loss is nan", batches, out_of_memory=False)) == (
        "the loss is nan in batch 3 of epoch 1 (examples 3, 5, 7), "
        "batch 1 of epoch 2 (examples 11, 12, 13, 14, 15 and 3 more)"
    )


def test_the_error_at_the_end_says_what_to_do() -> None:
    batches = [(Place(0, 2), (3,))]
    diverged = Fault("the loss is nan", batches, out_of_memory=False).give_up(17, 5)
    assert isinstance(diverged, DivergedError)
    assert str(diverged).startswith("5 updates in a row changed nothing, the last of them update 17: the loss is nan")
    memory = Fault("there is not enough memory (x)", batches, out_of_memory=True).give_up(17, 5)
    assert isinstance(memory, WorkError)
    assert str(memory).endswith("Train with fewer tokens in a batch and accumulate more batches.")
