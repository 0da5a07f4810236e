"""Sentences put together for one run of a model, those of like length in one batch."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from regard.data.tokenizers import Encoding


class PairBatch(NamedTuple):
    """Sentence pairs put together, with the numbers that they have among all."""

    numbers: list[int]
    sources: list[Encoding]
    targets: list[Encoding]
    source: Int[Tensor, "B S"]
    source_lengths: Int[Tensor, "B"]
    target: Int[Tensor, "B T"]
    labels: Int[Tensor, "B T"]


def batches_of_like_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Yield the numbers of the sentences that have a length above 0, the longest first."""
    order = sorted((n for n, length in enumerate(lengths) if length), key=lambda n: -lengths[n])
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def padded(rows: Sequence[Sequence[int]], filler: int) -> Int[Tensor, "B N"]:
    """Put rows of different length into one tensor."""
    result = torch.full((len(rows), max(map(len, rows))), filler)
    for number, row in enumerate(rows):
        result[number, : len(row)] = torch.tensor(row)
    return result
