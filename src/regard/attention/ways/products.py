"""Two batched products with a softmax between them, for as many heads at a time as a processor's cache holds maps of.

For CPUs: there PyTorch's fused kernel takes as long in bfloat16 as in float32, and several times as long with its
gradient. Maps that leave the cache between the operations would lose what is won.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from regard.attention.call import AttentionCall
from regard.attention.normalizers import Softmax
from regard.attention.ways.blocks import (
    by_rows,
    causal_rows,
    hides_later_keys,
    hiding_later_keys,
    is_causal,
    narrowed,
    needs_gradient,
    widened,
)

CACHED = 2**19
"""Scores at a time on CPUs, by trials over `benchmarks/sdpa.py`: with a gradient 5 to 15 % faster than half of it."""

ROWS = 128
"""Queries at a time at least: fewer make poor matrix products."""
PARTS = 4
"""Blocks of queries into which a causal call is cut, if they have as many rows."""


def why_not(call: AttentionCall) -> str | None:
    """Run products, softmax, any mask and any bias."""
    if not call.score.product:
        return f"its score is {type(call.score).__name__.lower()} and products computes dot products only"
    if type(call.normalizer) is not Softmax:
        return f"its normalizer is {type(call.normalizer).__name__.lower()} and products computes the softmax only"
    if call.soft_cap is not None:
        return f"its scores are capped at {call.soft_cap} and products has no soft-cap"
    if call.query.shape[1] != call.key.shape[1]:
        return f"its {call.query.shape[1]} query heads share {call.key.shape[1]} key heads and products repeats none"
    return None


def run(call: AttentionCall) -> Float[Tensor, "B H Q D"]:
    """Run a call; with a gradient, on CPUs, by blocks of queries where a head's map is large or half of it hidden."""
    rows = rows_at_a_time(call)
    if rows >= call.query.shape[2]:
        return run_rows(call)
    cut = causal_rows if is_causal(call) else by_rows
    return torch.cat([run_rows(narrowed(block)) for block in cut(widened(call), rows)], dim=2)


def rows_at_a_time(call: AttentionCall) -> int:
    """Return how many queries to take at a time; of a causal call, whose later keys are then left out, a quarter."""
    queries, keys = call.query.shape[2], call.key.shape[2]
    if call.query.device.type != "cpu" or not needs_gradient(call):
        return queries
    cached = CACHED // max(1, keys)
    return max(ROWS, min(cached, -(-queries // PARTS)) if is_causal(call) else cached)


def run_rows(call: AttentionCall) -> Float[Tensor, "B H Q D"]:
    """Run a call, as many heads at a time as the cache holds."""
    batch, heads, queries, _ = call.query.shape
    width = call.value.shape[-1]
    added, blind = added_and_blind(call)
    query, key, value = (call.query * call.scale).flatten(0, 1), call.key.flatten(0, 1), call.value.flatten(0, 1)
    scores = queries * call.key.shape[2] if call.query.device.type == "cpu" else 0
    maps = list(maps_at_a_time(batch, heads, scores))
    if len(maps) == 1:
        context = mixed(query, key, value, of_maps(added, call, *maps[0]), call.dropout)
    else:
        sizes = [len(entries) * len(some) for entries, some in maps]
        parts = zip(*(torch.split(states, sizes) for states in (query, key, value)), maps, strict=True)
        context = torch.cat([mixed(q, k, v, of_maps(added, call, *where), call.dropout) for q, k, v, where in parts])
    context = context.view(batch, heads, queries, width)
    return context if blind is None else context.masked_fill(blind, 0.0)


def mixed(
    query: Float[Tensor, "N Q E"],
    key: Float[Tensor, "N K E"],
    value: Float[Tensor, "N K D"],
    added: Float[Tensor, "#N #Q #K"] | None,
    dropout: float,
) -> Float[Tensor, "N Q D"]:
    """Run some maps."""
    key = key.transpose(1, 2)
    scores = torch.bmm(query, key) if added is None else torch.baddbmm(added, query, key)
    # From 16 keys on PyTorch's softmax, its gradient still more, is slow in half precision: `benchmarks/softmax.py`.
    weights = torch.softmax(scores, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(scores.dtype)
    if dropout:
        weights = torch.dropout(weights, dropout, train=True)
    return torch.bmm(weights, value)


def maps_at_a_time(batch: int, heads: int, scores: int) -> Iterator[tuple[range, range]]:
    """Divide the maps of all heads of all batch entries, of so many scores each: several entries, or heads of one."""
    each = max(1, CACHED // scores) if scores else max(1, batch * heads)
    if each >= heads or batch == 0:
        entries = range(batch)
        several = max(1, each // max(1, heads))
        yield from ((entries[start : start + several], range(heads)) for start in range(0, max(1, batch), several))
        return
    for entry in range(batch):
        yield from ((range(entry, entry + 1), range(heads)[start : start + each]) for start in range(0, heads, each))


def of_maps(
    added: Tensor | None, call: AttentionCall, entries: range, heads: range
) -> Float[Tensor, "#N #Q #K"] | None:
    """Return what is added to the scores of these maps; nothing is copied where it is the same for all."""
    if added is None:
        return None
    if added.shape[0] == added.shape[1] == 1:
        return added[0]
    if added.shape[0] > 1:
        added = added[entries.start : entries.stop]
    if added.shape[1] > 1:
        added = added[:, heads.start : heads.stop]
    queries, keys = call.query.shape[2], call.key.shape[2]
    return added.expand(len(entries), len(heads), queries, keys).flatten(0, 1)


def added_and_blind(call: AttentionCall) -> tuple[Tensor | None, Tensor | None]:
    """Return mask and bias as numbers to add, and which queries may see nothing; None where there are none such.

    For these nothing is hidden, so that their softmax is finite: what it mixes is thrown away. The others are computed
    alike whether a batch holds such queries or not.
    """
    if hides_later_keys(call):
        return hiding_later_keys(call), None
    mask, bias = call.dense_mask(), call.dense_bias()
    if mask is None and bias is None:
        return None, None
    added = call.query.new_zeros(()) if bias is None else bias
    if mask is not None:
        added = torch.where(mask, added, -torch.inf)
    if bias is None and not call.mask.may_blind(call.extent()):
        return added, None
    blind = added.detach().amax(dim=-1, keepdim=True) == -torch.inf  # [B H Q 1]
    return added.masked_fill(blind, 0.0), blind
