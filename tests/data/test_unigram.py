import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.unigram import Lattice, train_unigram

PIECES = ["a", "b", "c", "ab", "bc", "abc", "aa", "cab"]
words = st.lists(st.text("abc", min_size=1, max_size=7), min_size=1, max_size=5, unique=True)
log_probabilities = st.lists(st.floats(-9, -0.1), min_size=len(PIECES), max_size=len(PIECES))


def spellings(word: str, *, whole: bool = True) -> Iterator[list[int]]:
    """All ways to write a word with pieces."""
    if not word:
        yield []
    for number, piece in enumerate(PIECES):
        if word.startswith(piece) and (whole or piece != word or len(word) == 1):
            for rest in spellings(word[len(piece) :]):
                yield [number, *rest]


@given(words, log_probabilities, st.data())
def test_expected_counts_are_the_sum_over_all_spellings(
    words: list[str], scores: list[float], data: st.DataObject
) -> None:
    times = data.draw(st.lists(st.integers(1, 11), min_size=len(words), max_size=len(words)))
    expected = np.zeros(len(PIECES))
    for word, count in zip(words, times, strict=True):
        ways = list(spellings(word))
        weights = [math.exp(sum(scores[number] for number in way)) for way in ways]
        for way, weight in zip(ways, weights, strict=True):
            np.add.at(expected, way, count * weight / sum(weights))
    found = Lattice(words, PIECES).expected_counts(np.array(scores), np.array(times, dtype=np.float64))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@given(words, log_probabilities, st.booleans())
def test_the_best_score_is_that_of_the_best_spelling(words: list[str], scores: list[float], whole: bool) -> None:
    best = [max(sum(scores[number] for number in way) for way in spellings(word, whole=whole)) for word in words]
    found = Lattice(words, PIECES, whole=whole).best_scores(np.array(scores))
    np.testing.assert_allclose(found, best, rtol=1e-12)


def test_words_of_thousands_of_letters_do_not_underflow() -> None:
    lattice = Lattice(["ab" * 2003], ["a", "b", "ab"])
    counts = lattice.expected_counts(np.array([-50.0, -50.0, -90.0]), np.ones(1))
    assert counts[2] == pytest.approx(2003, rel=1e-4)


def test_pieces_are_pruned_to_the_size_and_letters_stay() -> None:
    counts = {"abcabc": 31, "abc": 97, "cab": 5, "bca": 3, "d": 1}
    seeds = [word[i:j] for word in counts for i in range(len(word)) for j in range(i + 2, len(word) + 1)]
    found = train_unigram(counts, seeds, ["a", "b", "c", "d", "e"], size=7)
    assert len(found) == 7
    assert set("abcde") < set(found)
    assert "abc" in found
    assert sum(map(math.exp, found.values())) == pytest.approx(1)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_pieces_that_are_of_no_use_are_left_out() -> None:
    assert set(train_unigram({"ab": 97}, ["ab", "xy"], ["a", "b", "x", "y"], size=997)) == {"a", "b", "x", "y", "ab"}
