"""Strips of a map: blocks of queries against the keys that a mask leaves them, one after the other.

Statistics and tiles walk over them, so that a map of any length takes the memory of one strip. The softmax of products
is run head by head in two buffers that are used again; everything else goes by the ways that hand weights out.
"""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.attention.call import AttentionCall
from regard.attention.grid import Extent
from regard.attention.masks import Block
from regard.attention.normalizers import Softmax
from regard.attention.ways.blocks import left
from regard.attention.ways.choice import giving_weights
from regard.inspection.selection import in_float32

CELLS = {"cpu": 2**22}
"""Weights in a strip by the kind of device: what a processor's cache holds, or what fills an accelerator."""
MANY_CELLS = 2**26
ROWS = 16
"""Queries in a strip at least: fewer make poor matrix products."""
BLOCKS = 64
"""Into how many blocks keys are cut at most when a mask is asked what it leaves of them."""
LEAST_BLOCK = 128
"""Keys in such a block at least."""
NEXT_TO_NOTHING = -1000.0
"""A score so far below the greatest weighs exactly nothing in any precision, and unlike -inf can be multiplied."""
SHORT = 512
"""Keys from which on the greatest scores are looked for among the greatest of groups."""


class Strip(NamedTuple):
    """Some queries of some heads, against all keys that they may see.

    Attributes:
        batch: Which entries, counted from 0; so are the others.
        heads: Which query heads.
        queries: Which queries.
        keys: Which keys; the weights of all others are zero.
        raised: What times `inverse` is the weights. The next strip overwrites it.
        inverse: See `raised`; zero for a query that sees nothing.
        total: The sum of each row of weights.
        entropy: In nats; of rows scaled to a sum of one. Empty unless it was asked for.
        top_weights: The greatest weights, greatest first; as many as were asked for, or as there are keys.
        top_keys: Where they are; -1 where the weight is zero.
    """

    batch: range
    heads: range
    queries: range
    keys: range
    raised: Float[Tensor, "b h q k"]
    inverse: Float[Tensor, "b h q 1"]
    total: Float[Tensor, "b h q"]
    entropy: Float[Tensor, "b h q"]
    top_weights: Float[Tensor, "b h q t"]
    top_keys: Int[Tensor, "b h q t"]

    @property
    def place(self) -> tuple[slice, slice, slice]:
        """Where in a tensor [B H Q ...] it belongs."""
        return cut(self.batch), cut(self.heads), cut(self.queries)


class Line(NamedTuple):
    """The queries of a strip, and what their mask says.

    Attributes:
        queries: Which, counted from 0.
        keys: From the first to the last key that any of them may see.
        hidden: Runs of these keys that are not wholly allowed.
    """

    queries: range
    keys: range
    hidden: list[tuple[range, Block]]


def cut(numbers: range) -> slice:
    """Return a range as a slice."""
    return slice(numbers.start, numbers.stop)


def since(inner: range, outer: range) -> slice:
    """Return where a range lies in another, counted from its start."""
    return slice(inner.start - outer.start, inner.stop - outer.start)


def strips(
    call: AttentionCall,
    *,
    top: int = 0,
    entropy: bool = False,
    batch: range | None = None,
    heads: range | None = None,
    queries: range | None = None,
) -> Iterator[Strip]:
    """Walk over the map of a call, or over a part of it. To be called without gradients and outside autocast.

    Weights are those before dropout, in float32 at least. `top` says how many of the greatest of a row are wanted.
    A map without keys has no strips.
    """
    call = in_float32(call)
    extent = call.extent()
    batch, heads = batch or range(extent.batch), heads or range(extent.heads)
    queries = range(extent.queries) if queries is None else queries
    if not extent.keys:
        return
    if call.score.product and type(call.normalizer) is Softmax:
        yield from Products(call, top, entropy).strips(batch, heads, queries)
    else:
        yield from handed_out(call, top, entropy, batch, heads, queries)


def lines(call: AttentionCall, queries: range, rows: int) -> Iterator[Line]:
    """Cut queries into lines, and ask the mask what it leaves each."""
    extent = call.extent()
    size = max(LEAST_BLOCK, -(-extent.keys // BLOCKS))
    for start in range(queries.start, queries.stop, rows):
        part = queries[start - queries.start :][:rows]
        runs = left(call.mask, extent.query_positions[cut(part)], extent.key_positions, size)
        if not runs:
            yield Line(part, range(1), [(range(1), "empty")])
            continue
        found = [(range(run.start * size, min(run.stop * size, extent.keys)), kind) for run, kind in runs]
        hidden: list[tuple[range, Block]] = [(run, kind) for run, kind in found if kind != "full"]
        gaps = itertools.pairwise(found)
        hidden += [(range(one.stop, other.start), "empty") for (one, _), (other, _) in gaps if one.stop < other.start]
        yield Line(part, range(found[0][0].start, found[-1][0].stop), hidden)


def cells_of(call: AttentionCall) -> int:
    """Return how many weights a strip may have."""
    return CELLS.get(call.query.device.type, MANY_CELLS)


class Products:
    """Strips of a softmax over products, a few heads at a time.

    Args:
        call: In float32 or more.
        top: See `strips`.
        entropy: See `strips`.
    """

    def __init__(self, call: AttentionCall, top: int, entropy: bool) -> None:
        self.call = call._replace(key=call.key.contiguous())
        self.top, self.entropy = top, entropy
        self.per_group = call.query.shape[1] // call.key.shape[1]
        self.rooms = [call.query.new_empty(0), call.query.new_empty(0)]
        self.bias: tuple[Line, Tensor] | None = None

    def strips(self, batch: range, heads: range, queries: range) -> Iterator[Strip]:
        """Walk line by line where a bias is to be made once for all heads, else head by head, whose keys stay near."""
        keys, cells = self.call.key.shape[2], cells_of(self.call)
        rows = max(ROWS, min(len(queries), cells // keys))
        found = list(lines(self.call, queries, rows))
        groups = list(self.groups(batch, heads, max(1, cells // max(1, len(queries) * keys))))
        if self.call.bias is not None:
            yield from (self.strip(line, *group) for line in found for group in groups)
        else:
            yield from (self.strip(line, *group) for group in groups for line in found)

    def groups(self, batch: range, heads: range, maps: int) -> Iterator[tuple[range, range]]:
        """Cut batch entries and heads into groups of about so many maps, none across heads that share keys in part."""
        whole = heads.start % self.per_group == 0 and len(heads) % self.per_group == 0
        together = max(1, min(len(heads), maps // self.per_group * self.per_group)) if whole else 1
        entries = max(1, maps // len(heads)) if together == len(heads) else 1
        for entry in range(0, len(batch), entries):
            for head in range(0, len(heads), together):
                yield batch[entry : entry + entries], heads[head : head + together]

    def room(self, number: int, *shape: int) -> Tensor:
        """Return a tensor of this shape in a buffer: fresh memory would cost as much as what is computed in it."""
        size = math.prod(shape)
        if self.rooms[number].numel() < size:
            self.rooms[number] = self.call.query.new_empty(size)
        return self.rooms[number][:size].view(*shape)

    def strip(self, line: Line, batch: range, heads: range) -> Strip:
        """Compute one strip."""
        scores = self.scores(line, batch, heads)
        top_scores, top_keys = greatest(scores, self.top)
        highest = top_scores[..., :1] if self.top else scores.amax(dim=-1, keepdim=True)
        highest = highest.masked_fill(highest == -torch.inf, 0.0)
        scores.sub_(highest)
        if line.hidden or self.call.bias is not None:
            scores.clamp_(min=NEXT_TO_NOTHING)
        raised = torch.exp(scores, out=self.room(1, *scores.shape))
        total = raised.sum(dim=-1, keepdim=True)
        inverse = torch.where(total == 0, 0.0, 1 / total)  # what is not a number stays so
        entropy = total.new_empty(0)
        if self.entropy:
            mean = scores.mul_(raised).sum(dim=-1, keepdim=True) * inverse
            entropy = torch.where(total == 0, 0.0, total.log() - mean).clamp_(min=0.0).squeeze(-1)
        top_weights = (top_scores - highest).exp() * inverse
        top_keys = (top_keys + line.keys.start).masked_fill(top_weights == 0, -1)
        sums = (total * inverse).squeeze(-1)
        return Strip(batch, heads, line.queries, line.keys, raised, inverse, sums, entropy, top_weights, top_keys)

    def scores(self, line: Line, batch: range, heads: range) -> Tensor:
        """Compute the scores of one strip, -inf where the mask hides a key."""
        call, per_group = self.call, self.per_group
        groups = range(heads.start // per_group, (heads.stop - 1) // per_group + 1)
        maps, width = len(batch) * len(groups), call.query.shape[-1]
        query = (call.query[cut(batch), cut(heads), cut(line.queries)] * call.scale).reshape(maps, -1, width)
        key = call.key[cut(batch), cut(groups), cut(line.keys)].reshape(maps, len(line.keys), width)
        room = self.room(0, maps, query.shape[1], len(line.keys))
        torch.bmm(query, key.transpose(1, 2), out=room)
        scores = room.view(len(batch), len(heads), len(line.queries), len(line.keys))
        if call.soft_cap is not None:
            scores.div_(call.soft_cap).tanh_().mul_(call.soft_cap)
        if call.bias is not None:
            scores.add_(picked(self.dense_bias(line), batch, heads))
        for run, kind in line.hidden:
            part = scores[..., since(run, line.keys)]
            if kind == "empty":
                part.fill_(-torch.inf)
            else:
                allowed = call.mask.dense(extent_of(call, line.queries, run))
                part.masked_fill_(~picked(allowed, batch, heads), -torch.inf)
        return scores

    def dense_bias(self, line: Line) -> Tensor:
        """Return the bias of a line for all heads, which the next heads find ready."""
        assert self.call.bias is not None
        if self.bias is None or self.bias[0] is not line:
            dense = self.call.bias.dense(extent_of(self.call, line.queries, line.keys))
            self.bias = line, dense.to(self.call.query.dtype)
        return self.bias[1]


def extent_of(call: AttentionCall, queries: range, keys: range) -> Extent:
    """Return the grid of some queries and keys, counted from 0."""
    whole = call.extent()
    return whole._replace(
        queries=len(queries),
        keys=len(keys),
        offset=whole.offset + queries.start,
        first_key=whole.first_key + keys.start,
    )


def picked(dense: Tensor, batch: range, heads: range) -> Tensor:
    """Cut entries and heads out of a tensor [#B #H ...]."""
    dense = dense if dense.shape[0] == 1 else dense[cut(batch)]
    return dense if dense.shape[1] == 1 else dense[:, cut(heads)]


def greatest(scores: Float[Tensor, "*rows K"], count: int) -> tuple[Tensor, Tensor]:
    """Return the greatest of each row, greatest first, and where they are; all of a row that has no more.

    The `count` greatest lie in the `count` groups whose own greatest are the greatest, and finding those is one pass
    that computes maxima, where `topk` moves every number.
    """
    keys = scores.shape[-1]
    if count == 0:
        return scores[..., :0], torch.empty(*scores.shape[:-1], 0, dtype=torch.long, device=scores.device)
    if count == 1 and keys < SHORT:
        most = scores.max(dim=-1, keepdim=True)
        return most.values, most.indices
    if keys < SHORT or count > keys // 8:
        return scores.topk(min(count, keys), dim=-1)
    members = math.isqrt(keys // count)
    groups = keys // members  # the number m of group g is at m * groups + g
    tops = scores[..., : members * groups].view(*scores.shape[:-1], members, groups).amax(dim=-2)
    chosen = tops.topk(count, dim=-1).indices.unsqueeze(-1)  # [*rows count 1]
    places = (chosen + groups * torch.arange(members, device=scores.device)).flatten(-2)
    rest = torch.arange(members * groups, keys, device=scores.device).expand(*places.shape[:-1], -1)
    places = torch.cat([places, rest], dim=-1)
    values, best = scores.gather(-1, places).topk(count, dim=-1)
    return values, places.gather(-1, best)


def handed_out(
    call: AttentionCall, top: int, entropy: bool, batch: range, heads: range, queries: range
) -> Iterator[Strip]:
    """Walk over weights that a way hands out, of all heads at once."""
    entries, all_heads, _, keys = *call.query.shape[:3], call.key.shape[2]
    rows = max(1, min(len(queries), cells_of(call) // (entries * all_heads * keys)))
    for line in lines(call, queries, rows):
        part = call._replace(
            query=call.query[:, :, cut(line.queries)],
            key=call.key[:, :, cut(line.keys)],
            value=call.value[:, :, cut(line.keys)],
            offset=call.offset + line.queries.start,
            first_key=call.first_key + line.keys.start,
        )
        weights = giving_weights(part).weights(part)[cut(batch), cut(heads)]
        weights = weights.to(torch.promote_types(weights.dtype, torch.float32))
        total = weights.sum(dim=-1)
        found = total.new_empty(0)
        if entropy:
            mean = torch.xlogy(weights, weights).sum(dim=-1) / total
            found = torch.where(total == 0, 0.0, total.log() - mean).clamp_(min=0.0)
        top_weights, top_keys = greatest(weights, top)
        top_keys = (top_keys + line.keys.start).masked_fill(top_weights == 0, -1)
        ones = torch.ones_like(total).unsqueeze(-1)
        yield Strip(batch, heads, line.queries, line.keys, weights, ones, total, found, top_weights, top_keys)
