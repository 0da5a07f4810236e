"""How sure a score is: paired bootstrap resampling over the sentences of a test set (Koehn 2004).

A resample draws as many sentences as the test set has, with replacement. All systems are scored on the same
resamples, so their difference is surer than their scores. A system that was trained with several seeds has the mean of
their corpus scores, on the set itself and on each resample. So an interval tells how much hangs on the choice of the
sentences; how much hangs on the seed is told apart, by the spread. Written in numpy, because sacrebleu's own test
knows no seeds; the scores are sacrebleu's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from regard.experiments.sentence_scores import Counts, TextScore

RESAMPLES = 1000
COVERAGE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A system's score.

    Attributes:
        mean: Over the seeds.
        seeds: Of each seed.
        spread: Standard deviation over the seeds; None for one seed.
        low: Lower end of the 95 % interval over sentences.
        high: Its upper end.
    """

    mean: float
    seeds: list[float]
    spread: float | None
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A system's score less that of another.

    Attributes:
        mean: Of the means over the seeds.
        low: Lower end of the 95 % interval over sentences.
        high: Its upper end.
        p_value: Twice the share of the resamples in which the sign is the other one, or there is no difference.
    """

    mean: float
    low: float
    high: float
    p_value: float


class Sampled(NamedTuple):
    """A system's scores: of each seed on the set itself, and of their mean on each resample."""

    seeds: list[float]
    resampled: Float[Counts, "R"]


def sample(score: TextScore, counts: Float[Counts, "R N K"], *, resamples: int = RESAMPLES, seed: int = 1) -> Sampled:
    """Score each seed's sentences, and resamples of them; the same `seed` and number of sentences, the same resamples.

    Args:
        score: What to compute.
        counts: For each seed and sentence, what the score is made of.
        resamples: How many.
        seed: Of the draw of sentences.
    """
    generator = np.random.default_rng(seed)
    sentences = counts.shape[1]
    means = np.empty(resamples)
    for number in range(resamples):
        drawn = np.bincount(generator.integers(sentences, size=sentences), minlength=sentences)
        means[number] = np.mean([score.score(sums) for sums in drawn @ counts])
    return Sampled([score.score(sums) for sums in counts.sum(axis=1)], means)


def estimate(sampled: Sampled) -> Estimate:
    """Say how good a system is, and how sure that is."""
    seeds = sampled.seeds
    spread = float(np.std(seeds, ddof=1)) if len(seeds) > 1 else None
    return Estimate(float(np.mean(seeds)), list(seeds), spread, *interval(sampled.resampled))


def difference(sampled: Sampled, other: Sampled) -> Difference:
    """Say how much better a system is than another, and how sure that is."""
    resampled = sampled.resampled - other.resampled
    unlike = min(int((resampled <= 0).sum()), int((resampled >= 0).sum()))
    # one more in both: the set itself is a resample too, so no p-value is 0
    p_value = min(1.0, 2 * (unlike + 1) / (len(resampled) + 1))
    return Difference(float(np.mean(sampled.seeds) - np.mean(other.seeds)), *interval(resampled), p_value)


def interval(resampled: Float[Counts, "R"]) -> tuple[float, float]:
    """Return the ends between which 95 % of the resamples lie."""
    outside = (1 - COVERAGE) / 2
    low, high = np.quantile(resampled, [outside, 1 - outside])
    return float(low), float(high)


def stacked(score: TextScore, texts: Sequence[Sequence[str]], references: Sequence[str]) -> Float[Counts, "R N K"]:
    """Count the sentences of each seed."""
    return np.stack([score.count(one, references) for one in texts])
