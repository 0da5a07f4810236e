"""The grid of queries and keys that masks and biases answer about."""

from typing import NamedTuple

import torch
from torch import Tensor

from regard.errors import ShapeError


class Extent(NamedTuple):
    """The grid that a mask or a bias is asked about.

    Attributes:
        batch: Number of batch entries.
        heads: Number of query heads.
        queries: Number of queries.
        keys: Number of keys.
        offset: Position of the first query; that of the first key is 0.
        device: Where the answer is wanted.
    """

    batch: int
    heads: int
    queries: int
    keys: int
    offset: int
    device: torch.device

    def indices(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return index tensors of batch, head, query and key that broadcast to [B H Q K]."""
        batch = torch.arange(self.batch, device=self.device).view(-1, 1, 1, 1)
        head = torch.arange(self.heads, device=self.device).view(-1, 1, 1)
        query = torch.arange(self.offset, self.offset + self.queries, device=self.device).view(-1, 1)
        key = torch.arange(self.keys, device=self.device)
        return batch, head, query, key

    @property
    def query_positions(self) -> range:
        """Positions of the queries."""
        return range(self.offset, self.offset + self.queries)

    @property
    def key_positions(self) -> range:
        """Positions of the keys."""
        return range(self.keys)


def look_up(values: Tensor, *indices: Tensor) -> Tensor:
    """Read `values`, whose sizes of 1 broadcast, at one index tensor an axis."""
    return values[tuple(i if n > 1 else torch.zeros_like(i) for i, n in zip(indices, values.shape, strict=True))]


def check_covers(name: str, tensor: Tensor, first_query: int, extent: Extent) -> None:
    """Raise if a tensor [B H Q K] does not hold, or broadcast to, what is asked for."""
    wanted = (extent.batch, extent.heads, extent.queries, extent.keys)
    batch, heads, queries, keys = tensor.shape
    sizes_fit = batch in (1, extent.batch) and heads in (1, extent.heads) and keys in (1, extent.keys)
    start = extent.offset - first_query
    if not sizes_fit or not (queries == 1 or (start >= 0 and start + extent.queries <= queries)):
        raise ShapeError(
            f"The {name} has shape {list(tensor.shape)} with its first row for position {first_query}; the call needs "
            f"{list(wanted)} (each size, or 1) from position {extent.offset}. Cut the {name} to these sizes, "
            f"or name the position of its first row with first_query."
        )
