import math

import pytest

from regard.errors import OptionError
from regard.training.selection import Selection


@pytest.mark.parametrize(
    ("by", "scores", "best"),
    [
        ("loss", [5.0, 3.0, 4.0], 2),
        ("perplexity", [5.0, 3.0, 2.0], 3),
        ("alignment_error_rate", [0.5, 0.3, 0.4], 2),
        ("accuracy", [0.5, 0.7, 0.6], 2),
        ("bleu", [3.0, 2.0, 1.0], 1),
        ("bleu", [3.0, 3.0, 3.0], 1),
        ("bleu", [math.nan, 1.0, math.inf], 2),
        ("loss", [math.inf, 9.0, -math.inf], 2),
    ],
)
def test_the_best_is_remembered(by: str, scores: list[float], best: int) -> None:
    selection = Selection(by, patience=None)
    news = [selection.consider(step, {by: score}) for step, score in enumerate(scores, start=1)]
    assert (selection.step, selection.score) == (best, scores[best - 1])
    assert [step for step, new in enumerate(news, start=1) if new][-1] == best
    assert selection.waited == len(scores) - best
    assert not selection.exhausted


def test_patience_counts_validations_since_the_best() -> None:
    selection = Selection("loss", patience=2)
    ends = []
    for step, loss in enumerate([3.0, 4.0, 2.0, 2.0, 5.0], start=1):
        selection.consider(step, {"loss": loss})
        ends.append(selection.exhausted)
    assert ends == [False, False, False, False, True]


def test_a_measure_that_is_not_taken_is_named() -> None:
    with pytest.raises(OptionError) as caught:
        Selection("blue", None).consider(1, {"loss": 1.0, "bleu": 2.0})
    assert str(caught.value) == (
        "select_by (blue) is not among what the validation measures: loss, bleu. Choose one of them."
    )
