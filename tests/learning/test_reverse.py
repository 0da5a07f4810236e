"""A GRU that attends learns to write backwards, and its alignment says how."""

from pathlib import Path

import pytest
import torch

from regard.data.synthetic import SyntheticExample, as_pairs, synthetic_splits
from regard.inspection.alignments.links import Gold, as_gold
from regard.tasks.evaluation import evaluate
from regard.tasks.fit import TrainingData, fit
from regard.tasks.load import load
from regard.tasks.recipe import build_recipe

pytestmark = pytest.mark.learning

RECIPE = build_recipe(
    {
        "model": {"kind": "recurrent", "model_dim": 64, "hidden_dim": 64, "dropout": 0.0},
        "tokenizer": {"vocab_size": 300, "split": "blanks"},
        "data": {"batch_tokens": 1500},
        "schedule": {"kind": "cosine", "peak": 5e-3, "warmup": 50},
        "training": {"max_updates": 400, "validate_every": 100},
        "label_smoothing": 0.0,
        "average": 1,
    }
)


def links(examples: list[SyntheticExample]) -> list[Gold]:
    return [as_gold(one.alignment) for one in examples]


@pytest.mark.parametrize("chosen_by", ["gold", "word table"])
def test_a_gru_with_attention_reverses_and_aligns(chosen_by: str, tmp_path: Path) -> None:
    splits = synthetic_splits("reverse", max_words=10, vocabulary=20, train=8_000, valid=200, test=300, seed=3)
    valid_gold = links(splits.valid) if chosen_by == "gold" else None
    data = TrainingData(as_pairs(splits.train), as_pairs(splits.valid), valid_gold)
    fit(RECIPE, data, tmp_path / "run", device=torch.device("cpu"), say=print)
    translator = load(tmp_path / "run")
    assert translator.site is not None
    assert translator.site.chosen_by == chosen_by
    test = as_pairs(splits.test)
    found = evaluate(translator, test.sources, test.targets, gold=links(splits.test), tokenize="none")
    print(found.bleu, found.exact, found.alignment_error_rate, translator.site)
    assert found.bleu >= 90
    assert found.alignment_error_rate is not None
    assert found.alignment_error_rate <= 0.1
