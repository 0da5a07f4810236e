"""Patterns: masks that say by position who may look where, or that a caller drew."""

from bisect import bisect_left
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from regard.attention.grid import (
    Extent,
    check_centers,
    check_covers,
    check_rows,
    check_tensor,
    cut,
    look_up,
    look_up_row,
    rank_four,
)
from regard.attention.masks import Block, Mask, within
from regard.errors import OptionError, ShapeError


@dataclass(frozen=True, eq=False)
class Causal(Mask):
    """A query may look at keys up to its own position (Vaswani et al. 2017, 3.2.3)."""

    @property
    def sees_itself(self) -> bool:
        """It does."""
        return True

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Allow keys at or before the query."""
        return key <= query

    def may_blind(self, extent: Extent) -> bool:
        """The first key is seen by every query that does not stand before it."""
        return extent.offset < extent.first_key

    def seen(self, extent: Extent) -> Bool[Tensor, "#B K"] | None:
        """The last query sees the most."""
        last, stop = extent.offset + extent.queries - 1, extent.first_key + extent.keys
        if stop - 1 <= last:
            return None
        return torch.arange(extent.first_key, stop, device=extent.device)[None] <= last

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

    @property
    def sees_itself(self) -> bool:
        """It does where the window holds its middle."""
        return self.before >= 0 and self.after >= 0

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
        first, last = extent.offset - self.before, extent.offset + extent.queries - 1 + self.after
        known = not torch.compiler.is_compiling() and self.before + self.after >= 0
        if known and within(extent.key_positions, range(first, last + 1)):
            return None
        key = torch.arange(extent.first_key, extent.first_key + extent.keys, device=extent.device)
        return ((key >= first) & (key <= last) & (self.before + self.after >= 0))[None]


@dataclass(frozen=True, eq=False)
class DilatedWindow(Mask):
    """A query may look at `before` keys back and `after` ahead of its own, `dilation` apart (Beltagy et al. 2020, 3.1).

    With a dilation of 1 it is a Window. Where it reaches as far as a Window of dilation * before, it sees less.
    """

    before: int
    after: int
    dilation: int

    def __post_init__(self) -> None:
        if self.dilation < 1:
            raise OptionError(f"dilation must be 1 or more; it is {self.dilation}. A dilation of 1 leaves no gaps.")

    @property
    def sees_itself(self) -> bool:
        """It does where the window holds its middle."""
        return self.before >= 0 and self.after >= 0

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Allow keys within reach that are a multiple of the dilation away."""
        distance = key - query
        near = (distance >= -self.before * self.dilation) & (distance <= self.after * self.dilation)
        return near & (distance % self.dilation == 0)

    def block(self, queries: range, keys: range) -> Block:
        """Count the distances of the block that are allowed."""
        least, most = keys.start - (queries.stop - 1), keys.stop - 1 - queries.start
        allowed = min(most // self.dilation, self.after) - max(-(-least // self.dilation), -self.before) + 1
        if allowed == most - least + 1:
            return "full"
        return "mixed" if allowed > 0 else "empty"

    def seen(self, extent: Extent) -> Bool[Tensor, "#B K"] | None:
        """Count for each key the queries that see it."""
        if torch.compiler.is_compiling():
            return super().seen(extent)
        queries, keys = extent.query_positions, extent.key_positions
        if self.sees_itself and within(keys, queries):
            return None
        key = torch.arange(keys.start, keys.stop, device=extent.device)
        most = ((key - queries.start) // self.dilation).clamp(max=self.after)
        least = (-((queries.stop - 1 - key) // self.dilation)).clamp(min=-self.before)
        return (least <= most)[None]


class GlobalTokens(Mask):
    """Tokens that look at all others and that all others look at (Beltagy et al. 2020, 3.1).

    `chosen` is [B N], or [1 N] for all batch entries; positions beyond it are not chosen. To be joined with what the
    other tokens see: `Window(256, 256) | GlobalTokens(chosen)`. The paper projects global tokens by weights of their
    own; that is a model's to do.
    """

    def __init__(self, chosen: Bool[Tensor, "#B N"]) -> None:
        check_tensor("chosen", chosen)
        if chosen.dim() != 2 or chosen.dtype != torch.bool or chosen.shape[1] == 0:
            raise ShapeError(
                "Global tokens are chosen by a boolean tensor [batch, positions], or [1, positions] for all; "
                f"this one is {chosen.dtype} of shape {list(chosen.shape)}."
            )
        self.chosen = chosen
        self.host_any: list[int] | None = None
        self.host_all: list[int] = []
        if not (torch.compiler.is_compiling() or chosen.is_meta):
            self.host_any = chosen.any(dim=0).nonzero().flatten().tolist()
            self.host_all = chosen.all(dim=0).nonzero().flatten().tolist()

    def check(self, extent: Extent) -> None:
        """Want a row a batch entry, or one for all."""
        check_rows("GlobalTokens", self.chosen, extent)

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Allow what is chosen on either side."""
        return self.holds(batch, query) | self.holds(batch, key)

    def holds(self, batch: Tensor, position: Tensor) -> Tensor:
        """Say which positions are chosen."""
        return look_up_row(self.chosen, batch, position, torch.zeros_like(position, dtype=torch.bool))

    def block(self, queries: range, keys: range) -> Block:
        """Count the chosen positions of either side."""
        if torch.compiler.is_compiling() or self.host_any is None:
            return "mixed"
        if any(count(self.host_all, side) == len(side) for side in (queries, keys)):
            return "full"
        return "mixed" if any(count(self.host_any, side) for side in (queries, keys)) else "empty"

    def seen(self, extent: Extent) -> Bool[Tensor, "#B K"] | None:
        """All keys where one of the queries is chosen, else the chosen keys."""
        batch, _, query, key = extent._replace(batch=len(self.chosen)).indices()
        asking, asked = self.holds(batch, query)[:, 0, :, 0], self.holds(batch, key)[:, 0, 0]  # [B Q], [B K]
        return asked | asking.any(dim=1, keepdim=True)

    def keep(self, entries: Int[Tensor, "N"]) -> "GlobalTokens":
        """Choose batch entries, where there are several."""
        return GlobalTokens(self.chosen[entries] if len(self.chosen) > 1 else self.chosen)


def count(numbers: list[int], positions: range) -> int:
    """Count the sorted numbers that lie among positions."""
    return bisect_left(numbers, positions.stop) - bisect_left(numbers, positions.start)


@dataclass(frozen=True, eq=False)
class Around(Mask):
    """Keys at most `reach` away from a center that each query computes: the window of local-p (Luong et al. 2015, 3.2).

    `centers` holds positions, [B H Q] (sizes of 1 broadcast); its row i is that of position `first_query + i`.
    """

    centers: Tensor
    reach: int
    first_query: int = 0

    def __post_init__(self) -> None:
        check_centers(self.centers)

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
        check_tensor("mask", allowed)
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


class Adjacency(TensorMask):
    """A graph: node i may look at node j where there is an edge from j to i (Velickovic et al. 2018, 2.1).

    `edges` is [N N], or [B N N] for a graph a batch entry; row i holds what node i may look at. In the paper a node is
    its own neighbor: `Adjacency(edges) | Window(0, 0)`.
    """

    def __init__(self, edges: Bool[Tensor, "..."]) -> None:
        check_tensor("edges", edges)
        if edges.dim() not in (2, 3) or edges.shape[-1] != edges.shape[-2]:
            raise ShapeError(f"edges must be [nodes, nodes] or [batch, nodes, nodes]; they are {list(edges.shape)}.")
        super().__init__(edges.unsqueeze(-3))

    def check(self, extent: Extent) -> None:
        """Want a node for every position that is asked about."""
        nodes, asked = self.allowed.shape[-1], max(extent.query_positions.stop, extent.key_positions.stop)
        if nodes < asked or extent.offset < 0:
            raise ShapeError(
                f"The graph has {nodes} nodes and the call asks about positions from {min(extent.offset, 0)} to "
                f"{asked - 1}; give a row and a column for each."
            )
        check_covers("edges", self.allowed[..., : extent.key_positions.stop], 0, extent)

    def keep(self, entries: Int[Tensor, "N"]) -> "Adjacency":
        """Choose batch entries, where there are several."""
        several = self.allowed.shape[0] > 1
        return Adjacency((self.allowed[entries] if several else self.allowed).squeeze(1))
