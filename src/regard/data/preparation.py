"""From pairs of sentences to a set that batches are made of; what cannot be trained on is left out by name."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from regard.data.batches import ParallelSet, TokenRows
from regard.data.text import WORD, Pairs
from regard.data.tokenizers import TokenizerPair
from regard.errors import DataError, counted


@dataclass(frozen=True)
class Prepared:
    """Encoded pairs, and which were left out.

    Attributes:
        examples: The pairs to train on.
        kept: Which of all pairs these are.
        empty: Line numbers of pairs with a side that has no word.
        too_long: Line numbers of pairs with a side of more than `max_length` tokens.
        max_length: The limit.
        source: Ids of all pairs, those left out among them.
        target: The same for the other side.
        tokenizers: What they were encoded with.
    """

    examples: ParallelSet
    kept: list[int]
    empty: list[int]
    too_long: list[int]
    max_length: int
    source: TokenRows
    target: TokenRows
    tokenizers: TokenizerPair


def prepare(pairs: Pairs, tokenizers: TokenizerPair, *, max_length: int) -> Prepared:
    """Encode pairs, and leave out those with an empty side or one of more than `max_length` tokens.

    Begin and end of sentence do not count as tokens.

    Raises:
        DataError: No pair is left.
    """
    source = TokenRows.gather(tokenizers.source.encode_ids(pairs.sources))
    target = TokenRows.gather(tokenizers.target.encode_ids(pairs.targets))
    empty = torch.tensor(
        [
            not (WORD.search(one) and WORD.search(other))
            for one, other in zip(pairs.sources, pairs.targets, strict=True)
        ],
        dtype=torch.bool,
    )
    too_long = (torch.maximum(source.lengths, target.lengths) > max_length) & ~empty
    kept = ~(empty | too_long)
    if not kept.any():
        raise DataError(
            f"None of the {counted(len(pairs), 'pair')} can be used: {int(empty.sum()):,} have an empty side and "
            f"{int(too_long.sum()):,} have more than {counted(max_length, 'token')} on a side. "
            "Raise the limit, or look at the files."
        )
    examples = ParallelSet(source.keep(kept), target.keep(kept), _lines(pairs, kept))
    left_out = _lines(pairs, empty), _lines(pairs, too_long)
    return Prepared(examples, kept.nonzero()[:, 0].tolist(), *left_out, max_length, source, target, tokenizers)


def _lines(pairs: Pairs, chosen: Bool[Tensor, "R"]) -> list[int]:
    return [pairs.lines[index] for index in chosen.nonzero()[:, 0].tolist()]
