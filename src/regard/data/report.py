"""What a look at the data shows before hours are spent on it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from regard.data.batches import TokenRows
from regard.data.preparation import Prepared
from regard.data.text import Pairs, split_words
from regard.errors import counted

QUANTILES = {"median": 0.5, "90 %": 0.9, "99 %": 0.99, "longest": 1.0}

_OUT_OF_PROPORTION = 3.0  # times as many tokens as the other side lets expect
_BEYOND_CHANCE = 10  # and so many more; short sentences vary a lot


@dataclass(frozen=True)
class Lengths:
    """How long the sentences of a side are, by `QUANTILES`, and how much of the vocabulary they use.

    Attributes:
        words: In words.
        tokens: In tokens.
        pieces_used: Number of different ids in the pairs to train on.
        vocab_size: Of how many.
    """

    words: list[int]
    tokens: list[int]
    pieces_used: int
    vocab_size: int


@dataclass(frozen=True)
class Report:
    """What is in the data. Lists hold line numbers.

    Attributes:
        pairs: Number of pairs.
        used: Number of pairs to train on.
        empty: Left out: a side has no word.
        too_long: Left out: a side has more than `max_length` tokens.
        duplicates: The same pair stands on a line before.
        copied: Source and target are the same.
        out_of_proportion: A side has over three times the tokens that the other side lets expect, and ten more.
        max_length: The limit.
        source: Lengths of the sources.
        target: Lengths of the targets.
    """

    pairs: int
    used: int
    empty: list[int]
    too_long: list[int]
    duplicates: list[int]
    copied: list[int]
    out_of_proportion: list[int]
    max_length: int
    source: Lengths
    target: Lengths

    def __str__(self) -> str:
        left_out = [
            _listed(self.empty, "with an empty side"),
            _listed(self.too_long, f"of more than {counted(self.max_length, 'token')}"),
        ]
        curious = [
            _listed(self.duplicates, "repeated"),
            _listed(self.copied, "with the source as target"),
            _listed(self.out_of_proportion, "out of proportion"),
        ]
        rows = [f"{counted(self.pairs, 'pair')}, {self.used:,} of them used"]
        rows += [f"  left out: {told}" for told in left_out if told]
        rows += [f"  look at: {told}" for told in curious if told]
        rows.append("  length".ljust(20) + "".join(f"{name:>9}" for name in QUANTILES))
        for name, side in (("source", self.source), ("target", self.target)):
            for unit, lengths in (("words", side.words), ("tokens", side.tokens)):
                rows.append(f"  {name} {unit}".ljust(20) + "".join(f"{length:>9,}" for length in lengths))
        rows += [
            f"  {name} vocabulary: {side.pieces_used:,} of {side.vocab_size:,} pieces are used"
            for name, side in (("source", self.source), ("target", self.target))
        ]
        return "\n".join(rows)


def examine(pairs: Pairs, prepared: Prepared) -> Report:
    """Look at pairs, those left out by `prepare` among them."""
    seen: set[tuple[str, str]] = set()
    duplicates, copied = [], []
    for line, *pair in zip(pairs.lines, pairs.sources, pairs.targets, strict=True):
        if (pair[0], pair[1]) in seen:
            duplicates.append(line)
        seen.add((pair[0], pair[1]))
        if pair[0] == pair[1]:
            copied.append(line)
    examples, tokenizers = prepared.examples, prepared.tokenizers
    return Report(
        pairs=len(pairs),
        used=len(examples),
        empty=prepared.empty,
        too_long=prepared.too_long,
        duplicates=duplicates,
        copied=copied,
        out_of_proportion=_out_of_proportion(pairs, prepared),
        max_length=prepared.max_length,
        source=_lengths_of(pairs.sources, prepared.source, examples.source, tokenizers.source.vocab_size),
        target=_lengths_of(pairs.targets, prepared.target, examples.target, tokenizers.target.vocab_size),
    )


def _lengths_of(texts: list[str], rows: TokenRows, used: TokenRows, vocab_size: int) -> Lengths:
    words = np.array([len(split_words(text)) for text in texts])
    pieces_used = len(np.unique(used.ids.numpy()))
    return Lengths(_quantiles(words), _quantiles(rows.lengths.numpy()), pieces_used, vocab_size)


def _quantiles(lengths: npt.NDArray[np.int64]) -> list[int]:
    return [int(length) for length in np.quantile(lengths, list(QUANTILES.values()), method="higher")]


def _out_of_proportion(pairs: Pairs, prepared: Prepared) -> list[int]:
    source, target = (rows.lengths.numpy().astype(np.float64) for rows in (prepared.source, prepared.target))
    filled = (source > 0) & (target > 0)
    if not filled.any():
        return []
    expected = source * np.median(target[filled] / source[filled])
    shorter, longer = np.minimum(expected, target), np.maximum(expected, target)
    found = filled & (longer > _OUT_OF_PROPORTION * shorter) & (longer - shorter >= _BEYOND_CHANCE)
    return [pairs.lines[index] for index in found.nonzero()[0].tolist()]


def _listed(lines: list[int], what: str) -> str:
    """Say how many pairs are so, and where the first ones stand; nothing if none is."""
    if not lines:
        return ""
    shown = ", ".join(str(line) for line in lines[:5]) + (", ..." if len(lines) > 5 else "")
    return f"{len(lines):,} {what} (line{'s' if len(lines) > 1 else ''} {shown})"
