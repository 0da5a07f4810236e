"""Statistics of whole maps of attention, in memory that grows with the length and not with its square.

    found = map_statistics(lens["encoder.3.self_attention"][0], top=8, sets={"first": first})
    found.entropy          how spread each query looks, [B H Q]

The map is walked over strip by strip (strips.py): every number is that of the weights themselves, before dropout.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from regard.attention.autocast import without_autocast
from regard.attention.call import AttentionCall
from regard.errors import OptionError, ShapeError
from regard.inspection.alignments.links import Link
from regard.inspection.selection import check_call, check_calls
from regard.inspection.statistics.strips import Strip, cut, since, strips
from regard.inspection.statistics.tiles import Region, Tiles

TOP = 8
"""How many of the most attended keys of each query are kept."""


@dataclass(frozen=True, eq=False)
class MapStatistics:
    """What a map looks like, without the map.

    A query that may see nothing has zeros everywhere. Rows that do not sum to one (sigmoid, sinks) are scaled to it for
    entropy and distance, and for nothing else.

    Attributes:
        entropy: How spread a query looks, in nats: 0 for one key, log K for all of K alike.
        distance: How far from its own position a query looks on average, in positions. It tells something where queries
            and keys are of one sequence.
        total: The sum of a query's weights: 1 for a softmax, or 0 where it sees nothing.
        top_weights: The greatest weights of a query, greatest first.
        top_keys: The keys that have them, counted from the call's first; -1 where the weight is zero.
        received: How much each key received of all queries that count.
        sets: How much of each query went to the keys of a set, by the set's name.
        aligned: How much of each query went to the keys that it is linked with; NaN where it has no link. None without
            links.
        linked: Whether the key that a query looks at most is linked with it; None without links.
        tiles: The means of the map's tiles; one tile is the whole map.
        counts: Which queries count: all, unless it was said.
    """

    entropy: Float[Tensor, "B H Q"]
    distance: Float[Tensor, "B H Q"]
    total: Float[Tensor, "B H Q"]
    top_weights: Float[Tensor, "B H Q T"]
    top_keys: Int[Tensor, "B H Q T"]
    received: Float[Tensor, "B H K"]
    sets: Mapping[str, Float[Tensor, "B H Q"]]
    aligned: Float[Tensor, "B H Q"] | None
    linked: Bool[Tensor, "B H Q"] | None
    tiles: Float[Tensor, "B H R C"]
    counts: Bool[Tensor, "B Q"]


def map_statistics(
    call: AttentionCall,
    *,
    top: int = TOP,
    sets: Mapping[str, Bool[Tensor, "#B K"]] | None = None,
    links: Sequence[Iterable[Link]] | None = None,
    tiles: int | tuple[int, int] = 1,
    counts: Bool[Tensor, "#B Q"] | None = None,
) -> MapStatistics:
    """Compute the statistics of a call's map.

    Args:
        call: What was attended to, by what.
        top: How many of the most attended keys of each query to keep.
        sets: Keys by the name of what they have in common, such as `first`: see `key_sets`. [K] is one for all entries.
        links: For each batch entry, links (source, target), that is (key, query), as in an alignment of words; they
            may be of tokens or of anything else that queries and keys are.
        tiles: Into how many rows and columns the map is cut at most; one number for both.
        counts: Which queries count in what keys receive; padding should not. [Q] is one for all entries.

    Raises:
        ShapeError: A set, links or counts do not fit the call.
        OptionError: A number is out of range.
    """
    check_call(call)
    with torch.no_grad(), without_autocast(call.query):
        collector = Collector(call, top, sets or {}, links, tiles, counts)
        for strip in strips(call, top=collector.top, entropy=True):
            collector.take(strip)
        return collector.statistics()


class Collector:
    """Takes strips and holds what they add up to. Arguments are those of `map_statistics`."""

    def __init__(
        self,
        call: AttentionCall,
        top: int,
        sets: Mapping[str, Tensor],
        links: Sequence[Iterable[Link]] | None,
        tiles: int | tuple[int, int],
        counts: Tensor | None,
    ) -> None:
        if not isinstance(top, SupportsIndex) or top < 0:
            raise OptionError(f"top must be a whole number, 0 or more; it is {top!r}.")
        extent = call.extent()
        batch, heads, queries, keys = extent[:4]
        self.extent, self.device = extent, extent.device
        self.dtype = torch.promote_types(call.query.dtype, torch.float32)
        self.top = min(keys, max(top, 0 if links is None else 1))
        self.shown = min(keys, top)
        rows = batch, heads, queries
        self.entropy, self.distance, self.total = (self.zeros(*rows) for _ in range(3))
        self.top_weights = self.zeros(*rows, self.top)
        self.top_keys = torch.full((*rows, self.top), -1, dtype=torch.int32, device=self.device)
        self.received = self.zeros(batch, heads, keys, dtype=torch.float64)
        self.names = list(sets)
        self.features = self.features_of(sets)  # [#B K n]
        self.in_sets = self.zeros(*rows, len(sets))
        self.links = None if links is None else self.links_of(links)
        self.aligned = None if links is None else self.zeros(*rows)
        self.all_count = counts is None
        self.counts = self.counts_of(counts)
        region = Region(range(batch), range(heads), range(queries), range(keys))
        cut_into = tiles if isinstance(tiles, tuple) else (tiles, tiles)
        self.tiles = Tiles(region, *cut_into, self.entropy)

    def zeros(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Return zeros on the call's device."""
        return torch.zeros(shape, dtype=dtype or self.dtype, device=self.device)

    def features_of(self, sets: Mapping[str, Tensor]) -> Float[Tensor, "#B K n"]:
        """Put sets side by side as columns of ones and zeros."""
        batch, keys = self.extent.batch, self.extent.keys
        columns = [rows_of(f"The set {name!r}", chosen, batch, keys, "keys") for name, chosen in sets.items()]
        if not columns:
            return self.zeros(1, keys, 0)
        columns = [column.to(self.device, self.dtype) for column in columns]
        entries = max(len(column) for column in columns)
        return torch.stack([column.expand(entries, keys) for column in columns], dim=-1)

    def counts_of(self, counts: Tensor | None) -> Bool[Tensor, "B Q"]:
        """Say for each query whether it counts."""
        batch, queries = self.extent.batch, self.extent.queries
        if counts is None:
            return torch.ones(batch, queries, dtype=torch.bool, device=self.device)
        return rows_of("counts", counts, batch, queries, "queries").to(self.device).expand(batch, queries)

    def links_of(self, links: Sequence[Iterable[Link]]) -> Int[Tensor, "n 3"]:
        """Return links as entry, query and key, by query."""
        extent = self.extent
        if len(links) != extent.batch:
            raise ShapeError(f"links are of {len(links)} batch entries and the call has {extent.batch}.")
        found = {(entry, query, key) for entry, pairs in enumerate(links) for key, query in pairs}
        for _, query, key in found:
            if not (0 <= query < extent.queries and 0 <= key < extent.keys):
                raise ShapeError(
                    f"The link {key}-{query} leaves the map, which has {extent.keys} keys and {extent.queries} "
                    "queries: links are (key, query), counted from 0."
                )
        return torch.tensor(sorted(found), dtype=torch.long, device=self.device).view(-1, 3)

    def take(self, strip: Strip) -> None:
        """Add a strip."""
        place = strip.place
        self.entropy[place], self.total[place] = strip.entropy, strip.total
        width = strip.top_weights.shape[-1]
        self.top_weights[place][..., :width] = strip.top_weights
        self.top_keys[place][..., :width] = strip.top_keys.to(torch.int32)
        sums, _ = self.tiles.take(strip)
        self.received[place[:2]][..., cut(strip.keys)] += self.received_from(strip, sums)
        self.take_linear(strip)
        if self.links is not None:
            self.take_links(strip, self.links)

    def received_from(self, strip: Strip, sums: Tensor) -> Float[Tensor, "b h k"]:
        """Return what keys received of a strip, of which `sums` are the sums by rows of tiles."""
        if self.all_count:
            return sums.sum(dim=-2)
        counts = self.counts[cut(strip.batch), None, None, cut(strip.queries)]  # [b 1 1 q]
        return ((strip.inverse.transpose(-1, -2) * counts) @ strip.raised).squeeze(-2).double()

    def take_linear(self, strip: Strip) -> None:
        """Add what is a product of weights with one number a key: sets, and distances but near the diagonal."""
        extent = self.extent
        queries = extent.query_positions[cut(strip.queries)]
        keys = extent.key_positions[cut(strip.keys)]
        key = torch.arange(keys.start - queries.start, keys.stop - queries.start, device=self.device)
        sides = (key >= len(queries)).to(self.dtype) - (key < 0).to(self.dtype)  # 0 within the strip's queries
        features = self.features if len(self.features) == 1 else self.features[cut(strip.batch)]
        features = features[:, cut(strip.keys)]
        far = torch.stack([sides, sides * key], dim=-1).expand(len(features), -1, -1)
        products = strip.raised.flatten(1, 2) @ torch.cat([far, features], dim=-1)  # [b h*q 2+n]
        products = products.view(*strip.raised.shape[:3], -1) * strip.inverse
        self.in_sets[strip.place] = products[..., 2:]
        query = torch.arange(len(queries), device=self.device, dtype=self.dtype)
        distance = products[..., 1] - query * products[..., 0]
        near = range(max(queries.start, keys.start), min(queries.stop, keys.stop))
        if len(near):
            columns = torch.arange(near.start - queries.start, near.stop - queries.start, device=self.device)
            steps = (query.unsqueeze(1) - columns).abs()
            inside = strip.raised[..., since(near, keys)] * steps
            distance = distance + inside.sum(dim=-1) * strip.inverse.squeeze(-1)
        total = strip.total
        self.distance[strip.place] = torch.where(total == 0, 0.0, distance / total)

    def take_links(self, strip: Strip, links: Int[Tensor, "n 3"]) -> None:
        """Add the weights of links."""
        assert self.aligned is not None
        entry, query, key = links.unbind(-1)
        inside = torch.ones_like(entry, dtype=torch.bool)
        for index, part in ((entry, strip.batch), (query, strip.queries), (key, strip.keys)):
            inside &= (index >= part.start) & (index < part.stop)
        entry, query, key = links[inside].unbind(-1)
        row = entry - strip.batch.start, slice(None), query - strip.queries.start
        weights = strip.raised[(*row, key - strip.keys.start)] * strip.inverse[(*row, 0)]  # [n h]
        heads = torch.arange(strip.heads.start, strip.heads.stop, device=self.device)
        self.aligned.index_put_((entry[:, None], heads, query[:, None]), weights, accumulate=True)

    def statistics(self) -> MapStatistics:
        """Return what was collected."""
        linked = None
        if self.links is not None and self.aligned is not None:
            linked = self.links_at_the_top(self.links)
            without = torch.ones(self.counts.shape, dtype=torch.bool, device=self.device)
            without[self.links[:, 0], self.links[:, 1]] = False
            self.aligned.masked_fill_(without.unsqueeze(1), torch.nan)
        return MapStatistics(
            entropy=self.entropy,
            distance=self.distance,
            total=self.total,
            top_weights=self.top_weights[..., : self.shown],
            top_keys=self.top_keys[..., : self.shown],
            received=self.received.to(self.dtype),
            sets={name: self.in_sets[..., number] for number, name in enumerate(self.names)},
            aligned=self.aligned,
            linked=linked,
            tiles=self.tiles.means(),
            counts=self.counts,
        )

    def links_at_the_top(self, links: Int[Tensor, "n 3"]) -> Bool[Tensor, "B H Q"]:
        """Say whether the most attended key of a query is linked with it."""
        entry, query, key = links.unbind(-1)
        hits = self.top_keys[entry, :, query, 0] == key.unsqueeze(1)  # [n H]
        found = self.zeros(*self.top_keys.shape[:3])
        heads = torch.arange(hits.shape[1], device=self.device)
        found.index_put_((entry[:, None], heads, query[:, None]), hits.to(self.dtype), accumulate=True)
        return found > 0


def rows_of(name: str, chosen: Tensor, batch: int, size: int, what: str) -> Bool[Tensor, "#B N"]:
    """Return a choice as rows of a batch entry, or one for all."""
    if not isinstance(chosen, Tensor):
        raise ShapeError(f"{name} must be a tensor of booleans; it is of type {type(chosen).__name__}.")
    if chosen.dtype != torch.bool:
        raise ShapeError(f"{name} must be of booleans, True = belongs to it; it holds {chosen.dtype}.")
    if chosen.dim() not in (1, 2) or chosen.shape[-1] != size or (chosen.dim() == 2 and len(chosen) not in (1, batch)):
        raise ShapeError(
            f"{name} has shape {list(chosen.shape)} and the call has {batch} batch entries of {size} {what}; "
            f"give [{size}] or [{batch}, {size}]."
        )
    return chosen if chosen.dim() == 2 else chosen.unsqueeze(0)


def site_statistics(
    calls: Sequence[AttentionCall],
    *,
    top: int = TOP,
    sets: Mapping[str, Bool[Tensor, "#B K"]] | None = None,
    links: Sequence[Iterable[Link]] | None = None,
    counts: Bool[Tensor, "#B Q"] | None = None,
) -> MapStatistics:
    """Compute the statistics of calls that make one map, such as those at a site of a lens while a decoder steps.

    Arguments are those of `map_statistics`: queries are counted through all calls, and sets are of the last call's
    keys, of which earlier calls had the first ones.
    """
    check_calls(calls)
    parts = []
    begin = 0
    for call in calls:
        queries = range(begin, begin + call.query.shape[2])
        begin = queries.stop
        parts.append(
            map_statistics(
                call,
                top=top,
                sets={name: chosen[..., : call.key.shape[2]] for name, chosen in (sets or {}).items()},
                links=None if links is None else [own_links(pairs, queries) for pairs in links],
                counts=None if counts is None else counts[..., cut(queries)],
            )
        )
    return join(parts)


def own_links(links: Iterable[Link], queries: range) -> list[Link]:
    """Return the links of some queries, counted from the first of them."""
    return [(key, query - queries.start) for key, query in links if query in queries]


def join(parts: Sequence[MapStatistics]) -> MapStatistics:
    """Put the statistics of calls together whose queries follow each other: of a decoder that goes step by step.

    Keys may have grown from call to call; what they received is added up. The joined map is not tiled.

    Raises:
        OptionError: There is nothing to join, or the parts were made by different arguments.
    """
    if not parts:
        raise OptionError("There are no statistics to join: give those of one call at least.")
    first, keys = parts[0], max(part.received.shape[-1] for part in parts)
    if any(kind_of(part) != kind_of(first) for part in parts):
        raise OptionError(
            "The statistics to join are of different batch entries or heads, or of different sets or links; make all "
            "of them alike."
        )
    most = max(part.top_keys.shape[-1] for part in parts)
    received = [nn.functional.pad(part.received, (0, keys - part.received.shape[-1])) for part in parts]
    total = torch.cat([part.total for part in parts], dim=2)
    return MapStatistics(
        entropy=torch.cat([part.entropy for part in parts], dim=2),
        distance=torch.cat([part.distance for part in parts], dim=2),
        total=total,
        top_weights=torch.cat([filled(part.top_weights, most, 0) for part in parts], dim=2),
        top_keys=torch.cat([filled(part.top_keys, most, -1) for part in parts], dim=2),
        received=torch.stack(received).sum(dim=0),
        sets={name: torch.cat([part.sets[name] for part in parts], dim=2) for name in first.sets},
        aligned=joined_or_none([part.aligned for part in parts]),
        linked=joined_or_none([part.linked for part in parts]),
        tiles=total.mean(dim=2)[:, :, None, None] / keys,
        counts=torch.cat([part.counts for part in parts], dim=1),
    )


def kind_of(found: MapStatistics) -> tuple[object, ...]:
    """Return what statistics must have in common to be joined."""
    return found.received.shape[:2], set(found.sets), found.aligned is None


def filled(values: Tensor, width: int, value: float) -> Tensor:
    """Fill rows up to a width."""
    return nn.functional.pad(values, (0, width - values.shape[-1]), value=value)


def joined_or_none(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Join what is there along the queries."""
    found = [part for part in parts if part is not None]
    return torch.cat(found, dim=2) if found else None
