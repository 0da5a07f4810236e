"""Additive attention without its largest tensor: pairs of queries and keys go tile by tile, in backward again.

The plain expression holds [Q K hidden] numbers several times over, and waits for tanh. Here tanh x = 1 - 2 s with
s = sigmoid(-2 x), whose derivative, 4 (s - s^2), needs nothing but s. So v . tanh(q + k) is the sum of v less 2 v . s,
and a tile is all that is ever held. And s = 1 / (1 + exp(2 q) exp(2 k)): with the exponentials of both sides at hand a
pair costs one multiply-add and one reciprocal, which CPUs compute three times as fast as a sigmoid.
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from regard.attention.autocast import without_autocast
from regard.attention.call import AttentionCall
from regard.attention.scores import Additive
from regard.attention.ways import reference

TILE = 2**18
"""Numbers in a tile for each thread of a CPU: few enough for its cache, enough that calls cost little beside it."""
LARGE_TILE = 2**24
"""The same on other devices, which want more to do at a time."""
ROWS = 64
"""Queries in a tile, where there are as many: each key is read once for all of them."""
FARTHEST = 40.0
"""Features up to here have exponentials whose products lose nothing in float32; beyond, 0 may meet infinity."""


def why_not(call: AttentionCall) -> str | None:
    """Run the additive score, with any bias, mask and normalizer."""
    if type(call.score) is not Additive:
        return f"its score is {type(call.score).__name__.lower()} and additive computes the additive score only"
    return None


def run(call: AttentionCall) -> Float[Tensor, "B H Q D"]:
    """Run a call."""
    return reference.mix(torch.dropout(weights(call), call.dropout, train=call.dropout > 0), call.value)


def weights(call: AttentionCall) -> Float[Tensor, "B H Q K"]:
    """Return how much each query uses each key, before dropout."""
    return call.normalizer(reference.finished(call, pairs(call)), call.dense_mask())


def pairs(call: AttentionCall) -> Float[Tensor, "B H Q K"]:
    """Score every query with every key, before the scale; half precision is computed in float32."""
    assert isinstance(call.score, Additive), why_not(call)
    batch, heads, queries, width = call.query.shape
    groups, keys = call.key.shape[1:3]
    wide = torch.promote_types(call.query.dtype, torch.float32)
    query = call.query.to(wide).reshape(batch * groups, heads // groups * queries, width)
    key = call.key.to(wide).reshape(batch * groups, keys, width)
    compute = in_one_tile if batch * heads * queries * keys * width <= tile_of(query) else Pairs.apply
    scores: Tensor = compute(query, key, call.score.vector.weight.view(-1).to(wide))
    return scores.view(batch, heads, queries, keys).to(call.query.dtype)


def tile_of(tensor: Tensor) -> int:
    """Return how many numbers a tile has where a tensor is; torch.compile cannot ask for the threads."""
    if tensor.device.type != "cpu":
        return LARGE_TILE
    return TILE if torch.compiler.is_compiling() else TILE * torch.get_num_threads()


def in_one_tile(
    query: Float[Tensor, "N Q E"], key: Float[Tensor, "N K E"], vector: Float[Tensor, "E"]
) -> Float[Tensor, "N Q K"]:
    """Compute v . tanh(q + k) for few pairs, of which PyTorch may keep what it needs for backward."""
    s = torch.add(-2 * query.unsqueeze(2), key.unsqueeze(1), alpha=-2).sigmoid_()  # [N Q K E]
    return torch.add(vector.sum(), s @ vector, alpha=-2)


class Pairs(torch.autograd.Function):
    """The same for many, tile by tile."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, vector: Tensor) -> Tensor:
        """Keep nothing but what was given."""
        ctx.save_for_backward(query, key, vector)
        scores = query.new_empty(*query.shape[:2], key.shape[1])
        tiles = Tiles(query, key)
        for where, s in tiles:
            products = torch.mv(s.view(-1, s.shape[-1]), vector)
            scores[where.pairs] = products.view(s.shape[:-1])
        return scores.mul_(-2).add_(vector.sum())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Compute each tile again; what is to be differentiated once more is computed in one, however large."""
        query, key, vector = saved = ctx.saved_tensors  # `streamed` computes them again when they are asked for, once
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return differentiable(saved, ctx.needs_input_grad, gradient)
        by_query, by_key, by_vector = (torch.zeros_like(given) for given in (query, key, vector))
        with without_autocast(gradient):
            for where, s in Tiles(query, key):
                given = gradient[where.pairs]
                if ctx.needs_input_grad[2]:
                    by_vector += torch.mv(s.view(-1, s.shape[-1]).t(), given.reshape(-1))
                slope = s.addcmul_(s, s, value=-1).mul_(given.unsqueeze(-1))
                by_query[where.entries, where.queries] += slope.sum(2)
                by_key[where.entries, where.keys] += slope.sum(1)
            factor = 4 * vector
            return by_query * factor, by_key * factor, gradient.sum() - 2 * by_vector


def differentiable(given: tuple[Tensor, ...], wanted: tuple[bool, ...], gradient: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients of all pairs by what is wanted, with a graph of their own."""
    needed = [tensor for tensor, want in zip(given, wanted, strict=True) if want]
    found = iter(torch.autograd.grad(in_one_tile(*given), needed, gradient, create_graph=True))
    return tuple(next(found) if want else None for want in wanted)


class Place(NamedTuple):
    """Where a tile lies."""

    entries: slice
    queries: slice
    keys: slice

    @property
    def pairs(self) -> tuple[slice, slice, slice]:
        """Its place among the scores."""
        return tuple(self)  # type: ignore[return-value]


class Tiles:
    """The tiles of all pairs, one after the other in the same memory: places, and s = sigmoid(-2 (q + k)) there."""

    def __init__(self, query: Float[Tensor, "N Q E"], key: Float[Tensor, "N K E"]) -> None:
        self.by_exponentials = is_near(query) and is_near(key)
        self.query, self.key = ((2 * side).exp_() if self.by_exponentials else -2 * side for side in (query, key))
        self.one = query.new_ones(())
        entries, queries, width = query.shape
        keys = key.shape[1]
        most = max(1, tile_of(query) // max(1, width))  # pairs in a tile
        self.sizes = (entries, queries, keys)
        each_keys = min(keys, max(1, most // ROWS))
        each_queries = min(queries, max(1, most // each_keys))
        self.each = (max(1, most // max(1, each_keys * each_queries)), max(1, each_queries), each_keys)

    def __iter__(self) -> Iterator[tuple[Place, Float[Tensor, "n q k E"]]]:
        """Compute each tile when it is asked for, over the one before."""
        memory: Tensor | None = None
        starts = (range(0, size, each) for size, each in zip(self.sizes, self.each, strict=True))
        for corner in itertools.product(*starts):
            entries, queries, keys = (slice(start, start + each) for start, each in zip(corner, self.each, strict=True))
            query, key = self.query[entries, queries].unsqueeze(2), self.key[entries, keys].unsqueeze(1)
            shape = (*query.shape[:2], *key.shape[2:])  # [n q k E]
            memory = query.new_empty(shape) if memory is None else memory  # the first is the largest
            tile = memory.view(-1)[: math.prod(shape)].view(shape)
            if self.by_exponentials:
                yield Place(entries, queries, keys), torch.addcmul(self.one, query, key, out=tile).reciprocal_()
            else:
                yield Place(entries, queries, keys), torch.add(query, key, out=tile).sigmoid_()


def is_near(features: Tensor) -> bool:
    """Say whether all features lie where their exponentials may be taken; what is no number does not.

    No where that may not be looked at: while torch.compile traces; nor where looking waits: on other devices.
    """
    if torch.compiler.is_compiling() or features.device.type != "cpu" or features.numel() == 0:
        return False
    return bool(features.abs().amax() <= FARTHEST)
