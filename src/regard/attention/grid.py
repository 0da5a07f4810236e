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
        offset: Position of the first query.
        device: Where the answer is wanted.
        first_key: Position of the first key; not 0 where a block of keys is asked about.
    """

    batch: int
    heads: int
    queries: int
    keys: int
    offset: int
    device: torch.device
    first_key: int = 0

    def indices(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return index tensors of batch, head, query and key that broadcast to [B H Q K]."""
        batch = torch.arange(self.batch, device=self.device).view(-1, 1, 1, 1)
        head = torch.arange(self.heads, device=self.device).view(-1, 1, 1)
        query = torch.arange(self.offset, self.offset + self.queries, device=self.device).view(-1, 1)
        key = torch.arange(self.first_key, self.first_key + self.keys, device=self.device)
        return batch, head, query, key

    @property
    def query_positions(self) -> range:
        """Positions of the queries."""
        return range(self.offset, self.offset + self.queries)

    @property
    def key_positions(self) -> range:
        """Positions of the keys."""
        return range(self.first_key, self.first_key + self.keys)


def check_tensor(name: str, given: object) -> None:
    """Raise if this is no tensor: arrays and lists are not taken, since they leave type and device open."""
    if not isinstance(given, Tensor):
        raise ShapeError(
            f"{name} must be a tensor; it is of type {type(given).__name__}. Make one with torch.as_tensor(...)."
        )


def check_centers(centers: Tensor) -> None:
    """Raise if these cannot be a position for each query."""
    check_tensor("centers", centers)
    if centers.dim() != 3:
        raise ShapeError(
            f"centers must have the axes [batch, heads, queries], of which sizes of 1 broadcast; they have "
            f"{list(centers.shape)}."
        )


def look_up(values: Tensor, *indices: Tensor) -> Tensor:
    """Read `values`, whose sizes of 1 broadcast, at one index tensor an axis."""
    return values[tuple(i if n > 1 else torch.zeros_like(i) for i, n in zip(indices, values.shape, strict=True))]


def cut(values: Tensor, first_query: int, extent: Extent) -> Tensor:
    """Cut from a tensor [B H Q K] what it holds about a grid, without copying; axes of size 1 broadcast.

    Its row i speaks of the query at position `first_query + i`, its column j of the key at position j.
    """
    start = extent.offset - first_query
    if values.shape[2] != 1:
        values = values[:, :, start : start + extent.queries]
    if values.shape[3] in (1, extent.keys):
        return values
    return values[:, :, :, extent.first_key : extent.first_key + extent.keys]


def look_up_row(rows: Tensor, batch: Tensor, position: Tensor, beyond: Tensor) -> Tensor:
    """Read `rows` [#B N] at positions, of which those that it does not hold give `beyond`."""
    inside = (position >= 0) & (position < rows.shape[1])
    return torch.where(inside, look_up(rows, batch, position.clamp(0, rows.shape[1] - 1)), beyond)


def check_rows(name: str, rows: Tensor, extent: Extent) -> None:
    """Raise if a tensor [#B N] does not have a row a batch entry, or one for all."""
    if len(rows) not in (1, extent.batch):
        raise ShapeError(
            f"{name} has {len(rows)} rows and the call has {extent.batch} batch entries; give one row a batch entry, "
            "or one for all."
        )
    if rows.device != extent.device:
        raise ShapeError(f"{name} is on {rows.device} and query on {extent.device}; move one with .to(...).")


def rank_four(tensor: Tensor) -> Tensor:
    """Put axes of size 1 in front until there are four."""
    return tensor[(None,) * (4 - tensor.dim())]


def check_covers(name: str, tensor: Tensor, first_query: int, extent: Extent) -> None:
    """Raise if a tensor [B H Q K], or [B H Q] for any number of keys, does not hold or broadcast to what is asked for.

    Axes of size 1 broadcast; its row i speaks of the query at position `first_query + i`, its column j of the key at
    position j.
    """
    batch, heads, rows, *keys = tensor.shape
    columns = extent.first_key + extent.keys
    fits = batch in (1, extent.batch) and heads in (1, extent.heads) and keys in ([], [1], [columns])
    start = extent.offset - first_query
    if not fits or not (rows == 1 or (start >= 0 and start + extent.queries <= rows)):
        wanted = (extent.batch, extent.heads, extent.queries, columns)[: tensor.dim()]
        raise ShapeError(
            f"{name} has shape {list(tensor.shape)} with its first row for position {first_query}; the call needs "
            f"{list(wanted)} (each size, or 1) from position {extent.offset}. Cut it to these sizes, "
            f"or name the position of its first row with first_query."
        )
    if tensor.device != extent.device:
        raise ShapeError(f"{name} is on {tensor.device} and query on {extent.device}; move one with .to(...).")
