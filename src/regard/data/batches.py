"""Batches of sentence pairs, of like lengths and a bounded number of tokens, in an order that can be resumed.

The order of an epoch depends on the seed and the epoch alone, so a place in the data is two numbers, epoch and
position, and any loader goes on from there with the same batches, with worker processes or without.

The tokens of a side of a batch, padding counted, are a multiple of 32 wherever that costs little. PyTorch's products in
half precision on CPUs are compiled for each shape that comes, and forgotten when a thousand others came: what has no
remainder is compiled in less than half the time, and fewer shapes come (`benchmarks/batches.py`).
"""

import math
from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Int, Int32
from torch import Tensor
from torch.utils.data import Dataset

from regard.data.tokenizers import Tokenizer
from regard.errors import DataError, OptionError

IGNORED = -100
"""The label of a place that has none."""

MULTIPLE = 32
"""What the tokens of a side are a multiple of."""
COST = 16
"""Padding for that is at most a 16th of the places."""


class Batch(NamedTuple):
    """Sentence pairs with padding at their ends.

    Attributes:
        source: Ids and the end of sentence.
        source_lengths: With the end of sentence.
        target: What a decoder reads: the begin of sentence and ids.
        labels: What it should answer: ids and the end of sentence; `IGNORED` on padding.
        target_lengths: With the begin of sentence.
        indices: Number of each pair in the data set.
    """

    source: Int[Tensor, "B S"]
    source_lengths: Int[Tensor, "B"]
    target: Int[Tensor, "B T"]
    labels: Int[Tensor, "B T"]
    target_lengths: Int[Tensor, "B"]
    indices: tuple[int, ...]


class TokenRows:
    """Rows of ids in one array: four bytes an id, and no object that a forked worker would copy by counting it."""

    def __init__(self, ids: Int32[Tensor, "N"], lengths: Int[Tensor, "R"]) -> None:
        self.ids = ids
        self.lengths = lengths
        self._begins = lengths.cumsum(0) - lengths

    @classmethod
    def gather(cls, rows: Iterable[Sequence[int]]) -> "TokenRows":
        """Store rows one after the other."""
        ids, lengths = array("i"), array("q")
        for row in rows:
            ids.extend(row)
            lengths.append(len(row))
        return cls(torch.tensor(ids, dtype=torch.int32), torch.tensor(lengths, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> list[int]:
        begin = int(self._begins[index])
        ids: list[int] = self.ids[begin : begin + int(self.lengths[index])].tolist()
        return ids

    def keep(self, chosen: Bool[Tensor, "R"]) -> "TokenRows":
        """Take the chosen rows alone."""
        return TokenRows(self.ids[chosen.repeat_interleave(self.lengths)], self.lengths[chosen])

    def stack(self, indices: Sequence[int], *, padding: int, column: int = 0) -> npt.NDArray[np.int64]:
        """Put rows over each other, beginning at a column (0 or 1), in a table wider than the longest row."""
        begins, lengths = self._begins.numpy()[indices], self.lengths.numpy()[indices]
        width = padded(int(lengths.max()) + 1, len(indices))
        table = np.full((len(indices), width), padding, dtype=np.int64)
        rows, places = (np.arange(lengths.max()) < lengths[:, None]).nonzero()
        table[rows, places + column] = self.ids.numpy()[begins[rows] + places]
        return table


class ParallelSet(Dataset[tuple[list[int], list[int]]]):
    """Encoded sentence pairs.

    Attributes:
        source: Ids without begin and end of sentence.
        target: The same.
        lines: Where each pair stands in its file, from 1.
    """

    def __init__(self, source: TokenRows, target: TokenRows, lines: Sequence[int] | None = None) -> None:
        assert len(source) == len(target)
        self.source = source
        self.target = target
        self.lines = torch.tensor(range(1, len(source) + 1) if lines is None else lines, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[list[int], list[int]]:
        return self.source[index], self.target[index]

    def batch(self, indices: Sequence[int]) -> Batch:
        """Make a batch of the pairs with these numbers, in this order."""
        rows = np.arange(len(indices))
        source_lengths, target_lengths = self.source.lengths.numpy()[indices], self.target.lengths.numpy()[indices]
        source = self.source.stack(indices, padding=Tokenizer.pad_id)
        source[rows, source_lengths] = Tokenizer.eos_id
        target = self.target.stack(indices, padding=Tokenizer.pad_id, column=1)
        target[:, 0] = Tokenizer.bos_id
        labels = self.target.stack(indices, padding=IGNORED)
        labels[rows, target_lengths] = Tokenizer.eos_id
        return Batch(
            source=torch.from_numpy(source),
            source_lengths=torch.from_numpy(source_lengths + 1),
            target=torch.from_numpy(target),
            labels=torch.from_numpy(labels),
            target_lengths=torch.from_numpy(target_lengths + 1),
            indices=tuple(indices),
        )

    __getitems__ = batch  # what a DataLoader asks for when it wants a batch


class TokenBudget:
    """Puts pairs of like lengths into batches of at most so many tokens a side, padding counted.

    An epoch's pairs are shuffled, sorted by length (of the target, then of the source), cut into batches, and the
    batches shuffled. So the company of a pair changes among pairs of its lengths, and nothing is left out. A pair
    that is longer than the budget is a batch of its own. The pairs of a batch are a multiple of 32, of fewer where
    there are fewer than 128.
    """

    def __init__(self, dataset: ParallelSet, *, tokens: int, seed: int = 1) -> None:
        if tokens < 1:
            raise OptionError(f"A batch must have room for at least 1 token; it is given {tokens}.")
        if not len(dataset):
            raise DataError("There is no pair to make batches of.")
        self.tokens = tokens
        self.seed = seed
        self._source_lengths = dataset.source.lengths.numpy() + 1  # with the end of sentence
        self._target_lengths = dataset.target.lengths.numpy() + 1

    def batches(self, epoch: int) -> list[list[int]]:
        """Give the numbers of the pairs of each batch of an epoch; the same for the same seed and epoch."""
        random = np.random.default_rng((self.seed, epoch))
        order = random.permutation(len(self._target_lengths))
        source, target = self._source_lengths[order], self._target_lengths[order]
        # Sources run up and down by turns, so that a batch over two lengths of targets has sources of like lengths.
        order = order[np.lexsort((np.where(target % 2, source, -source), target))]
        batches = self._cut(order.tolist())
        return [batches[number] for number in random.permutation(len(batches))]

    def _cut(self, order: list[int]) -> list[list[int]]:
        lengths = np.maximum(self._source_lengths, self._target_lengths)[order].tolist()
        batches: list[list[int]] = []
        start = 0
        while start < len(order):
            stop, longest = start + 1, lengths[start]
            while stop < len(order) and max(longest, lengths[stop]) * (stop + 1 - start) <= self.tokens:
                longest = max(longest, lengths[stop])
                stop += 1
            rows = stop - start
            if stop < len(order) or rows * padded(longest, rows) > self.tokens:
                rows = whole(rows, longest, self.tokens)
            batches.append(order[start : start + rows])
            start += rows
        return batches


def whole(rows: int, width: int, tokens: int) -> int:
    """Return the most rows, up to so many, that are a multiple of as much as they are four of, and fit when padded."""
    multiple = min(MULTIPLE, 1 << max(0, (rows // 4).bit_length() - 1))
    rows -= rows % multiple
    while rows > multiple and rows * padded(width, rows) > tokens:
        rows -= multiple
    return rows


def padded(width: int, rows: int) -> int:
    """Return the width of a table with so many rows whose places are a multiple of 32, where that costs little."""
    step = MULTIPLE // math.gcd(rows, MULTIPLE)
    return width + -width % step if step * COST <= width else width
