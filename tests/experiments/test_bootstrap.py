import math

import numpy as np
import pytest

from regard.experiments.bootstrap import difference, estimate, sample, stacked
from regard.experiments.sentence_scores import Bleu, Counts, Exact


def hits(*rows: list[int]) -> Counts:
    """Counts of systems or seeds that translate some sentences exactly."""
    return np.stack([np.stack([np.array(row, float), np.ones(len(row))], axis=-1) for row in rows])


def bernoulli(share: float, sentences: int, seed: int) -> list[int]:
    return [int(drawn) for drawn in np.random.default_rng(seed).random(sentences) < share]


def test_the_interval_of_a_share_is_that_of_the_binomial_distribution() -> None:
    row = [1] * 300 + [0] * 700
    found = estimate(sample(Exact(), hits(row), resamples=4000))
    half = 100 * 1.96 * math.sqrt(0.3 * 0.7 / 1000)
    assert found.mean == 30
    assert found.low == pytest.approx(30 - half, abs=0.25)
    assert found.high == pytest.approx(30 + half, abs=0.25)


def test_the_interval_covers_the_truth_about_95_times_in_a_hundred() -> None:
    inside = 0
    for seed in range(200):
        found = estimate(sample(Exact(), hits(bernoulli(0.4, 150, seed)), resamples=200))
        inside += found.low <= 40 <= found.high
    assert 178 <= inside <= 199


def test_the_interval_of_a_difference_is_that_of_paired_samples() -> None:
    # 100 sentences that only the first has, 40 that only the second has, 860 that both or none have
    first, second = [1] * 100 + [0] * 40 + [1] * 860, [0] * 100 + [1] * 40 + [1] * 860
    one, other = (sample(Exact(), hits(row), resamples=4000) for row in (first, second))
    found = difference(one, other)
    half = 100 * 1.96 * math.sqrt((0.14 - 0.06**2) / 1000)
    assert found.mean == pytest.approx(6)
    assert found.low == pytest.approx(6 - half, abs=0.2)
    assert found.high == pytest.approx(6 + half, abs=0.2)
    assert found.p_value < 0.001
    assert difference(other, one).p_value == found.p_value


def test_identical_systems_do_not_differ() -> None:
    texts = [["the cat sat on the mat .", "a dog", "it rains"]]
    references = ["the cat sat on a mat .", "a dog runs", "it rains"]
    counts = stacked(Bleu(), texts, references)
    found = difference(sample(Bleu(), counts), sample(Bleu(), counts.copy()))
    assert (found.mean, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_systems_that_are_equally_good_seldom_seem_to_differ() -> None:
    claimed = 0
    for seed in range(100):
        rows = bernoulli(0.5, 120, 2 * seed), bernoulli(0.5, 120, 2 * seed + 1)
        one, other = (sample(Exact(), hits(row), resamples=200) for row in rows)
        found = difference(one, other)
        claimed += found.p_value < 0.05
        assert found.low <= found.mean <= found.high
    assert claimed <= 12


def test_seeds_are_averaged_and_their_spread_is_the_standard_deviation() -> None:
    rows = [1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]
    found = estimate(sample(Exact(), hits(*rows), resamples=50))
    assert found.seeds == [75, 25, 50]
    assert (found.mean, found.spread) == (50, 25)
    assert estimate(sample(Exact(), hits(rows[0]), resamples=50)).spread is None


def test_the_resamples_are_the_same_for_every_system_and_every_call() -> None:
    row = bernoulli(0.5, 97, 3)
    np.testing.assert_array_equal(
        sample(Exact(), hits(row), resamples=31).resampled, sample(Exact(), hits(row, row), resamples=31).resampled
    )


def test_a_score_over_seeds_is_the_mean_of_corpus_scores() -> None:
    references = ["a b c d e", "f g h i"]
    texts = [["a b c d e", "f g h x"], ["a b c d x", "f g h i"]]
    found = estimate(sample(Bleu(tokenize="none"), stacked(Bleu(tokenize="none"), texts, references), resamples=5))
    alone = [
        estimate(sample(Bleu(tokenize="none"), stacked(Bleu(tokenize="none"), [one], references), resamples=5)).mean
        for one in texts
    ]
    assert found.mean == pytest.approx(np.mean(alone))
