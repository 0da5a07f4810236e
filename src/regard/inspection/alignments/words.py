"""From attention between subwords to attention between words, and from there to links.

Words are what people read and what gold alignments count, so they are the unit of pictures and of alignments.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regard.errors import OptionError, ShapeError
from regard.inspection.alignments.links import Links, symmetrize


def merge_words(
    weights: Float[Tensor, "*batch Q K"],
    query_words: Sequence[int],
    key_words: Sequence[int],
    *,
    num_query_words: int | None = None,
    num_key_words: int | None = None,
    wordless: Literal["drop", "keep"] = "drop",
) -> Float[Tensor, "*batch Wq Wk"]:
    """Merge subwords into words: the keys of a word are summed, its queries averaged, so row sums survive.

    A query word's row is how its subwords looked on average; a key word's column is all that it received.
    Half precision comes back as float32.

    Args:
        weights: Attention between subwords; leading axes (batch, heads) stay.
        query_words: For each query the index of its word; -1 if it belongs to none (end of sentence).
        key_words: The same for each key.
        num_query_words: Rows to give; default: up to the largest index. A word without subwords gets zeros.
        num_key_words: Columns to give, likewise.
        wordless: "drop" leaves positions without a word out and scales each row up to its former sum, as if it had
            looked at words only; a row that looked at nothing else becomes zeros. "keep" adds a last row for all
            such queries, and a last column for all such keys, where there are any.
    """
    queries, keys = weights.shape[-2:]
    for side, words, size in (("query_words", query_words, queries), ("key_words", key_words, keys)):
        if len(words) != size:
            raise ShapeError(
                f"{side} names {len(words)} positions, but weights of shape {tuple(weights.shape)} have {size}:"
                " give the index of a word for each, or -1."
            )
    weights = weights.to(torch.promote_types(weights.dtype, torch.float32))
    rows = _members("query_words", query_words, num_query_words, weights)
    columns = _members("key_words", key_words, num_key_words, weights)
    merged = (rows / rows.sum(-1, keepdim=True).clamp(min=1)) @ weights @ columns.T  # [*batch Wq+1 Wk+1]
    if wordless == "keep":
        with_row, with_column = -1 in query_words, -1 in key_words
        return merged[..., : len(rows) - (not with_row), : len(columns) - (not with_column)]
    kept = merged[..., :-1, :-1]
    seen = kept.sum(-1, keepdim=True)
    share = torch.where(seen > 0, merged[..., :-1, :].sum(-1, keepdim=True) / seen, 0)
    return kept * share


def _members(side: str, words: Sequence[int], num_words: int | None, like: Tensor) -> Float[Tensor, "W positions"]:
    """Say which positions make up each word, by ones; the last row holds the positions without a word."""
    largest = max(words, default=-1)
    count = largest + 1 if num_words is None else num_words
    if min(words, default=0) < -1 or largest >= count:
        allowed = "-1 and up" if num_words is None else f"-1 to {count - 1}"
        raise OptionError(
            f"{side} goes from {min(words)} to {largest}, but a word's index is {allowed};"
            " -1 marks a position without a word."
        )
    index = torch.tensor([count if word < 0 else word for word in words], dtype=torch.long, device=like.device)
    members = like.new_zeros(count + 1, len(words))
    return members.scatter_(0, index[None], 1)


def links_from_weights(
    weights: Float[Tensor, "T S"],
    *,
    by: Literal["target", "source"] = "target",
    threshold: float | None = None,
    num_source_words: int | None = None,
    end_share: float = 1.0,
) -> Links:
    """Read links out of attention between words: each target word links to the source word it looked at most.

    Ties go to the first source word; a row of zeros gives no link. The default gives every other target word exactly
    one link, also where most of its weight lies on the end of the sentence. On XL-WA English-Portuguese, with the
    best heads of a Marian Transformer, an `end_share` of 0.5 to 0.9 changed the error rate by 0.2 points at the
    most, and a `threshold` of 0.5 raised it by 1 to 3.

    Args:
        weights: A row for each target word, a column for each source word.
        by: "source" links each source word to the target word that looked at it most; `join_links` joins both.
        threshold: Link to every word with at least this share of the row's (for "source" the column's) largest
            weight, not to the largest alone; above 0, at most 1.
        num_source_words: How many leading columns are words; the rest is the end of the sentence, as
            `merge_words(wordless="keep")` leaves it, and never links. Default: all.
        end_share: Give no link to a target word with more than this share of its weight on the rest.
    """
    targets, columns = weights.shape
    sources = columns if num_source_words is None else num_source_words
    if not 0 <= sources <= columns:
        raise OptionError(f"num_source_words ({sources}) must lie between 0 and the number of columns ({columns}).")
    if by not in ("target", "source"):
        raise OptionError(f"by must be 'target' or 'source'; it is {by!r}.")
    if threshold is not None and not 0 < threshold <= 1:
        raise OptionError(f"threshold ({threshold}) must be above 0 and at most 1: a share of the largest weight.")
    if not 0 <= end_share <= 1:
        raise OptionError(f"end_share ({end_share}) must lie between 0 and 1: a share of a row's weight.")
    if not targets or not sources:
        return frozenset()
    words = weights[:, :sources]
    linked = _largest(words, 1 if by == "target" else 0, threshold)
    linked &= words > 0
    linked &= (words.sum(1) >= (1 - end_share) * weights.sum(1))[:, None]
    return frozenset((source, target) for target, source in linked.nonzero().tolist())


def join_links(
    weights: Float[Tensor, "T S"], method: str = "grow-diag", *, num_source_words: int | None = None
) -> Links:
    """Read links out of one map both ways, by target word and by source word, and join them as two aligners' links.

    Words may go without a link and have several. Same measurement as above: the error rate falls from 18.7 to
    15.6 % (emitting step) and from 16.4 to 14.3 % (reading step), against one link for each target word.

    Args:
        weights: A row for each target word, a column for each source word.
        method: As in `symmetrize`.
        num_source_words: As in `links_from_weights`.
    """
    forward = links_from_weights(weights, num_source_words=num_source_words)
    reverse = links_from_weights(weights, by="source", num_source_words=num_source_words)
    return symmetrize(forward, reverse, method)


def _largest(weights: Float[Tensor, "T S"], axis: int, threshold: float | None) -> Bool[Tensor, "T S"]:
    """Mark the first largest weight along an axis, or all that come near it."""
    if threshold is not None:
        return weights >= threshold * weights.amax(axis, keepdim=True)
    first = weights.argmax(axis, keepdim=True)
    return torch.zeros_like(weights, dtype=torch.bool).scatter_(axis, first, True)
