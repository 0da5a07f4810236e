"""Tiles: the means of a map's blocks, at any zoom, in memory that grows with the length and not with its square."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.attention.autocast import without_autocast
from regard.attention.call import AttentionCall
from regard.errors import OptionError
from regard.inspection.selection import check_call
from regard.inspection.statistics.strips import Strip, cut, since, strips


class Region(NamedTuple):
    """A part of the map of some heads.

    Attributes:
        batch: Which batch entries.
        heads: Which query heads.
        queries: Which queries, counted from the call's first.
        keys: Which keys, likewise.
    """

    batch: range
    heads: range
    queries: range
    keys: range


class Tiles:
    """Sums of weights by tiles, to which strips are added.

    A side of n positions is cut into c tiles of about equal size: position i belongs to tile i * c // n. Where there
    are no more positions than tiles, each has its own, and the tiles are the weights themselves.

    Args:
        region: What is tiled.
        rows: Tiles one below the other at most.
        columns: Tiles side by side at most.
        like: A tensor of the weights' type, on their device.
    """

    def __init__(self, region: Region, rows: int, columns: int, like: Tensor) -> None:
        for name, count in (("rows", rows), ("columns", columns)):
            if count < 1:
                raise OptionError(f"{name} of tiles must be 1 or more; it is {count}.")
        self.region = region
        self.row_of = tile_of(region.queries, rows, like.device)
        self.column_of = tile_of(region.keys, columns, like.device)
        sizes = min(rows, len(region.queries)), min(columns, len(region.keys))
        self.sums = like.new_zeros(len(region.batch), len(region.heads), *sizes, dtype=torch.float64)
        self.dtype = like.dtype

    def take(self, strip: Strip) -> tuple[Float[Tensor, "b h r k"], range]:
        """Add a strip; return the sums of its columns by rows of tiles, in float64, and which rows these are."""
        row_of = self.row_of[since(strip.queries, self.region.queries)]
        rows = range(int(row_of[0]), int(row_of[-1]) + 1)
        members = row_of == torch.arange(rows.start, rows.stop, device=row_of.device).unsqueeze(1)  # [r q]
        picking = members * strip.inverse.transpose(-1, -2)  # [b h r q]
        sums = (picking @ strip.raised).double()  # [b h r k]
        shown = self.region.keys
        keys = range(max(strip.keys.start, shown.start), min(strip.keys.stop, shown.stop))
        if len(keys):
            columns = self.column_of[since(keys, shown)]
            batch, heads = since(strip.batch, self.region.batch), since(strip.heads, self.region.heads)
            self.sums[batch, heads, cut(rows)].index_add_(-1, columns, sums[..., since(keys, strip.keys)])
        return sums, rows

    def means(self) -> Float[Tensor, "b h R C"]:
        """Return the mean weight of each tile."""
        rows, columns = (torch.bincount(tiles).double() for tiles in (self.row_of, self.column_of))
        return (self.sums / (rows.unsqueeze(1) * columns)).to(self.dtype)


def tile_of(positions: range, count: int, device: torch.device) -> Int[Tensor, "N"]:
    """Return to which tile each position belongs."""
    count = min(count, len(positions))
    return torch.arange(len(positions), device=device) * count // max(1, len(positions))


@torch.no_grad()
def tiles(
    call: AttentionCall,
    rows: int = 256,
    columns: int = 256,
    *,
    batch: range | None = None,
    heads: range | None = None,
    queries: range | None = None,
    keys: range | None = None,
) -> Float[Tensor, "b h R C"]:
    """Return the mean weights of the tiles of a map, or of the part of it that is named.

    Rows are normalized over all keys, whichever are shown. A part with no more queries and keys than tiles comes back
    as the weights themselves. Heads and batch entries come in their order.

    Raises:
        OptionError: The part goes beyond the map, or there are no tiles.
    """
    check_call(call)
    extent = call.extent()
    sizes = {"batch": extent.batch, "heads": extent.heads, "queries": extent.queries, "keys": extent.keys}
    given = {"batch": batch, "heads": heads, "queries": queries, "keys": keys}
    region = Region(**{name: checked(name, part, sizes[name]) for name, part in given.items()})
    like = call.query.new_empty(0, dtype=torch.promote_types(call.query.dtype, torch.float32))
    found = Tiles(region, rows, columns, like)
    with without_autocast(call.query):
        for strip in strips(call, batch=region.batch, heads=region.heads, queries=region.queries):
            found.take(strip)
    return found.means()


def checked(name: str, part: range | None, size: int) -> range:
    """Return a part of an axis, all of it by default, or raise if it goes beyond."""
    if part is None:
        return range(size)
    if not isinstance(part, range) or part.step != 1 or not 0 <= part.start < part.stop <= size:
        raise OptionError(f"{name} is {part!r} and the map has {size}; name a part of range(0, {size}), in steps of 1.")
    return part
