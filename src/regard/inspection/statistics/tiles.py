"""Tiles: the means of a map's blocks, at any zoom, in memory that grows with the length and not with its square."""

import itertools
from typing import NamedTuple, SupportsIndex

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.attention.autocast import without_autocast
from regard.attention.call import AttentionCall
from regard.attention.normalizers import Softmax
from regard.errors import OptionError
from regard.inspection.selection import Choice, check_call, indices, runs
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
            if not isinstance(count, SupportsIndex) or count < 1:
                raise OptionError(f"{name} of tiles must be a whole number, 1 or more; it is {count!r}.")
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
    batch: Choice = None,
    heads: Choice = None,
    queries: Choice = None,
    keys: Choice = None,
) -> Float[Tensor, "b h R C"]:
    """Return the mean weights of the tiles of a map, or of the part of it that is named.

    Rows are normalized over all keys, whichever are shown. A part with no more queries and keys than tiles comes back
    as the weights themselves. Each choice is a number, a slice, or several numbers, as in `Site.weights`; several
    queries or keys must be neighbors, for tiles are blocks.

    Raises:
        OptionError: A choice goes beyond the map or is of nothing, or there are no tiles.
    """
    check_call(call)
    extent = call.extent()
    entries, chosen_heads = some("batch", batch, extent.batch), some("heads", heads, extent.heads)
    shown = neighbors("queries", queries, extent.queries), neighbors("keys", keys, extent.keys)
    like = call.query.new_empty(0, dtype=torch.promote_types(call.query.dtype, torch.float32))
    # But for products of a softmax the weights of all are computed at once, and are not to be computed twice.
    apart = call.score.product and type(call.normalizer) is Softmax
    over_batch, over_heads = walked(entries, apart=apart), walked(chosen_heads, apart=apart)

    def means(some_entries: range, some_heads: range) -> Tensor:
        found = Tiles(Region(some_entries, some_heads, *shown), rows, columns, like)
        for strip in strips(call, batch=some_entries, heads=some_heads, queries=shown[0]):
            found.take(strip)
        return found.means()

    with without_autocast(call.query):
        found = torch.cat([torch.cat([means(one, other) for other in over_heads], dim=1) for one in over_batch])
    return found[:, places(chosen_heads, over_heads)][places(entries, over_batch)]


def some(name: str, choice: Choice, size: int) -> list[int]:
    """Return the chosen indices of an axis, or raise if a choice is of none."""
    found = indices(name, choice, size)
    if not found and choice is not None:
        raise OptionError(f"{name} names none; there are {size}, counted from 0, and None stands for all.")
    return found


def neighbors(name: str, choice: Choice, size: int) -> range:
    """Return chosen positions that stand side by side, or raise."""
    found = runs(some(name, choice, size))
    if len(found) > 1:
        raise OptionError(
            f"{name} of tiles must be neighbors, such as range({found[0].start}, {found[0].stop}); {found[1].start} "
            f"does not follow {found[0].stop - 1}. Ask for what stands apart one by one."
        )
    return found[0] if found else range(0)


def walked(numbers: list[int], *, apart: bool) -> list[range]:
    """Return the ranges to walk over for these numbers: apart, or all that lies between them too."""
    if not numbers:
        return [range(0)]
    return runs(sorted(set(numbers))) if apart else [range(min(numbers), max(numbers) + 1)]


def places(numbers: list[int], over: list[range]) -> list[int]:
    """Return where numbers stand in ranges that are put one behind the other."""
    place_of = {number: place for place, number in enumerate(itertools.chain.from_iterable(over))}
    return [place_of[number] for number in numbers]
