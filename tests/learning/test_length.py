"""The claim that attention was invented for: a fixed context fails with length, attention does not."""

from pathlib import Path
from typing import Any

import pytest
import torch

from regard.data.synthetic import as_pairs, synthetic_splits
from regard.experiments.comparison import Comparison, compare, even_buckets
from regard.experiments.entries import Budget, Entry
from regard.experiments.trials import ComparisonData
from regard.tasks.recipe import Recipe, build_recipe
from tests.experiments.tiny import Watch

LONGEST = 12


def recipe(**model: Any) -> Recipe:
    return build_recipe(
        {
            "model": {"kind": "recurrent", "model_dim": 64, "hidden_dim": 64, "dropout": 0.0, **model},
            "tokenizer": {"vocab_size": 300, "split": "blanks"},
            "data": {"batch_tokens": 1500},
            "schedule": {"kind": "cosine", "peak": 5e-3, "warmup": 50},
            "training": {"max_updates": 300, "validate_every": 100},
            "decoding": {"beams": 1},
            "label_smoothing": 0.0,
            "average": 1,
        }
    )


@pytest.mark.learning
def test_attention_reverses_long_sentences_that_a_fixed_context_cannot(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    splits = synthetic_splits("reverse", max_words=LONGEST, vocabulary=20, train=8000, valid=100, test=300)
    train, valid, test = (as_pairs(part) for part in splits)
    try:
        found = compare(
            [
                Entry("fixed", recipe(attention="none", context_fed="each")),
                Entry("attention", recipe(attention="bahdanau", score="additive")),
            ],
            ComparisonData(train, valid, test),
            tmp_path / "out",
            seeds=1,
            budget=Budget(),
            buckets=even_buckets(LONGEST),
            tokenize="none",
            device=torch.device("cpu"),
            shown=Watch(),
            say=lambda text: None,
        )
    finally:
        torch.set_num_threads(threads)
    assert isinstance(found, Comparison)
    fixed, attention = found.models
    longest = [model.lengths[-1].scores["bleu"] for model in (fixed, attention)]
    assert longest[1].mean > 80
    assert longest[1].low > longest[0].high + 30  # not by chance of the sentences, and by much
    assert fixed.lengths[0].scores["bleu"].mean > fixed.lengths[-1].scores["bleu"].mean + 20
    assert attention.differences["bleu"].low > 20
