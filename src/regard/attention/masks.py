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

from regard.attention.grid import Extent, check_covers, cut, look_up, rank_four
from regard.errors import ShapeError

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
class Causal(Mask):
    """A query may look at keys up to its own position (Vaswani et al. 2017, 3.2.3)."""

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Allow keys at or before the query."""
        return key <= query

    def may_blind(self, extent: Extent) -> bool:
        """The first key is seen by every query that does not stand before it."""
        return extent.offset < extent.first_key

    def seen(self, extent: Extent) -> Bool[Tensor, "#B K"] | None:
        """The last query sees the most."""
        last = extent.offset + extent.queries - 1
        keys = extent.key_positions
        if keys.stop - 1 <= last:
            return None
        return torch.arange(keys.start, keys.stop, device=extent.device)[None] <= last

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

    def seen(self, extent: Extent) -> Bool[Tensor, "#B K"] | None:
        """From the first query's first key to the last query's last: windows leave no gap."""
        if self.whole(extent) == "full":
            return None
        key = torch.arange(extent.first_key, extent.first_key + extent.keys, device=extent.device)
        first, last = extent.offset, extent.offset + extent.queries - 1
        return ((key >= first - self.before) & (key <= last + self.after) & (self.before + self.after >= 0))[None]


class Padding(Mask):
    """Keys from `starts` (0 where not given) up to `lengths`, each a number a batch entry, hold something.

    The numbers are kept on the host too, so that blocks are answered without asking the device; where they are not
    known (while torch.compile traces, on the meta device) every block is "mixed". A length may go beyond the keys
    that there are, since those may grow.
    """

    def __init__(self, lengths: Int[Tensor, "B"], starts: Int[Tensor, "B"] | None = None) -> None:
        self.lengths = lengths
        self.starts = starts
        self.kept: Tensor | None = None
        self.host_lengths = numbers("lengths", lengths)
        self.host_starts = [0] * len(self.host_lengths) if starts is None else numbers("starts", starts)
        if starts is not None and len(starts) != len(lengths):
            raise ShapeError(
                f"Padding was given {len(lengths)} lengths and {len(starts)} starts; give as many of both."
            )

    @property
    def same_for_queries(self) -> bool:
        """It is."""
        return True

    def check(self, extent: Extent) -> None:
        """Want one length a batch entry."""
        if len(self.lengths) != extent.batch:
            raise ShapeError(
                f"The padding mask holds {len(self.lengths)} lengths and the call has {extent.batch} batch entries; "
                "give one length a batch entry."
            )

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Allow the keys that hold something."""
        inside = key < self.lengths.to(key.device)[batch]
        return inside if self.starts is None else inside & (key >= self.starts.to(key.device)[batch])

    def dense(self, extent: Extent) -> Bool[Tensor, "B 1 1 K"]:
        """Keep the answer, which is the same for all layers and all steps."""
        if torch.compiler.is_compiling():
            return super().dense(extent)
        keys = extent.first_key + extent.keys
        if self.kept is None or self.kept.shape[-1] < keys or self.kept.device != extent.device:
            with torch.inference_mode(False):  # what is kept must serve training too
                self.kept = super().dense(extent._replace(keys=keys, first_key=0))
        return self.kept if self.kept.shape[-1] == extent.keys else self.kept[..., extent.first_key : keys]

    def block(self, queries: range, keys: range) -> Block:
        """Compare the block with the shortest and the longest row."""
        if torch.compiler.is_compiling() or not self.host_lengths:
            return "mixed"
        if keys.start >= max(self.host_starts) and keys.stop <= min(self.host_lengths):
            return "full"
        if keys.stop <= min(self.host_starts) or keys.start >= max(self.host_lengths):
            return "empty"
        return "mixed"

    def seen(self, extent: Extent) -> Bool[Tensor, "#B K"] | None:
        """Every query sees the same keys."""
        return None if self.whole(extent) == "full" else self.dense(extent._replace(queries=1)).view(-1, extent.keys)

    def may_blind(self, extent: Extent) -> bool:
        """A row that holds something shows it."""
        if torch.compiler.is_compiling() or not self.host_lengths:
            return True
        keys = extent.key_positions
        rows = zip(self.host_starts, self.host_lengths, strict=True)
        return any(min(length, keys.stop) <= max(start, keys.start) for start, length in rows)

    def keep(self, entries: Int[Tensor, "N"]) -> "Padding":
        """Choose lengths and starts."""
        chosen = entries.to(self.lengths.device)
        return Padding(self.lengths[chosen], None if self.starts is None else self.starts[chosen])


class TensorMask(Mask):
    """A boolean tensor of rank 2 to 4 that broadcasts to [B H Q K], True = may look.

    Its row i speaks of the query at position `first_query + i`, its column j of the key at position j.
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

    @property
    def same_for_queries(self) -> bool:
        """Whether one row serves all."""
        return self.allowed.shape[1] == self.allowed.shape[2] == 1

    def check(self, extent: Extent) -> None:
        """Want every row that is asked for."""
        check_covers("mask", self.allowed, self.first_query, extent)

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Look the answer up."""
        return look_up(self.allowed, batch, head, query - self.first_query, key)

    def dense(self, extent: Extent) -> Bool[Tensor, "#B #H #Q #K"]:
        """Cut out what is asked for, without copying."""
        return cut(self.allowed, self.first_query, extent)

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

    def check(self, extent: Extent) -> None:
        """Want a center for every query that is asked for."""
        check_covers("centers", self.centers, self.first_query, extent)

    def keep(self, entries: Int[Tensor, "N"]) -> "Around":
        """Choose the centers."""
        several = self.centers.shape[0] > 1
        return Around(self.centers[entries] if several else self.centers, self.reach, self.first_query)


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


def numbers(name: str, values: Tensor) -> list[int]:
    """Return the numbers of a padding mask; none where they cannot be read."""
    if values.dim() != 1 or values.is_floating_point() or values.dtype == torch.bool:
        raise ShapeError(
            f"{name} of a padding mask must be whole numbers, one a batch entry; "
            f"they are {values.dtype} of shape {list(values.shape)}."
        )
    if torch.compiler.is_compiling() or values.is_meta:
        return []
    known: list[int] = values.tolist()
    if known and min(known) < 0:
        raise ShapeError(f"{name} of a padding mask must be 0 or more; the least is {min(known)}.")
    return known
