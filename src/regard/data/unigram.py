"""Training of a unigram vocabulary: pieces with probabilities, pruned from a larger set (Kudo 2018, section 3.2).

The tokenizers library runs such a vocabulary but trains it from substrings of the distinct words, whatever their
counts, and in the order of a hash table: " ," is no piece, sentences come out 30 % longer than by BPE, and two runs
give two vocabularies (seen with 0.23). Here the pieces of a larger BPE are the first set, and the order is fixed.

All spellings of all words are one lattice. Its nodes are the places between letters, its edges the pieces that fit;
the edges that end at the same place of their words, whatever the word, are handled at once.
"""

from array import array
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_SHRINK = 0.75  # of the pieces stay in a round of pruning
_LEAST_COUNT = 0.5  # a piece expected less often than that is not worth its place


def train_unigram(
    counts: Mapping[str, int], seeds: Sequence[str], alphabet: Sequence[str], *, size: int
) -> dict[str, float]:
    """Choose at most `size` pieces and estimate their log-probabilities.

    Args:
        counts: How often each word occurs, spelled in letters of the alphabet.
        seeds: Pieces to choose from.
        alphabet: Pieces of one letter that stay in any case.
        size: Number of pieces, the alphabet's among them.

    Returns:
        Pieces with natural logarithms of their probabilities, the likeliest first.
    """
    words = sorted(counts)
    times = np.array([counts[word] for word in words], dtype=np.float64)
    pieces = list(dict.fromkeys([*alphabet, *(seed for seed in seeds if len(seed) > 1)]))
    lattice = Lattice(words, pieces)
    alone = Lattice(pieces, pieces, whole=False)
    scores = np.array([-float(len(piece) == 1) for piece in pieces]) - np.log(len(pieces))
    while True:
        scores = _log_probabilities(lattice.expected_counts(scores, times), len(alphabet))
        expected = lattice.expected_counts(scores, times)
        scores = _log_probabilities(expected, len(alphabet))
        kept = np.isfinite(scores)
        remaining = int(kept.sum())
        if remaining <= size:
            break
        loss = np.where(kept, expected * (np.where(kept, scores, 0) - alone.best_scores(scores)), -np.inf)
        loss[: len(alphabet)] = np.inf
        stay = np.argsort(-loss, kind="stable")[: max(size, int(remaining * _SHRINK))]
        scores[np.setdiff1d(np.arange(len(pieces)), stay)] = -np.inf
    order = np.argsort(-scores, kind="stable")[:remaining]
    return {pieces[number]: float(scores[number]) for number in order}


def _log_probabilities(expected: Floats, num_letters: int) -> Floats:
    """Turn counts into log-probabilities; rare pieces fall out, but letters stay even if never seen."""
    counts = np.where(expected < _LEAST_COUNT, 0, expected)
    counts[:num_letters] = np.maximum(expected[:num_letters], _LEAST_COUNT)
    with np.errstate(divide="ignore"):
        scores: Floats = np.log(counts / counts.sum())
    return scores


class Lattice:
    """All ways to spell words with pieces.

    Every letter of a word must be a piece. With `whole=False`, a word of several letters may not be spelled by one
    piece: what is then best is what remains without that piece.
    """

    def __init__(self, words: Sequence[str], pieces: Sequence[str], *, whole: bool = True) -> None:
        known = {piece: number for number, piece in enumerate(pieces)}
        longest = max(map(len, pieces))
        starts, ends, numbers = array("q"), array("q"), array("q")
        node = 0
        for word in words:
            for start in range(len(word)):
                for end in range(start + 1, min(len(word), start + longest) + 1):
                    number = known.get(word[start:end])
                    if number is not None and (whole or end - start < len(word) or len(word) == 1):
                        starts.append(node + start)
                        ends.append(node + end)
                        numbers.append(number)
            node += len(word) + 1
        lengths = np.array([len(word) for word in words], dtype=np.int64)
        self._first = np.cumsum(lengths + 1) - (lengths + 1)
        self._last = self._first + lengths
        self._word = np.repeat(np.arange(len(words)), lengths + 1)
        self._num_pieces = len(pieces)
        self._start, self._end, self._piece = (np.frombuffer(x, dtype=np.int64) for x in (starts, ends, numbers))
        self._forward = _levels(self._end, self._end - self._first[self._word[self._end]])
        self._backward = _levels(self._start, self._last[self._word[self._start]] - self._start)

    def expected_counts(self, scores: Floats, times: Floats) -> Floats:
        """Give the expected number of uses of each piece, over all spellings of all words."""
        before = self._sums(scores, self._forward, self._first, self._start)
        after = self._sums(scores, self._backward, self._last, self._end)
        word = self._word[self._start]
        total = before[self._last][word]
        share = np.exp(before[self._start] + scores[self._piece] + after[self._end] - total)
        return np.bincount(self._piece, share * times[word], self._num_pieces).astype(np.float64)

    def best_scores(self, scores: Floats) -> Floats:
        """Give the log-probability of the best spelling of each word."""
        best = np.full(len(self._word), -np.inf)
        best[self._first] = 0
        for edges, groups in self._forward:
            reached = best[self._start[edges]] + scores[self._piece[edges]]
            best[self._end[edges[groups]]] = np.maximum.reduceat(reached, groups)
        scores_of_words: Floats = best[self._last]
        return scores_of_words

    def _sums(
        self, scores: Floats, levels: list[tuple[Integers, Integers]], origin: Integers, come_from: Integers
    ) -> Floats:
        """Sum, in log space, over all ways from the origin of its word to each node."""
        go_to = self._end if come_from is self._start else self._start
        sums = np.full(len(self._word), -np.inf)
        sums[origin] = 0
        for edges, groups in levels:
            reached = sums[come_from[edges]] + scores[self._piece[edges]]
            highest = np.maximum.reduceat(reached, groups)
            sizes = np.diff(groups, append=len(edges))
            shares = np.add.reduceat(np.exp(reached - np.repeat(highest, sizes)), groups)
            sums[go_to[edges[groups]]] = highest + np.log(shares)
        return sums


def _levels(nodes: Integers, distances: Integers) -> list[tuple[Integers, Integers]]:
    """Group edges by the distance of a node from its word's edge: per distance, edges and where a new node begins."""
    order = np.lexsort((nodes, distances))
    cuts = np.flatnonzero(np.diff(distances[order])) + 1
    levels = []
    for edges in np.split(order, cuts):
        new = np.flatnonzero(np.diff(nodes[edges], prepend=-1))
        levels.append((edges, new))
    return levels
