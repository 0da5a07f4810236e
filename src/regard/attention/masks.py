"""Masks: which keys a query may look at. A mask is a value, and True means *may look*.

A mask answers by positions, so the same value serves a dense tensor, a block, and FlexAttention, and is right
with a cache, with left padding, and when queries and keys differ in number. Masks join with `&`, `|` and `~`.
What is added to scores is a `Bias` (biases.py), never a mask.
"""

from dataclasses import dataclass
from typing import Literal, NoReturn

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from regard.attention.grid import Extent, rank_four
from regard.errors import OptionError

Block = Literal["empty", "full", "mixed"]


class Mask:
    """Which keys a query may look at.

    A new mask defines `allows`, and `check` and `keep` if it holds tensors; `block`, `seen`, `same_for_queries` and
    `sees_itself` make it cheaper and may be left out.
    """

    @property
    def same_for_queries(self) -> bool:
        """Whether it speaks of keys alone: the same for every query and every head."""
        return False

    @property
    def sees_itself(self) -> bool:
        """Whether a key that any query of a head may see is seen there by the query at the key's own position."""
        return self.same_for_queries

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
        """Answer `block` for all of a grid; while torch.compile traces, no size is looked at."""
        return "mixed" if torch.compiler.is_compiling() else self.block(extent.query_positions, extent.key_positions)

    def dense(self, extent: Extent) -> Bool[Tensor, "#B #H #Q #K"]:
        """Return the whole mask, for a grid that it fits, as a boolean tensor that broadcasts to [B H Q K]."""
        return rank_four(self.allows(*extent.indices()))

    def seen(self, extent: Extent) -> Bool[Tensor, "#B K"] | None:
        """Return which keys any query of their batch entry may see; None means all of them."""
        return None if self.whole(extent) == "full" else seen_by_halves(self, extent)

    def may_blind(self, extent: Extent) -> bool:
        """Say whether some query may see nothing. Never wrong in saying no; yes also means unknown."""
        if torch.compiler.is_compiling():
            return True
        queries, keys = extent.query_positions, extent.key_positions
        ends = keys.start, keys.stop - 1
        if extent.queries == 0 or any(self.block(queries, range(end, end + 1)) == "full" for end in ends):
            return False
        # Nor is one whose own position holds a key that somebody may see, if queries see themselves.
        own = extent._replace(first_key=extent.offset, keys=extent.queries)
        return not (self.sees_itself and within(queries, keys) and self.seen(own) is None)

    def keep(self, entries: Int[Tensor, "N"]) -> "Mask":
        """Return the mask of the chosen batch entries, in this order; one that is the same for all stays."""
        return self

    def __and__(self, other: "Mask") -> "Mask":
        if not isinstance(other, Mask):
            refuse_tensor(other)
            return NotImplemented
        if isinstance(other, Everything):
            return self
        return other if isinstance(self, Everything) else Both(self, other)

    def __or__(self, other: "Mask") -> "Mask":
        refuse_tensor(other)
        return Either(self, other) if isinstance(other, Mask) else NotImplemented

    def __rand__(self, other: object) -> "Mask":
        refuse_tensor(other)
        return NotImplemented

    __ror__ = __rand__

    def __invert__(self) -> "Mask":
        return Opposite(self)

    def __bool__(self) -> NoReturn:
        raise OptionError(
            "A mask is neither true nor false. Join masks with &, | and ~; `and`, `or` and `not` would drop one."
        )


def refuse_tensor(other: object) -> None:
    """Raise if a tensor is to be joined with a mask: with a cache nobody knows of which query its first row speaks."""
    if isinstance(other, Tensor):
        raise OptionError(
            "A tensor does not join with masks by itself. Join TensorMask(tensor); its first_query says of which query "
            "the first row speaks, 0 if not given."
        )


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

    def whole(self, extent: Extent) -> Block:
        """All of it, of any size."""
        return "full"

    def may_blind(self, extent: Extent) -> bool:
        """No query."""
        return False

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

    @property
    def sees_itself(self) -> bool:
        """Whether queries do in both."""
        return self.left.sees_itself and self.right.sees_itself

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
        """A key is seen that both show, if a query that sees it in one is sure to be one that sees it in the other."""
        if not (self.left.same_for_queries or self.right.same_for_queries or self.sees_all_of_itself(extent)):
            return super().seen(extent)
        left, right = self.left.seen(extent), self.right.seen(extent)
        if left is None or right is None:
            return right if left is None else left
        return left & right

    def sees_all_of_itself(self, extent: Extent) -> bool:
        """Say whether every key stands where a query does that sees itself in both."""
        if torch.compiler.is_compiling():
            return False
        return self.sees_itself and within(extent.key_positions, extent.query_positions)

    def may_blind(self, extent: Extent) -> bool:
        """Ask one mask alone where the other allows everything."""
        if self.left.whole(extent) == "full":
            return self.right.may_blind(extent)
        return self.left.may_blind(extent) if self.right.whole(extent) == "full" else super().may_blind(extent)

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

    def may_blind(self, extent: Extent) -> bool:
        """A query sees something that sees it in either."""
        return self.left.may_blind(extent) and self.right.may_blind(extent) and super().may_blind(extent)

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

    def seen(self, extent: Extent) -> Bool[Tensor, "#B K"] | None:
        """Turn the answer round where it is the same for all queries."""
        if not self.same_for_queries:
            return super().seen(extent)
        seen = self.mask.seen(extent)
        return torch.zeros(1, extent.keys, dtype=torch.bool, device=extent.device) if seen is None else ~seen

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


def within(inner: range, outer: range) -> bool:
    """Say whether all positions of one range lie in another."""
    return outer.start <= inner.start and inner.stop <= outer.stop


SMALL = 256 * 256
"""Cells of a map that are sooner computed than cut in halves."""


def seen_by_halves(mask: Mask, extent: Extent) -> Bool[Tensor, "#B K"]:
    """Find out which keys any query sees without the whole map, by cutting in halves what is neither empty nor full."""
    if extent.queries * extent.keys <= SMALL or torch.compiler.is_compiling():
        return mask.dense(extent).any(dim=2).any(dim=1).expand(-1, extent.keys)
    seen = torch.zeros(extent.batch, extent.keys, dtype=torch.bool, device=extent.device)
    waiting = [extent]
    while waiting:
        part = waiting.pop()
        block = mask.whole(part)
        columns = seen[:, part.first_key - extent.first_key :][:, : part.keys]
        if block == "full":
            columns[:] = True
        elif block == "mixed" and part.queries * part.keys <= SMALL:
            columns |= mask.dense(part).any(dim=2).any(dim=1)
        elif block == "mixed":
            waiting += halves(part)
    return seen


def halves(extent: Extent) -> tuple[Extent, Extent]:
    """Cut a grid in two along its longer side."""
    if extent.keys > extent.queries:
        first = extent.keys // 2
        rest = extent._replace(keys=extent.keys - first, first_key=extent.first_key + first)
        return extent._replace(keys=first), rest
    first = extent.queries // 2
    return extent._replace(queries=first), extent._replace(queries=extent.queries - first, offset=extent.offset + first)
