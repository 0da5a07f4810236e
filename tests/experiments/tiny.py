"""A comparison that takes a second or two: tiny models, a few updates, sentences that are reversed."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch

from regard.data.synthetic import as_pairs, synthetic_splits
from regard.experiments.comparison import Comparison, Stopped, compare
from regard.experiments.entries import Budget, Entry
from regard.experiments.trials import ComparisonData
from regard.inspection.alignments.links import as_gold
from regard.tasks.recipe import build_recipe
from regard.training.config import TrainingConfig
from regard.training.events import Event, Updated

UPDATES = 6
BUCKETS = ((1, 3), (4, 5), (6, 7), (8, None))


def entry(name: str, **model: Any) -> Entry:
    recipe = build_recipe(
        {
            "model": {"kind": "recurrent", "model_dim": 8, "hidden_dim": 8, **model},
            "tokenizer": {"vocab_size": 290, "split": "blanks"},
            "data": {"batch_tokens": 100},
            "schedule": {"kind": "constant", "peak": 1e-2, "warmup": 0},
            "training": {"max_updates": UPDATES, "validate_every": 3, "log_every": 2},
            "decoding": {"beams": 1},
            "average": 1,
            "precision": "float32",
        }
    )
    return Entry(name, recipe)


def fixed() -> Entry:
    return entry("fixed", attention="none")


def attention() -> Entry:
    return entry("attention")


def data(seed: int = 1) -> ComparisonData:
    splits = synthetic_splits("reverse", max_words=7, vocabulary=11, train=97, valid=13, test=23, seed=seed)
    train, valid, test = (as_pairs(part) for part in splits)
    return ComparisonData(
        train,
        valid,
        test,
        [as_gold(one.alignment) for one in splits.valid],
        [as_gold(one.alignment) for one in splits.test],
        {"synthetic": "reverse"},
    )


class Watch:
    """Counts the trainings and their updates, and interrupts one of them if told to."""

    def __init__(self, *, stop_training: int = 0, stop_step: int = 0) -> None:
        self.trainings = self.updates = 0
        self._stop = (stop_training, stop_step)

    def __call__(self, config: TrainingConfig) -> "WatchedTraining":
        self.trainings += 1
        return WatchedTraining(self)

    def take(self, event: Event) -> None:
        if isinstance(event, Updated):
            self.updates += 1
            if (self.trainings, event.step) == self._stop:
                os.kill(os.getpid(), signal.SIGINT)


class WatchedTraining:
    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, event: Event) -> None:
        self.watch.take(event)


def compared(
    out: Path,
    *,
    entries: Sequence[Entry] | None = None,
    given: ComparisonData | None = None,
    seeds: int = 2,
    watch: Watch | None = None,
    said: list[str] | None = None,
) -> Comparison | Stopped:
    told: list[str] = [] if said is None else said
    return compare(
        [fixed(), attention()] if entries is None else entries,
        given or data(),
        out,
        seeds=seeds,
        budget=Budget(updates=UPDATES),
        buckets=BUCKETS,
        tokenize="none",
        device=torch.device("cpu"),
        shown=watch or Watch(),
        say=told.append,
        resamples=40,
    )
