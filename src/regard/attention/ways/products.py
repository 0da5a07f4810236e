"""Two batched products with a softmax between them, for as many heads at a time as a processor's cache holds maps of.

For CPUs: there PyTorch's fused kernel takes as long in bfloat16 as in float32, and several times as long with its
gradient. Maps that leave the cache between the operations would lose what is won.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from regard.attention.autocast import without_autocast
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
    sums_widely,
    widened,
)

CACHED = 2**19
"""Scores at a time on CPUs, by trials over `benchmarks/sdpa.py`: with a gradient 5 to 15 % faster than half of it."""

ROWS = 128
"""Queries at a time at least: fewer make poor matrix products."""
BY_HAND_FROM = 2**15
"""Queries times keys from which on gradients are computed by hand: below, what that prepares costs more."""
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
    """Return how many queries to take at a time.

    Of a causal call, whose later keys are then left out, autograd gets a quarter; by hand the sums over blocks, in
    float32, would cost more.
    """
    queries, keys = call.query.shape[2], call.key.shape[2]
    if call.query.device.type != "cpu" or not needs_gradient(call):
        return queries
    cached = CACHED // max(1, keys)
    quarters = is_causal(call) and not learns_by_hand(call)
    return max(ROWS, min(cached, -(-queries // PARTS)) if quarters else cached)


def run_rows(call: AttentionCall) -> Float[Tensor, "B H Q D"]:
    """Run a call, as many heads at a time as the cache holds."""
    batch, heads, queries, _ = call.query.shape
    width = call.value.shape[-1]
    added, blind = added_and_blind(call)
    query, key, value = (call.query * call.scale).flatten(0, 1), call.key.flatten(0, 1), call.value.flatten(0, 1)
    scores = queries * call.key.shape[2] if call.query.device.type == "cpu" else 0
    maps = list(maps_at_a_time(batch, heads, scores))
    context: Tensor
    if learns_by_hand(call) and not (added is not None and added.requires_grad):
        parts = [(slice_of(heads, *where), of_maps(added, call, *where)) for where in maps]
        context = Mixed.apply(query, key, value, parts)  # type: ignore[no-untyped-call]
    elif len(maps) == 1:
        context = mixed(query, key, value, of_maps(added, call, *maps[0]), call.dropout)
    else:
        sizes = [len(entries) * len(some) for entries, some in maps]
        split = zip(*(torch.split(states, sizes) for states in (query, key, value)), maps, strict=True)
        context = torch.cat([mixed(q, k, v, of_maps(added, call, *where), call.dropout) for q, k, v, where in split])
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


def learns_by_hand(call: AttentionCall) -> bool:
    """Say whether `Mixed` is faster and has the gradients that a call wants: it knows no dropout."""
    return (
        sums_widely(call)
        and needs_gradient(call)
        and call.query.device.type == "cpu"
        and call.query.shape[2] * call.key.shape[2] >= BY_HAND_FROM
        and not call.dropout
        and not torch.compiler.is_compiling()
        and not is_functorch_wrapped_tensor(call.query)
    )


Parts = list[tuple[slice, Tensor | None]]
"""Which maps are computed at a time, and what is added to their scores."""


class Mixed(torch.autograd.Function):
    """Some maps in half precision, their gradients by hand: one map is kept of each, in half precision, no other.

    Autograd would keep the softmax in float32 as well, and copy its gradient between the types. Here the softmax's
    gradient, weights * (change - sum of weights * change), takes the sum off within a product: it is the product of
    the context with its own change, and stands as two more columns, since one alone would round it.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, parts: Parts) -> Tensor:
        """Write scores into the memory of the weights, and the weights over them."""
        weights = query.new_empty(*query.shape[:2], key.shape[1])
        context = query.new_empty(*query.shape[:2], value.shape[2])
        wide = weights.new_empty(
            max(len(weights[where]) for where, _ in parts), *weights.shape[1:], dtype=torch.float32
        )
        for where, added in parts:
            scores = weights[where]
            if added is None:
                torch.bmm(query[where], key[where].mT, out=scores)
            else:
                torch.baddbmm(added, query[where], key[where].mT, out=scores)
            scores.copy_(torch.softmax(scores, dim=-1, dtype=torch.float32, out=wide[: len(scores)]))
            torch.bmm(scores, value[where], out=context[where])
        ctx.parts = parts
        ctx.save_for_backward(query, key, value, weights, context)
        return context

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Go through the maps again; what is to be differentiated once more is left to autograd."""
        query, key, value, weights, context = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():
            return *differentiable((query, key, value), wanted, ctx.parts, gradient), None
        found = [torch.empty_like(one) if want else None for one, want in zip((query, key, value), wanted, strict=True)]
        by_query, by_key, by_value = found
        with without_autocast(gradient):
            sums = (gradient.float() * context.float()).sum(dim=-1, keepdim=True)  # [N Q 1]
            whole = sums.to(gradient.dtype)
            change = torch.cat((gradient, -whole, (whole - sums).to(gradient.dtype)), dim=-1)
            mixed_in = torch.cat((value, value.new_ones(*value.shape[:2], 2)), dim=-1)
            memory = weights.new_empty(max(len(weights[where]) for where, _ in ctx.parts), *weights.shape[1:])
            for where, _ in ctx.parts:
                some = weights[where]
                if by_value is not None:
                    torch.bmm(some.mT, gradient[where], out=by_value[where])
                if by_query is None and by_key is None:
                    continue
                by_scores = torch.bmm(change[where], mixed_in[where].mT, out=memory[: len(some)]).mul_(some)
                if by_query is not None:
                    torch.bmm(by_scores, key[where], out=by_query[where])
                if by_key is not None:
                    torch.bmm(by_scores.mT, query[where], out=by_key[where])
        return *found, None


def differentiable(
    given: tuple[Tensor, ...], wanted: tuple[bool, ...], parts: Parts, gradient: Tensor
) -> list[Tensor | None]:
    """Return the gradients by what is wanted, with a graph of their own."""
    query, key, value = given
    context = torch.cat([mixed(query[where], key[where], value[where], added, 0.0) for where, added in parts])
    needed = [tensor for tensor, want in zip(given, wanted, strict=True) if want]
    found = iter(torch.autograd.grad(context, needed, gradient, create_graph=True))
    return [next(found) if want else None for want in wanted]


def slice_of(heads: int, entries: range, some: range) -> slice:
    """Return where the maps of some heads of some batch entries lie, all maps side by side; several have all heads."""
    return slice(entries.start * heads + some.start, (entries.stop - 1) * heads + some.stop)


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
