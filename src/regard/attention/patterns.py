"""Patterns: masks that say by position who may look where, or that a caller drew."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from regard.attention.grid import Extent, check_covers, cut, look_up, rank_four
from regard.attention.masks import Block, Mask
from regard.errors import ShapeError


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
