"""A table of word translations estimated from sentence pairs, to judge links where nobody aligned by hand.

IBM model 1 (Brown et al. 1993, section 4.1): each word of one language comes from one word of the other, or from
none (NULL), whatever their places. It is estimated in both directions. Far from a good aligner, but it errs in other
ways than attention does, and tells a head that aligns from one that looks at the word before
(`benchmarks/word_table_agreement.py`).
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.ma  # np.unique would (numpy 2.4), and a signal that breaks a validation off there left it half imported
from numpy.typing import NDArray

from regard.data.text import split_words
from regard.errors import DataError, OptionError
from regard.inspection.alignments.links import (
    AlignmentScore,
    Links,
    alignment_error_rate,
    swap,
    symmetrize,
)

Floats = NDArray[np.float64]
Integers = NDArray[np.signedinteger]

_CHUNK = 1_000_000  # cells worked on at once: temporaries stay below 100 MB
_NULL = 0


def normalize_word(word: str) -> str:
    """Fold case and take punctuation off both ends, so that `Dog,` counts as `dog`; what is all punctuation stays.

    Signs that combine with a letter, as vowels of Hindi and Thai do, belong to the word.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFD", word).casefold())
    letters = [place for place, character in enumerate(folded) if character.isalnum()]
    if not letters:
        return folded
    end = letters[-1] + 1
    while end < len(folded) and unicodedata.category(folded[end]).startswith("M"):
        end += 1
    return folded[letters[0] : end]


class WordTable:
    """Translation probabilities of words in both directions.

    Attributes:
        forward: p(target word | source word).
        reverse: p(source word | target word).
    """

    def __init__(self, forward: "Probabilities", reverse: "Probabilities") -> None:
        self.forward, self.reverse = forward, reverse

    @classmethod
    def estimate(
        cls,
        sources: Sequence[str],
        targets: Sequence[str],
        *,
        iterations: int = 5,
        max_cells: int = 20_000_000,
        max_words: int = 100,
    ) -> "WordTable":
        """Estimate by expectation maximization from a uniform start; the same pairs give the same table.

        `max_cells` bounds the memory: it counts the word pairs within sentence pairs that are looked at, 13 million
        for 167,000 pairs of eight words; 20 million take half a gigabyte and about six seconds on one core. Where
        there are more, evenly spaced sentence pairs are taken.

        Args:
            sources: Sentences, split into words by `split_words`.
            targets: Their translations.
            iterations: Rounds of estimation.
            max_cells: Most word pairs to look at.
            max_words: Pairs with a longer side are left out, as are those with an empty one.
        """
        if len(sources) != len(targets):
            raise DataError(f"There are {len(sources)} source and {len(targets)} target sentences: give one for each.")
        if iterations < 1:
            raise OptionError(f"iterations ({iterations}) must be at least 1.")
        if not 0 < max_cells < 2**31:
            raise OptionError(
                f"max_cells ({max_cells}) must lie between 1 and {2**31 - 1}: cells are numbered in 32 bits."
            )
        source_words: dict[str, int] = {}
        target_words: dict[str, int] = {}
        chosen = _choose_pairs(sources, targets, max_cells, max_words)
        source_side = _Side.read((sources[number] for number in chosen), source_words)
        target_side = _Side.read((targets[number] for number in chosen), target_words)
        return cls(
            Probabilities(source_words, target_words, *_estimate(source_side, target_side, iterations)),
            Probabilities(target_words, source_words, *_estimate(target_side, source_side, iterations)),
        )

    def links(self, source_words: Sequence[str], target_words: Sequence[str], method: str = "grow-diag") -> Links:
        """Align a sentence pair by the table alone, the two directions joined as in `symmetrize`.

        grow-diag gave the best order of other aligners' links among the methods tried as references (Hansards, XL-WA).
        """
        sources = [normalize_word(word) for word in source_words]
        targets = [normalize_word(word) for word in target_words]
        return symmetrize(self.forward.links(sources, targets), swap(self.reverse.links(targets, sources)), method)

    def align(self, sources: Sequence[str], targets: Sequence[str]) -> list[Links]:
        """Give `links` for each of several sentence pairs: references to judge other links by."""
        pairs = zip(sources, targets, strict=True)
        return [self.links(split_words(source), split_words(target)) for source, target in pairs]

    def agreement(self, links: Sequence[Links], sources: Sequence[str], targets: Sequence[str]) -> AlignmentScore:
        """Score links against the table's own: an alignment error rate, the lower the better.

        Its height says little, since the table is often wrong; its order follows that of the rate against gold.
        """
        return alignment_error_rate(links, self.align(sources, targets))


def _choose_pairs(sources: Sequence[str], targets: Sequence[str], max_cells: int, max_words: int) -> list[int]:
    """Numbers of the sentence pairs to estimate from: all usable ones, or evenly spaced ones."""
    usable, cells = [], 0
    for number, (source, target) in enumerate(zip(sources, targets, strict=True)):
        lengths = len(split_words(source)), len(split_words(target))
        if min(lengths) > 0 and max(lengths) <= max_words:
            usable.append(number)
            cells += (lengths[0] + 1) * (lengths[1] + 1)
    if not usable:
        raise DataError(
            f"None of the {len(sources)} pairs has 1 to {max_words} words on both sides:"
            " no word table can be estimated."
        )
    wanted = max(1, int(len(usable) * min(1, max_cells / cells)))
    return [usable[place * len(usable) // wanted] for place in range(wanted)]


@dataclass(frozen=True)
class _Side:
    """The sentences of one language as numbers of words, one after another, without NULL.

    Attributes:
        words: The number of each word, from 1.
        lengths: Words of each sentence.
        num_words: How many different words there are, NULL included.
    """

    words: Integers
    lengths: Integers
    num_words: int

    @classmethod
    def read(cls, sentences: Iterator[str], numbers: dict[str, int]) -> "_Side":
        """Number the words, adding new ones to `numbers`."""
        words, lengths = [], []
        seen: dict[str, int] = {}  # as written, to normalize each form once
        for sentence in sentences:
            split = split_words(sentence)
            lengths.append(len(split))
            for word in split:
                if word not in seen:
                    seen[word] = numbers.setdefault(normalize_word(word), len(numbers) + 1)
                words.append(seen[word])
        return cls(np.array(words, np.int64), np.array(lengths, np.int64), len(numbers) + 1)


def _cells(given: _Side, made: _Side) -> Iterator[tuple[Integers, Integers]]:
    """Pair each made word with NULL and each given word of its sentence, a chunk of sentences at a time.

    Yields:
        The key of each cell (given word * number of made words + made word), and where the cells of each made
        word begin.
    """
    given_ends, made_ends = np.cumsum(given.lengths), np.cumsum(made.lengths)
    chunk_of = np.cumsum((given.lengths + 1) * made.lengths) // _CHUNK
    bounds = [0, *(np.flatnonzero(np.diff(chunk_of)) + 1).tolist(), len(chunk_of)]
    for first, last in pairwise(bounds):
        lengths = given.lengths[first:last]
        begin, end = given_ends[first] - lengths[0], given_ends[last - 1]
        sentence_starts = np.cumsum(lengths) - lengths
        choices = np.insert(given.words[begin:end], sentence_starts, _NULL)
        made_words = made.words[made_ends[first] - made.lengths[first] : made_ends[last - 1]]
        row_lengths = np.repeat(lengths + 1, made.lengths[first:last])
        row_starts = np.cumsum(row_lengths) - row_lengths
        choice_starts = np.repeat(sentence_starts + np.arange(len(lengths)), made.lengths[first:last])
        choice = np.arange(row_lengths.sum()) + np.repeat(choice_starts - row_starts, row_lengths)
        yield choices[choice] * made.num_words + np.repeat(made_words, row_lengths), row_starts


def _index(given: _Side, made: _Side) -> tuple[Integers, list[tuple[NDArray[np.int32], Integers]]]:
    """Number the keys that occur.

    Returns:
        The keys, sorted; and for each chunk of `_cells` the number of each cell's key, and where its rows begin.
    """
    found = []
    for cell_keys, row_starts in _cells(given, made):
        different, places = np.unique(cell_keys, return_inverse=True)
        found.append((different, places.astype(np.int32), row_starts))
    keys = np.sort(np.concatenate([different for different, _, _ in found]))
    keys = keys[np.diff(keys, prepend=-1) > 0]  # np.unique hashes first: 15 times slower here (numpy 2.4)
    numbers = (np.searchsorted(keys, different).astype(np.int32) for different, _, _ in found)
    return keys, [(new[places], starts) for new, (_, places, starts) in zip(numbers, found, strict=True)]


def _estimate(given: _Side, made: _Side, iterations: int) -> tuple[Integers, Floats]:
    """Estimate p(made word | given word) for the pairs that occur: their sorted keys and the probabilities."""
    keys, chunks = _index(given, made)
    givens = keys // made.num_words
    probabilities: Floats = 1 / np.bincount(givens)[givens]
    for _ in range(iterations):
        counts = np.zeros(len(keys))
        for cells, row_starts in chunks:
            shares = probabilities[cells]
            row_lengths = np.diff(row_starts, append=len(cells))
            shares /= np.repeat(np.add.reduceat(shares, row_starts), row_lengths)
            counts += np.bincount(cells, shares, len(keys))
        probabilities = counts / np.bincount(givens, counts)[givens]
    return keys, probabilities


class Probabilities:
    """p(made word | given word), looked up by words."""

    def __init__(self, given: dict[str, int], made: dict[str, int], keys: Integers, probabilities: Floats) -> None:
        self._given, self._made, self._keys, self._probabilities = given, made, keys, probabilities

    def look_up(self, given: Sequence[str], made: Sequence[str]) -> Floats:
        """Give the probability of each made word (rows) from NULL and each given word (columns)."""
        columns = np.array([_NULL, *(self._given.get(word, -1) for word in given)])
        rows = np.array([self._made.get(word, -1) for word in made], np.int64)[:, None]
        keys = np.where((rows < 0) | (columns < 0), -1, columns * (len(self._made) + 1) + rows)
        places = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        return np.where(self._keys[places] == keys, self._probabilities[places], 0.0)

    def links(self, given: Sequence[str], made: Sequence[str]) -> Links:
        """Link each made word to its most probable given word, if that beats NULL.

        Equals are told apart by place: the one nearest to the diagonal, since model 1 sees no places.
        """
        if not given or not made:
            return frozenset()
        probabilities = self.look_up(given, made)
        best = probabilities[:, 1:].max(1)
        along, down = (np.arange(len(words)) + 0.5 for words in (given, made))
        distance = np.abs(along / len(given) - down[:, None] / len(made))
        choice = np.where(probabilities[:, 1:] == best[:, None], distance, np.inf).argmin(1)
        linked = np.flatnonzero(best > probabilities[:, 0])
        return frozenset((int(choice[row]), int(row)) for row in linked)
