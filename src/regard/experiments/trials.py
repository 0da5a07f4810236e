"""One model of a comparison, trained with one seed into a run of its own, and measured on the test set.

What is finished is not done again: a run with a manifest is not trained, and a test.json of the same test set and
gold links is read back. A run that was interrupted goes on from its last checkpoint.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from regard.data.text import Pairs
from regard.errors import OptionError
from regard.experiments.entries import Entry, with_seed
from regard.files import encode_json, read_json, write_whole
from regard.inspection.alignments.links import Gold, format_pharaoh
from regard.tasks.evaluation import evaluate
from regard.tasks.fit import Say, TrainingData, fit
from regard.tasks.recipe import Recipe, build_recipe, changes
from regard.tasks.runs import load_run, read_recipe
from regard.tasks.translator import Translator
from regard.training.config import TrainingConfig
from regard.training.progress import Display

TEST_FILE = "test.json"
TEST_FORMAT = 2
BATCH_SIZE = 64
"""Sentences that are translated at once; the speed depends on it, the scores do not."""

Shown = Callable[[TrainingConfig], Display]
"""Makes what a person sees of a training."""


@dataclass(frozen=True)
class ComparisonData:
    """What all models are trained and measured on.

    Attributes:
        train: Pairs to learn from.
        valid: Pairs to choose by.
        test: Pairs to score.
        valid_gold: Links that choose the alignment, where they are known.
        test_gold: Links that score it.
        origin: Where the pairs are from, for people to read.
    """

    train: Pairs
    valid: Pairs
    test: Pairs
    valid_gold: Sequence[Gold] | None = None
    test_gold: Sequence[Gold] | None = None
    origin: Mapping[str, str] = field(default_factory=dict)

    def digest(self) -> str:
        """Return a digest of all pairs."""
        content = hashlib.sha256()
        for pairs in (self.train, self.valid, self.test):
            content.update(digest(pairs).encode())
        return content.hexdigest()


def digest(pairs: Pairs) -> str:
    """Return a digest of pairs."""
    content = hashlib.sha256()
    for side in (pairs.sources, pairs.targets):
        for line in side:
            content.update(line.encode("utf-8", "surrogatepass") + b"\n")
    return content.hexdigest()


def gold_digest(gold: Sequence[Gold] | None) -> str | None:
    """Return a digest of gold links; None where there are none."""
    if gold is None:
        return None
    return hashlib.sha256("\n".join(map(format_pharaoh, gold)).encode()).hexdigest()


class Validation(NamedTuple):
    """What training measured on the validation set.

    Attributes:
        minutes: How long the model had been trained.
        scores: Every measure by its name.
    """

    minutes: float
    scores: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A model that was trained with one seed, and what was measured.

    Attributes:
        seed: Of its training.
        folder: Its run.
        parameters: Of the model.
        updates: Done in training.
        minutes: That training took, its validations included.
        tokens_per_second: Target tokens in training, validations not counted; None where nothing was logged.
        sentences_per_second: In translation of the test set, in batches of 64 as the run searches.
        loss: Mean negative log-likelihood of a reference token of the test set in nats; None where none could be read.
        alignment_error_rate: Of the references' alignment, where gold links are known and the model attends.
        translations: Of the test set.
        validations: While it was trained.
    """

    seed: int
    folder: Path
    parameters: int
    updates: int
    minutes: float
    tokens_per_second: float | None
    sentences_per_second: float
    loss: float | None
    alignment_error_rate: float | None
    translations: list[str] = field(repr=False)
    validations: list[Validation] = field(repr=False)


class Interrupted(NamedTuple):
    """A signal ended a training; the same command goes on from there."""

    signal: int
    step: int


def run_trial(
    entry: Entry,
    number: int,
    data: ComparisonData,
    folder: Path,
    *,
    device: torch.device,
    shown: Shown,
    say: Say,
) -> Trial | Interrupted:
    """Train and measure a model, as far as that is not done yet.

    Args:
        entry: The model.
        number: Which repetition, from 0.
        data: On what.
        folder: Its run.
        device: Where.
        shown: Makes the display of the training.
        say: Is told what people should know.
    """
    recipe = with_seed(entry.recipe, number)
    begun = check_recipe(folder, recipe)
    if not (folder / "manifest.json").is_file():
        with shown(recipe.training) as display:
            outcome, translator = fit(
                recipe,
                TrainingData(data.train, data.valid, data.valid_gold),
                folder,
                device=device,
                files=data.origin,
                resume=begun,
                observers=[display],
                say=say,
            )
        if translator is None:
            return Interrupted(outcome.signal or 2, outcome.step)
    translator = load_run(folder, device=device)
    return described(folder, recipe.seed, translator, measured(translator, data, folder))


def check_recipe(folder: Path, recipe: Recipe) -> bool:
    """Say whether the run has come to a checkpoint, and refuse it if it got there with another recipe."""
    if not (folder / "checkpoints").exists() and not (folder / "manifest.json").exists():
        return False
    _, stored = read_recipe(folder)
    changed = changes(build_recipe(stored), recipe)
    if changed:
        raise OptionError(
            f"{folder} holds a run with another recipe: {'; '.join(changed)}. Compare with what it had, "
            "choose another folder with --out, or remove it."
        )
    return True


def measured(translator: Translator, data: ComparisonData, folder: Path) -> dict[str, Any]:
    """Measure a finished run on the test set, or read back what was measured."""
    path, sides = folder / TEST_FILE, (data.test.sources, data.test.targets)
    manifest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    aligned = translator.model.alignment_sites() and len(translator.too_long(*sides)) < len(data.test)
    gold = data.test_gold if aligned else None
    key = {"format": TEST_FORMAT, "test": digest(data.test), "gold": gold_digest(gold), "manifest": manifest}
    if path.is_file():
        stored = read_json(path)
        if all(stored.get(name) == value for name, value in key.items()):
            return stored
    translator.translate(data.test.sources[:8])  # what only the first call costs
    found = evaluate(translator, *sides, gold=gold, batch_size=BATCH_SIZE)
    result = {
        **key,
        "loss": found.loss if math.isfinite(found.loss) else None,
        "alignment_error_rate": found.alignment_error_rate,
        "sentences_per_second": found.sentences / max(found.seconds, 1e-9),
        "translations": found.translations,
    }
    write_whole(path, encode_json(result))
    return result


def described(folder: Path, seed: int, translator: Translator, result: Mapping[str, Any]) -> Trial:
    """Put together what is known of a finished run."""
    training = read_json(folder / "config.json").get("training", {})
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").split("\n") if line]
    logged = [line for line in lines if line.get("tokens_per_second")]
    seconds = sum(line["tokens"] / line["tokens_per_second"] for line in logged)
    return Trial(
        seed=seed,
        folder=folder,
        parameters=sum(parameter.numel() for parameter in translator.model.parameters()),
        updates=training.get("step", 0),
        minutes=training.get("minutes", 0.0),
        tokens_per_second=sum(line["tokens"] for line in logged) / seconds if logged else None,
        sentences_per_second=result["sentences_per_second"],
        loss=result["loss"],
        alignment_error_rate=result["alignment_error_rate"],
        translations=list(result["translations"]),
        validations=[Validation(line["seconds"] / 60, line["valid"]) for line in lines if "valid" in line],
    )
