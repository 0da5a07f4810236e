"""Other spellings of words, so that a small text is never read twice alike: BPE-dropout (Provilkov et al. 2020).

A word that a tokenizer always spells with the same pieces teaches a model nothing about these pieces' own pieces.
While training, merges are left out at random, and the model learns how words are put together; what is translated
later is spelled as ever.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from regard.data.batches import ParallelSet, TokenRows
from regard.data.text import Pairs
from regard.data.tokenizers import Tokenizer, TokenizerPair
from regard.errors import OptionError

SPELLINGS = 10
"""How many spellings of a word are drawn beforehand; each of its places takes one of them anew in every epoch."""


class Spellings:
    """The lines of one side, spelled anew in every epoch.

    What an epoch brings depends on the seed and the epoch alone. The work of drawing goes with the number of distinct
    words, once.

    Args:
        tokenizer: A BPE tokenizer.
        lines: The text.
        dropout: The share of merges that are left out, 0.1 in the paper.
        max_length: A line that would have more tokens is spelled as the tokenizer spells it.
        seed: Of what is drawn.
    """

    def __init__(
        self, tokenizer: Tokenizer, lines: Sequence[str], *, dropout: float, max_length: int, seed: int
    ) -> None:
        if tokenizer.form.kind != "bpe":
            raise OptionError(f"Only a BPE tokenizer has merges to leave out; this one is {tokenizer.form.kind}.")
        self.max_length, self.seed = max_length, seed
        words = dict.fromkeys(chain.from_iterable(line.split(" ") for line in lines if line))
        number_of = {word: number for number, word in enumerate(words)}
        self._places = TokenRows.gather([number_of[word] for word in line.split(" ")] if line else [] for line in lines)
        draw = random.Random(seed).random  # noqa: S311 (nothing here is secret)
        pieces = {piece: number for number, piece in enumerate(tokenizer.vocabulary.pieces)}
        ranks = {pair: rank for rank, pair in enumerate(tokenizer.vocabulary.merges)}
        cut = (tokenizer.parts(word) for word in words)
        self._spelled = TokenRows.gather(
            [pieces[piece] for part in parts for piece in merged(part, ranks, left_out, draw)]
            for parts in cut
            for left_out in (0.0, *[dropout] * SPELLINGS)
        )

    def epoch(self, epoch: int) -> TokenRows:
        """Draw a spelling for every place."""
        drawn = 1 + np.random.default_rng((self.seed, epoch)).integers(SPELLINGS, size=len(self._places.ids))
        rows = self.spelled(drawn)
        too_long = rows.lengths > self.max_length
        if too_long.any():
            drawn[too_long.repeat_interleave(self._places.lengths).numpy()] = 0
            rows = self.spelled(drawn)
        return rows

    def spelled(self, drawn: npt.NDArray[np.int64]) -> TokenRows:
        """Put together the lines of these spellings, one a place; 0 is the tokenizer's own."""
        lengths, ids = self._spelled.lengths.numpy(), self._spelled.ids.numpy()
        begins = lengths.cumsum() - lengths
        chosen = (SPELLINGS + 1) * self._places.ids.numpy().astype(np.int64) + drawn
        sizes = lengths[chosen]
        ends = np.concatenate(([0], sizes.cumsum()))
        places = np.arange(ends[-1]) + np.repeat(begins[chosen] - ends[:-1], sizes)
        of_lines = np.diff(ends[np.concatenate(([0], self._places.lengths.numpy().cumsum()))])
        return TokenRows(torch.from_numpy(ids[places]), torch.from_numpy(of_lines))


def merged(part: str, ranks: Mapping[tuple[str, str], int], dropout: float, draw: Callable[[], float]) -> Sequence[str]:
    """Merge letters to pieces, the merge of least rank first, each left out with a probability every time anew.

    Args:
        part: Letters.
        ranks: The merges.
        dropout: The probability; 0 is plain BPE (Sennrich et al. 2016).
        draw: Gives a number between 0 and 1.
    """
    pieces = list(part)
    while True:
        possible = [
            (ranks[pair], place)
            for place, pair in enumerate(pairwise(pieces))
            if pair in ranks and (not dropout or draw() >= dropout)
        ]
        if not possible:
            return pieces
        _, place = min(possible)
        pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]


class RespelledSet:
    """Pairs of which both sides are spelled anew in every epoch."""

    def __init__(self, pairs: Pairs, tokenizers: TokenizerPair, *, dropout: float, max_length: int, seed: int) -> None:
        self.lines = pairs.lines
        chosen: Any = {"dropout": dropout, "max_length": max_length}
        self.source = Spellings(tokenizers.source, pairs.sources, seed=seed, **chosen)
        self.target = Spellings(tokenizers.target, pairs.targets, seed=seed + 1, **chosen)

    def epoch(self, epoch: int) -> ParallelSet:
        """Return the pairs as an epoch has them."""
        return ParallelSet(self.source.epoch(epoch), self.target.epoch(epoch), self.lines)
