"""Sentences put together for one run of a model, those of like length in one batch."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from regard.data.tokenizers import Encoding
from regard.errors import DataError, OptionError, counted


class PairBatch(NamedTuple):
    """Sentence pairs put together, with the numbers that they have among all."""

    numbers: list[int]
    sources: list[Encoding]
    targets: list[Encoding]
    source: Int[Tensor, "B S"]
    source_lengths: Int[Tensor, "B"]
    target: Int[Tensor, "B T"]
    labels: Int[Tensor, "B T"]


def list_of_texts(name: str, texts: Iterable[str]) -> list[str]:
    """Return texts as a list, or raise: a text alone would be taken letter by letter."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise DataError(f"{name} must be a list of texts, also of a single one; it is {repr(texts)[:40]}.")
    texts = list(texts)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"{name} must hold texts; number {number}, counted from 0, is {repr(text)[:40]}.")
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise DataError(f"{name} must be Unicode; number {number}, counted from 0, has half a surrogate pair.")
    return texts


def text_pairs(sources: Iterable[str], targets: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return both sides as lists of one length, or raise."""
    sources, targets = list_of_texts("sources", sources), list_of_texts("targets", targets)
    if len(sources) != len(targets):
        raise DataError(
            f"{counted(len(sources), 'source')} and {counted(len(targets), 'target')} are given: give one for each."
        )
    return sources, targets


def batches_of_like_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Yield the numbers of the sentences that have a length above 0, the longest first."""
    if batch_size < 1:
        raise OptionError(f"batch_size must be at least 1; it is {batch_size}.")
    order = sorted((n for n, length in enumerate(lengths) if length), key=lambda n: -lengths[n])
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def padded(rows: Sequence[Sequence[int]], filler: int) -> Int[Tensor, "B N"]:
    """Put rows of different length into one tensor."""
    result = torch.full((len(rows), max(map(len, rows))), filler)
    for number, row in enumerate(rows):
        result[number, : len(row)] = torch.tensor(row)
    return result
