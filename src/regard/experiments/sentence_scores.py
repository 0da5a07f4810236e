"""Scores of a text as sums over its sentences, so that any choice of sentences is scored without counting anew.

BLEU, chrF and the share of exact translations are functions of such sums. The numbers are sacrebleu's.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float
from sacrebleu.metrics.bleu import BLEU

from regard.tasks.evaluation import metrics

Counts = np.ndarray[Any, np.dtype[np.float64]]


class TextScore(Protocol):
    """A score between 0 and 100, the higher the better."""

    @property
    def signature(self) -> str:
        """Say how it is computed."""

    def count(self, texts: Sequence[str], references: Sequence[str]) -> Float[Counts, "N K"]:
        """Count, for each sentence, what the score is made of."""

    def score(self, sums: Float[Counts, "K"]) -> float:
        """Score sentences by the sum of their counts."""


class Bleu:
    """BLEU (Papineni et al. 2002): matching and all n-grams of 1 to 4 words, and both lengths."""

    def __init__(self, *, tokenize: str = "13a", lowercase: bool = False) -> None:
        self._corpus, _ = metrics(tokenize, lowercase)
        # The effective order changes the score of one sentence, which nobody reads here, and spares its warning.
        self._sentence = BLEU(tokenize=tokenize, lowercase=lowercase, force=True, effective_order=True)

    @property
    def signature(self) -> str:
        """Say how it is computed."""
        self._corpus.corpus_score(["a"], [["a"]])  # it knows the number of references after the first use
        return str(self._corpus.get_signature())

    def count(self, texts: Sequence[str], references: Sequence[str]) -> Float[Counts, "N 10"]:
        """Count n-grams and words."""
        rows = []
        for text, reference in zip(texts, references, strict=True):
            found = self._sentence.sentence_score(text, [reference])
            rows.append([*found.counts, *found.totals, found.sys_len, found.ref_len])
        return np.array(rows, dtype=np.float64).reshape(len(rows), 10)

    def score(self, sums: Float[Counts, "10"]) -> float:
        """Score by the counts."""
        counts = [round(value) for value in sums]
        found = BLEU.compute_bleu(
            counts[:4],
            counts[4:8],
            counts[8],
            counts[9],
            smooth_method=self._corpus.smooth_method,
            smooth_value=self._corpus.smooth_value,
        )
        return float(found.score)


class Chrf:
    """chrF (Popović 2015): n-grams of 1 to 6 characters, blanks left out; recall counts twice."""

    order = 6
    factor = 4  # beta ** 2

    def __init__(self, *, lowercase: bool = False) -> None:
        self.lowercase = lowercase
        _, self._corpus = metrics("13a", lowercase)

    @property
    def signature(self) -> str:
        """Say how it is computed."""
        self._corpus.corpus_score(["a"], [["a"]])
        return str(self._corpus.get_signature())

    def count(self, texts: Sequence[str], references: Sequence[str]) -> Float[Counts, "N 18"]:
        """Count n-grams of the text, of the reference, and those in both, for each order."""
        rows = []
        for text, reference in zip(texts, references, strict=True):
            made, wanted = self.letters(text), self.letters(reference)
            row = []
            for order in range(1, self.order + 1):
                these, those = grams(made, order), grams(wanted, order)
                # as sacrebleu does it, n-grams that a short reference cannot have are not held against the text
                row += [these.total() if those else 0, those.total(), (these & those).total()]
            rows.append(row)
        return np.array(rows, dtype=np.float64).reshape(len(rows), 3 * self.order)

    def letters(self, text: str) -> str:
        """Take off what is not compared."""
        return "".join((text.lower() if self.lowercase else text).split())

    def score(self, sums: Float[Counts, "18"]) -> float:
        """Score by the counts: the F of the mean precision and the mean recall over the orders that both have."""
        made, wanted, matched = sums.reshape(self.order, 3).T
        both = (made > 0) & (wanted > 0)
        if not matched[both].any():
            return 0.0
        precision, recall = (matched[both] / made[both]).mean(), (matched[both] / wanted[both]).mean()
        return float(100 * (1 + self.factor) * precision * recall / (self.factor * precision + recall))


class Exact:
    """The share of the translations that equal the reference."""

    signature = "equal texts, in percent"

    def count(self, texts: Sequence[str], references: Sequence[str]) -> Float[Counts, "N 2"]:
        """Count sentences that are right, and sentences."""
        rows = [(text == reference, 1) for text, reference in zip(texts, references, strict=True)]
        return np.array(rows, dtype=np.float64).reshape(len(rows), 2)

    def score(self, sums: Float[Counts, "2"]) -> float:
        """Score by the counts."""
        return float(100 * sums[0] / sums[1])


def grams(text: str, order: int) -> Counter[str]:
    """Count the n-grams of a text."""
    return Counter(text[start : start + order] for start in range(len(text) - order + 1))
