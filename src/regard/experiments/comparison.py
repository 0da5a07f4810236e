"""Several models on the same data and budget, each with several seeds: which is better, by how much, and how sure.

Every score is that of whole test sets, by sacrebleu; bootstrap.py says what the intervals mean.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from regard.data.text import split_words
from regard.errors import OptionError
from regard.experiments.bootstrap import RESAMPLES, Difference, Estimate, Sampled, difference, estimate, sample, stacked
from regard.experiments.entries import Budget, Entry
from regard.experiments.sentence_scores import Bleu, Chrf, Exact, TextScore
from regard.experiments.trials import ComparisonData, Interrupted, Shown, Trial, gold_digest, run_trial
from regard.files import encode_json, make_folder, read_json, write_whole
from regard.tasks.fit import Say

Buckets = Sequence[tuple[int, int | None]]
"""Lengths of the source in words, first and last, that are scored apart."""

DATA_FILE = "data.json"


@dataclass(frozen=True)
class LengthScores:
    """A model's scores on the sentences whose source has `first` to `last` words."""

    first: int
    last: int | None
    sentences: int
    scores: dict[str, Estimate]

    @property
    def name(self) -> str:
        """Say which lengths."""
        if self.last is None:
            return f"{self.first}+"
        return f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True)
class ModelResult:
    """What a model reached.

    Attributes:
        name: Of the model.
        trials: One a seed.
        scores: By the name of the score.
        differences: From the first model, by the name of the score; none for the first itself.
        lengths: Scores by the length of the source, shortest first; a length that no sentence has is left out.
    """

    name: str
    trials: list[Trial]
    scores: dict[str, Estimate]
    differences: dict[str, Difference]
    lengths: list[LengthScores]

    def mean(self, name: str) -> float | None:
        """Return the mean over the seeds of what a trial has under this name; None where a seed lacks it."""
        values = [getattr(trial, name) for trial in self.trials]
        return None if None in values else float(np.mean(values))


@dataclass(frozen=True)
class Comparison:
    """What came out.

    Attributes:
        models: In the order in which they were named.
        budget: Of each training, in words.
        pairs: How many there were to train on, to choose by and to score.
        signatures: How the scores are computed.
        resamples: How many the intervals are made of.
    """

    models: list[ModelResult]
    budget: str
    pairs: dict[str, int]
    signatures: dict[str, str]
    resamples: int


@dataclass(frozen=True)
class Stopped:
    """A signal ended a training before all was done; the same command goes on from there."""

    model: str
    seed: int
    step: int
    signal: int


def compare(
    entries: Sequence[Entry],
    data: ComparisonData,
    out: Path,
    *,
    seeds: int,
    budget: Budget,
    buckets: Buckets,
    tokenize: str,
    lowercase: bool = False,
    device: torch.device,
    shown: Shown,
    say: Say,
    resamples: int = RESAMPLES,
) -> Comparison | Stopped:
    """Train, measure and compare.

    Args:
        entries: The models; the others are compared with the first.
        data: What all are trained and measured on.
        out: Folder with a run for each model and seed; what is finished in it is not done again.
        seeds: How often each model is trained.
        budget: What the recipes were made with, for the record.
        buckets: Lengths of the source that are scored apart.
        tokenize: How sacrebleu splits words.
        lowercase: Whether BLEU and chrF ignore case.
        device: Where to compute.
        shown: Makes the display of a training.
        say: Is told what people should know.
        resamples: For the intervals.
    """
    scores = text_scores(tokenize, lowercase)
    if not data.test.sources:
        raise OptionError("There is nothing to compare on: the test set is empty.")
    keep_data(out, data)
    say = once(say)
    trials: dict[str, list[Trial]] = {entry.name: [] for entry in entries}
    # Seed by seed, so that an early end leaves every model with as many.
    for number in range(seeds):
        for entry in entries:
            seed = entry.recipe.seed + number
            done = sum(map(len, trials.values()))
            say(f"--- {entry.name}, seed {seed}: training {done + 1} of {seeds * len(entries)}, {budget} ---")
            found = run_trial(entry, number, data, out / f"{entry.name}-{seed}", device=device, shown=shown, say=say)
            if isinstance(found, Interrupted):
                return Stopped(entry.name, seed, found.step, found.signal)
            trials[entry.name].append(found)
    return Comparison(
        models=results(trials, data, scores, buckets, resamples),
        budget=str(budget),
        pairs={"train": len(data.train), "valid": len(data.valid), "test": len(data.test)},
        signatures={name: score.signature for name, score in scores.items()},
        resamples=resamples,
    )


def once(say: Say) -> Say:
    """Leave out what was said before: every training tells of the same data."""
    said: set[str] = set()

    def say_new(text: str) -> None:
        if text not in said:
            said.add(text)
            say(text)

    return say_new


def text_scores(tokenize: str, lowercase: bool) -> dict[str, TextScore]:
    """Return the scores that are computed of the translations, by name."""
    return {"bleu": Bleu(tokenize=tokenize, lowercase=lowercase), "chrf": Chrf(lowercase=lowercase), "exact": Exact()}


def keep_data(out: Path, data: ComparisonData) -> None:
    """Write down on which data a folder compares, and refuse other data.

    Gold links of the test set may be others: the error rate is measured anew. Those of the validation set chose the
    alignments of the runs.
    """
    path = out / DATA_FILE
    chosen_by = gold_digest(data.valid_gold)
    now = {"format": 1, "sha256": data.digest(), "valid_gold": chosen_by, "origin": dict(data.origin)}
    if path.is_file():
        stored = read_json(path)
        if stored.get("sha256") != now["sha256"]:
            raise OptionError(
                f"{out} holds a comparison on other data. Compare on what it had, or choose another folder with --out."
            )
        before = stored.get("valid_gold", chosen_by)  # earlier comparisons do not say
        if before != chosen_by:
            raise OptionError(
                f"{out} holds a comparison whose alignments were chosen {by_gold(before)} for the validation set; now "
                f"they would be {by_gold(chosen_by)}. Give what it had, or choose another folder with --out."
            )
        return
    make_folder(out)
    write_whole(path, encode_json(now))


def by_gold(known: str | None) -> str:
    """Say with which gold links, by their digest."""
    return "without gold links" if known is None else f"by gold links {known[:8]}"


def results(
    trials: Mapping[str, list[Trial]],
    data: ComparisonData,
    scores: Mapping[str, TextScore],
    buckets: Buckets,
    resamples: int,
) -> list[ModelResult]:
    """Score all models on the same resamples of the test set, whole and by length."""
    lengths = np.array([len(split_words(source)) for source in data.test.sources])
    inside = {
        bucket: np.flatnonzero((lengths >= bucket[0]) & (lengths <= (bucket[1] or math.inf))) for bucket in buckets
    }
    first: dict[str, Sampled] = {}
    models = []
    for model, of_model in trials.items():
        sampled: dict[str, Sampled] = {}
        by_length: dict[tuple[int, int | None], dict[str, Estimate]] = {
            bucket: {} for bucket, numbers in inside.items() if len(numbers)
        }
        for name, score in scores.items():
            counts = stacked(score, [trial.translations for trial in of_model], data.test.targets)
            sampled[name] = sample(score, counts, resamples=resamples)
            for bucket, estimates in by_length.items():
                estimates[name] = estimate(sample(score, counts[:, inside[bucket]], resamples=resamples))
        differences = {name: difference(sampled[name], first[name]) for name in first}
        first = first or sampled
        models.append(
            ModelResult(
                model,
                of_model,
                {name: estimate(one) for name, one in sampled.items()},
                differences,
                [LengthScores(*bucket, len(inside[bucket]), found) for bucket, found in by_length.items()],
            )
        )
    return models


def even_buckets(longest: int) -> Buckets:
    """Cut lengths from 1 to the longest into at most six ranges of one width, at least 4: BLEU needs four words."""
    width = max(4, math.ceil(longest / 6))
    return [(start, min(start + width - 1, longest)) for start in range(1, longest + 1, width)]
