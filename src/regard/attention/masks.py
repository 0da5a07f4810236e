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

from regard.attention.grid import Extent, rank_four

Block = Literal["empty", "full", "mixed"]


class Mask:
    """Which keys a query may look at.

    A new mask defines `allows`, and `check` and `keep` if it holds tensors; `block`, `seen` and `same_for_queries`
    make it cheaper and may be left out.
    """

    @property
    def same_for_queries(self) -> bool:
        """Whether it speaks of keys alone: the same for every query and every head."""
        return False

    def check(self, extent: Extent) -> None:
        """Raise if the mask does not fit a grid; one that holds no tensor fits any."""

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
        """Return the whole mask, for a grid that it fits, as a boolean tensor that broadcasts to [B H Q K]."""
        return rank_four(self.allows(*extent.indices()))

    def seen(self, extent: Extent) -> Bool[Tensor, "#B K"] | None:
        """Return which keys any query of their batch entry may see; None means all of them."""
        if self.whole(extent) == "full":
            return None
        seen = self.dense(extent).any(dim=2).any(dim=1)
        return seen.expand(-1, extent.keys)

    def may_blind(self, extent: Extent) -> bool:
        """Say whether some query may see nothing. Never wrong in saying no; yes also means unknown."""
        return self.whole(extent) != "full"

    def keep(self, entries: Int[Tensor, "N"]) -> "Mask":
        """Return the mask of the chosen batch entries, in this order; one that is the same for all stays."""
        return self

    def __and__(self, other: "Mask") -> "Mask":
        if not isinstance(other, Mask):
            return NotImplemented
        if isinstance(self, Everything):
            return other
        return self if isinstance(other, Everything) else Both(self, other)

    def __or__(self, other: "Mask") -> "Mask":
        return Either(self, other) if isinstance(other, Mask) else NotImplemented

    def __invert__(self) -> "Mask":
        return Opposite(self)


@dataclass(frozen=True, eq=False)
class Everything(Mask):
    """Every query may look at every key."""

    @property
    def same_for_queries(self) -> bool:
        """It is."""
        return True

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Allow all."""
        return torch.ones_like(key, dtype=torch.bool)

    def block(self, queries: range, keys: range) -> Block:
        """All of it."""
        return "full"


@dataclass(frozen=True, eq=False)
class Joined(Mask):
    """Two masks as one."""

    left: Mask
    right: Mask

    @property
    def same_for_queries(self) -> bool:
        """Whether both are."""
        return self.left.same_for_queries and self.right.same_for_queries

    def check(self, extent: Extent) -> None:
        """Check both."""
        self.left.check(extent)
        self.right.check(extent)

    def keep(self, entries: Int[Tensor, "N"]) -> "Joined":
        """Choose on both sides."""
        return type(self)(self.left.keep(entries), self.right.keep(entries))


class Both(Joined):
    """What both masks allow."""

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
        """Where one mask is the same for all queries, a key that it leaves is seen if the other mask shows it."""
        if not (self.left.same_for_queries or self.right.same_for_queries):
            return super().seen(extent)
        left, right = self.left.seen(extent), self.right.seen(extent)
        if left is None or right is None:
            return right if left is None else left
        return left & right

    def dense(self, extent: Extent) -> Bool[Tensor, "#B #H #Q #K"]:
        """Join the tensors, leaving out a side that allows everything."""
        if self.left.whole(extent) == "full":
            return self.right.dense(extent)
        if self.right.whole(extent) == "full":
            return self.left.dense(extent)
        return self.left.dense(extent) & self.right.dense(extent)


class Either(Joined):
    """What at least one of the masks allows."""

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Join the answers."""
        return self.left.allows(batch, head, query, key) | self.right.allows(batch, head, query, key)

    def block(self, queries: range, keys: range) -> Block:
        """Full if one is, empty if both are."""
        left, right = self.left.block(queries, keys), self.right.block(queries, keys)
        if "full" in (left, right):
            return "full"
        return "empty" if left == right == "empty" else "mixed"

    def seen(self, extent: Extent) -> Bool[Tensor, "#B K"] | None:
        """A key is seen that one of them shows."""
        left, right = self.left.seen(extent), self.right.seen(extent)
        return None if left is None or right is None else left | right

    def dense(self, extent: Extent) -> Bool[Tensor, "#B #H #Q #K"]:
        """Join the tensors."""
        return self.left.dense(extent) | self.right.dense(extent)


@dataclass(frozen=True, eq=False)
class Opposite(Mask):
    """What the mask does not allow. Inside torch.compile write this, not `~`, which Dynamo (2.13) cannot trace."""

    mask: Mask

    @property
    def same_for_queries(self) -> bool:
        """Whether the mask is."""
        return self.mask.same_for_queries

    def check(self, extent: Extent) -> None:
        """Check the mask."""
        self.mask.check(extent)

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


def for_every_query(mask: Mask) -> Mask:
    """Return what a mask says of keys whatever the query; it never hides more than the mask."""
    if mask.same_for_queries:
        return mask
    return for_every_query(mask.left) & for_every_query(mask.right) if isinstance(mask, Both) else Everything()
