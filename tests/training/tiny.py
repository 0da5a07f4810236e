"""A tiny model and a tiny data set, and trainings of them that tests interrupt."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from regard.data.batches import Batch, ParallelSet, TokenBudget, TokenRows
from regard.data.loading import Loader
from regard.training.config import TrainingConfig
from regard.training.events import Event, Saved
from regard.training.loop import Outcome, Trainer
from regard.training.objectives import Loss
from regard.training.optimizers import Optimizer
from regard.training.precision import cast
from regard.training.schedules import ScheduleConfig

VOCABULARY, WIDTH = 13, 7


class TinyModel(nn.Module):
    """The shape of a translator, with dropout, a tied weight and a buffer."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.dropout = nn.Dropout(0.1)
        self.output = nn.Linear(WIDTH, VOCABULARY)
        self.output.weight = self.embedding.weight
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, source: Tensor, source_lengths: Tensor, target: Tensor) -> Tensor:
        if self.training:
            self.seen += 1
        real = torch.arange(source.shape[1]) < source_lengths[:, None]
        context = (self.embedding(source) * real[..., None]).sum(1) / source_lengths[:, None]
        hidden: Tensor = self.dropout(torch.tanh(self.mix(self.embedding(target) + context[:, None])))
        return hidden


def objective(model: nn.Module, batch: Batch) -> Loss:
    assert isinstance(model, TinyModel)
    hidden = model(batch.source, batch.source_lengths, batch.target)
    logits = model.output(hidden)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), reduction="sum")
    correct = (logits.argmax(-1) == batch.labels).sum()
    return Loss(loss, loss.detach(), int((batch.labels != -100).sum()), correct)


def make_data() -> ParallelSet:
    """Thirty-one pairs; the target is the source backwards."""
    sources = [[(3 + index * step) % 10 + 3 for step in range(1, 3 + index % 5)] for index in range(31)]
    return ParallelSet(TokenRows.gather(sources), TokenRows.gather(source[::-1] for source in sources))


DATA = make_data()
BUDGET = TokenBudget(DATA, tokens=17, seed=1)  # eleven batches an epoch
VALIDATION = [DATA.batch(list(range(start, start + 5))) for start in (0, 5)]
CONFIG = TrainingConfig(max_updates=29, validate_every=7, save_every=3, log_every=2, keep=3)


def make_trainer(
    run: Path, *, workers: int = 0, seed: int = 5, dtype: torch.dtype = torch.float32, **changes: Any
) -> Trainer:
    """A training of 29 updates, with a model that does not depend on what was drawn before."""
    torch.manual_seed(seed)
    model = TinyModel()
    optimizer = Optimizer(model, clip_norm=1.0, masters=cast(model, dtype))
    run.mkdir(exist_ok=True)
    parts: dict[str, Any] = {
        "objective": objective,
        "schedule": ScheduleConfig(kind="inverse-square-root", peak=0.03, warmup=5),
        "batches": Loader(DATA, BUDGET, workers=workers).batches,
        "config": CONFIG,
        "run": run,
        "validation": VALIDATION,
    }
    return Trainer(model, optimizer, **{**parts, **changes})


class Finished(NamedTuple):
    """All that two trainings must share to the last bit."""

    outcome: Outcome
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    random: Tensor
    metrics: list[dict[str, Any]]


def finish(trainer: Trainer, *, resume: bool = False) -> Finished:
    """Train and collect the result."""
    outcome = trainer.fit(resume=resume)
    return Finished(
        outcome,
        {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()},
        {name: tensor.clone() for name, tensor in trainer.optimizer.state().items()},
        torch.get_rng_state(),
        metrics_of(trainer.run),
    )


def metrics_of(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, without those figures that measure time."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    return [
        {name: value for name, value in line.items() if name not in ("seconds", "tokens_per_second")} for line in lines
    ]


def require_same(found: Finished, expected: Finished) -> None:
    """Compare bit for bit."""
    for mine, other in ((found.weights, expected.weights), (found.optimizer, expected.optimizer)):
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in mine)
    assert torch.equal(found.random, expected.random)
    assert found.metrics == expected.metrics
    same = ("reason", "step", "best_step", "best_score")
    assert [getattr(found.outcome, name) for name in same] == [getattr(expected.outcome, name) for name in same]


class Recorder:
    """Collects events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def saved_steps(self) -> list[int]:
        return [event.step for event in self.of(Saved)]
