"""Masks: which keys a query may look at. A mask is a value, and True means *may look*.

A mask answers by positions, so the same value serves a dense tensor, a block, and FlexAttention, and is right
with a cache, with left padding, and when queries and keys differ in number. Masks join with `&`, `|` and `~`.
What is added to scores is a `Bias` (biases.py), never a mask.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from regard.attention.grid import Extent, check_covers, look_up
from regard.errors import ShapeError

Block = Literal["empty", "full", "mixed"]


class Mask:
    """Which keys a query may look at.

    A new mask defines `allows`; `block` and `seen` make it cheaper and may be left out.
    """

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Say for each index whether the query may look at the key.

        The four are integer tensors that broadcast against each other; `query` and `key` are positions.
        """
        raise NotImplementedError

    def block(self, queries: range, keys: range) -> Block:
        """Say whether a block is allowed nowhere, everywhere, or in part, for all batch entries and heads.

        Never wrong in saying "empty" or "full"; "mixed" also means unknown.
        """
        return "mixed"

    def whole(self, extent: Extent) -> Block:
        """Answer `block` for all of a grid."""
        return self.block(extent.query_positions, extent.key_positions)

    def dense(self, extent: Extent) -> Bool[Tensor, "#B #H #Q #K"]:
        """Return the whole mask as a boolean tensor that broadcasts to [B H Q K]."""
        return rank_four(self.allows(*extent.indices()))

    def seen(self, extent: Extent) -> Bool[Tensor, "#B K"] | None:
        """Return which keys any query of their batch entry may see; None means all of them."""
        if self.whole(extent) == "full":
            return None
        seen = self.dense(extent).any(dim=2).any(dim=1)
        return seen.expand(-1, extent.keys)

    def keep(self, entries: Int[Tensor, "N"]) -> "Mask":
        """Return the mask of the chosen batch entries, in this order; one that is the same for all stays."""
        return self

    def __and__(self, other: "Mask") -> "Mask":
        if isinstance(self, Everything):
            return other
        return self if isinstance(other, Everything) else Both(self, other)

    def __or__(self, other: "Mask") -> "Mask":
        return Either(self, other)

    def __invert__(self) -> "Mask":
        return Opposite(self)


@dataclass(frozen=True, eq=False)
class Everything(Mask):
    """Every query may look at every key."""

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Allow all."""
        return torch.ones_like(batch + head + query + key, dtype=torch.bool)

    def block(self, queries: range, keys: range) -> Block:
        """All of it."""
        return "full"


@dataclass(frozen=True, eq=False)
class Causal(Mask):
    """A query may look at keys up to its own position (Vaswani et al. 2017, 3.2.3)."""

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Allow keys at or before the query."""
        return key <= query

    def seen(self, extent: Extent) -> Bool[Tensor, "#B K"] | None:
        """The last query sees the most."""
        last = extent.offset + extent.queries - 1
        return None if extent.keys - 1 <= last else torch.arange(extent.keys, device=extent.device)[None] <= last

    def block(self, queries: range, keys: range) -> Block:
        """Compare the block's corners."""
        if keys.stop - 1 <= queries.start:
            return "full"
        return "empty" if keys.start > queries.stop - 1 else "mixed"


@dataclass(frozen=True, eq=False)
class Window(Mask):
    """A query may look `before` positions back and `after` positions ahead of its own.

    With `before = after = D` this is local-m attention (Luong et al. 2015, 3.2), whose center is the step's number.
    """

    before: int
    after: int

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Allow keys within reach."""
        return (key >= query - self.before) & (key <= query + self.after)

    def block(self, queries: range, keys: range) -> Block:
        """Compare the block's corners."""
        first, last = queries.start, queries.stop - 1
        if keys.start >= last - self.before and keys.stop - 1 <= first + self.after:
            return "full"
        if keys.stop - 1 < first - self.before or keys.start > last + self.after:
            return "empty"
        return "mixed"


class Padding(Mask):
    """Keys from `starts` (0 where not given) up to `lengths`, each a number a batch entry, hold something.

    The numbers are kept on the host too, so that blocks are answered without asking the device.
    """

    def __init__(self, lengths: Int[Tensor, "B"], starts: Int[Tensor, "B"] | None = None) -> None:
        self.lengths = lengths
        self.starts = starts
        self.host_lengths: list[int] = lengths.tolist()
        self.host_starts: list[int] = [0] * len(self.host_lengths) if starts is None else starts.tolist()

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Allow the keys that hold something."""
        inside = key < self.lengths.to(key.device)[batch]
        return inside if self.starts is None else inside & (key >= self.starts.to(key.device)[batch])

    def block(self, queries: range, keys: range) -> Block:
        """Compare the block with the shortest and the longest row."""
        if keys.start >= max(self.host_starts) and keys.stop <= min(self.host_lengths):
            return "full"
        if keys.stop <= min(self.host_starts) or keys.start >= max(self.host_lengths):
            return "empty"
        return "mixed"

    def seen(self, extent: Extent) -> Bool[Tensor, "#B K"] | None:
        """Every query sees the same keys."""
        if self.whole(extent) == "full":
            return None
        batch, head, query, key = extent.indices()
        return self.allows(batch, head, query[:1], key).view(-1, extent.keys)

    def keep(self, entries: Int[Tensor, "N"]) -> "Padding":
        """Choose lengths and starts."""
        chosen = entries.to(self.lengths.device)
        return Padding(self.lengths[chosen], None if self.starts is None else self.starts[chosen])


class TensorMask(Mask):
    """A boolean tensor of rank 2 to 4 that broadcasts to [B H Q K], True = may look.

    Its row i speaks of the query at position `first_query + i`.
    """

    def __init__(self, allowed: Bool[Tensor, "..."], *, first_query: int = 0) -> None:
        if allowed.dtype != torch.bool:
            raise ShapeError(
                f"A mask is boolean, True = may look; this one is {allowed.dtype}. "
                "Use mask > 0 for zeros and ones, or TensorBias for numbers that are added to scores."
            )
        if not 2 <= allowed.dim() <= 4:
            raise ShapeError(
                f"A mask has the axes [batch, heads, queries, keys] or the last two or three of them; "
                f"this one has shape {list(allowed.shape)}."
            )
        self.allowed = rank_four(allowed)
        self.first_query = first_query

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Look the answer up."""
        return look_up(self.allowed, batch, head, query - self.first_query, key)

    def dense(self, extent: Extent) -> Bool[Tensor, "#B #H #Q #K"]:
        """Cut out the rows asked for, without copying."""
        start = extent.offset - self.first_query
        check_covers("mask", self.allowed, self.first_query, extent)
        if self.allowed.shape[2] in (1, extent.queries):
            return self.allowed
        return self.allowed[:, :, start : start + extent.queries]

    def keep(self, entries: Int[Tensor, "N"]) -> "TensorMask":
        """Choose batch entries, where there are several."""
        several = self.allowed.shape[0] > 1
        return TensorMask(self.allowed[entries] if several else self.allowed, first_query=self.first_query)


@dataclass(frozen=True, eq=False)
class Around(Mask):
    """Keys at most `reach` away from a center that each query computes: the window of local-p (Luong et al. 2015, 3.2).

    `centers` holds positions, [B H Q] (sizes of 1 broadcast); its row i is that of position `first_query + i`.
    """

    centers: Tensor
    reach: int
    first_query: int = 0

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Allow keys near the center."""
        return (key - look_up(self.centers, batch, head, query - self.first_query)).abs() <= self.reach

    def keep(self, entries: Int[Tensor, "N"]) -> "Around":
        """Choose the centers."""
        several = self.centers.shape[0] > 1
        return Around(self.centers[entries] if several else self.centers, self.reach, self.first_query)


@dataclass(frozen=True, eq=False)
class Both(Mask):
    """What both masks allow."""

    left: Mask
    right: Mask

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Join the answers."""
        return self.left.allows(batch, head, query, key) & self.right.allows(batch, head, query, key)

    def block(self, queries: range, keys: range) -> Block:
        """Empty if one is, full if both are."""
        left, right = self.left.block(queries, keys), self.right.block(queries, keys)
        if "empty" in (left, right):
            return "empty"
        return "full" if left == right == "full" else "mixed"

    def seen(self, extent: Extent) -> Bool[Tensor, "#B K"] | None:
        """A key that padding leaves is seen if the other mask shows it; without padding, look at every pair."""
        if not (isinstance(self.left, Padding) or isinstance(self.right, Padding)):
            return super().seen(extent)
        left, right = self.left.seen(extent), self.right.seen(extent)
        if left is None or right is None:
            return right if left is None else left
        return left & right

    def keep(self, entries: Int[Tensor, "N"]) -> "Both":
        """Choose on both sides."""
        return Both(self.left.keep(entries), self.right.keep(entries))

    def dense(self, extent: Extent) -> Bool[Tensor, "#B #H #Q #K"]:
        """Join the tensors, leaving out a side that allows everything."""
        if self.left.whole(extent) == "full":
            return self.right.dense(extent)
        if self.right.whole(extent) == "full":
            return self.left.dense(extent)
        return self.left.dense(extent) & self.right.dense(extent)


@dataclass(frozen=True, eq=False)
class Either(Mask):
    """What at least one of the masks allows."""

    left: Mask
    right: Mask

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Join the answers."""
        return self.left.allows(batch, head, query, key) | self.right.allows(batch, head, query, key)

    def block(self, queries: range, keys: range) -> Block:
        """Full if one is, empty if both are."""
        left, right = self.left.block(queries, keys), self.right.block(queries, keys)
        if "full" in (left, right):
            return "full"
        return "empty" if left == right == "empty" else "mixed"

    def keep(self, entries: Int[Tensor, "N"]) -> "Either":
        """Choose on both sides."""
        return Either(self.left.keep(entries), self.right.keep(entries))

    def dense(self, extent: Extent) -> Bool[Tensor, "#B #H #Q #K"]:
        """Join the tensors."""
        return self.left.dense(extent) | self.right.dense(extent)


@dataclass(frozen=True, eq=False)
class Opposite(Mask):
    """What the mask does not allow."""

    mask: Mask

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Turn the answer round."""
        return ~self.mask.allows(batch, head, query, key)

    def block(self, queries: range, keys: range) -> Block:
        """Turn the answer round."""
        inner = self.mask.block(queries, keys)
        return {"empty": "full", "full": "empty", "mixed": "mixed"}[inner]  # type: ignore[return-value]

    def keep(self, entries: Int[Tensor, "N"]) -> "Opposite":
        """Choose in the mask."""
        return Opposite(self.mask.keep(entries))

    def dense(self, extent: Extent) -> Bool[Tensor, "#B #H #Q #K"]:
        """Turn the tensor round."""
        return ~self.mask.dense(extent)


def conjuncts(mask: Mask) -> list[Mask]:
    """Return the masks that `mask` joins with `&`, in order; a mask that joins nothing is alone."""
    return conjuncts(mask.left) + conjuncts(mask.right) if isinstance(mask, Both) else [mask]


def rank_four(tensor: Tensor) -> Tensor:
    """Put axes of size 1 in front until there are four."""
    return tensor[(None,) * (4 - tensor.dim())]
