"""A translator of the phrasebook after well under a minute, in each precision that this machine computes fast."""

from functools import cache
from pathlib import Path

import pytest
import torch

from regard.data.phrasebook import Example, Splits, splits
from regard.data.text import Pairs
from regard.generation.search import SearchOptions
from regard.inspection.alignments.links import Gold, as_gold
from regard.tasks.evaluation import evaluate
from regard.tasks.fit import TrainingData, fit
from regard.tasks.load import load
from regard.tasks.recipe import Recipe, build_recipe, merged, preset
from regard.tasks.translations import Translation
from regard.training.precision import choose

pytestmark = pytest.mark.learning

UPDATES = 500
FAST = choose("auto", torch.device("cpu")).dtype
PRECISIONS = ["float32", "bfloat16"] if torch.bfloat16 == FAST else ["float32"]


@cache
def examples() -> Splits:
    return splits(seed=2)


def recipe(precision: str) -> Recipe:
    """The recipe of the demo, with an end that does not depend on what else the machine does."""
    values = merged(preset("demo"), {"precision": precision, "training": {"max_updates": UPDATES}})
    del values["training"]["max_minutes"]
    return build_recipe(values)


def pairs(several: list[Example]) -> Pairs:
    return Pairs([one.source for one in several], [one.target for one in several])


def links(several: list[Example]) -> list[Gold]:
    return [as_gold(one.alignment) for one in several]


@pytest.fixture(scope="module", params=PRECISIONS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained in a precision."""
    precision: str = request.param
    folder = tmp_path_factory.mktemp("phrasebook") / precision
    data = TrainingData(pairs(examples().train), pairs(examples().valid), links(examples().valid))
    fit(recipe(precision), data, folder, device=torch.device("cpu"), say=print)
    return folder


def test_most_unseen_sentences_are_exactly_right_and_well_aligned(run: Path) -> None:
    test = pairs(examples().test)
    found = evaluate(load(run), test.sources, test.targets, gold=links(examples().test), batch_size=128)
    print(run.name, found.bleu, found.exact, found.alignment_error_rate)
    assert found.exact >= 0.65
    assert found.alignment_error_rate is not None
    assert found.alignment_error_rate <= 0.2


@pytest.mark.parametrize("beams", [1, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_neither_batch_size_nor_order_changes_a_translation(run: Path, dtype: torch.dtype, beams: int) -> None:
    translator = load(run, dtype=dtype)
    sources = [one.source for one in examples().test[:100]]
    options = SearchOptions(beams=beams)

    def translated(texts: list[str], batch_size: int) -> list[Translation]:
        return [found[0] for found in translator.translate(texts, options=options, batch_size=batch_size)]

    alone = translated(sources, 1)
    for batch_size in (2, 7, 32):
        together = translated(sources, batch_size)
        assert [one.text for one in together] == [one.text for one in alone]
        backwards = translated(sources[::-1], batch_size)[::-1]
        assert [one.text for one in backwards] == [one.text for one in alone]
        tolerance = 1e-4 if dtype == torch.float32 else 0.05
        for one, other in zip(alone, together, strict=True):
            assert other.log_probability == pytest.approx(one.log_probability, abs=tolerance)
