"""Rollout: what a position of the last layer used of the input, through all layers of self-attention.

Both functions follow chosen rows from the last layer down, so that they cost those rows times the length a layer; a
map is computed in blocks of queries and never kept.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from regard.attention.autocast import without_autocast
from regard.attention.call import AttentionCall
from regard.attention.ways import reference
from regard.attention.ways.blocks import by_rows
from regard.errors import OptionError, ShapeError
from regard.inspection.effects.gradients import GradientCall, GradientMap
from regard.inspection.selection import check_call, in_float32, whole_numbers

BLOCK = 256
"""Queries whose weights are computed at once."""

One = TypeVar("One", AttentionCall, GradientCall)


@torch.no_grad()
def rollout(
    layers: Sequence[AttentionCall], *, queries: Sequence[int] | None = None, residual: float = 0.5
) -> Float[Tensor, "B R N"]:
    """Multiply the layers' weights, mean over heads, each mixed with what goes past it (Abnar & Zuidema 2020, 3.1).

    Args:
        layers: A call a layer, the first layer first: `[lens[name][0] for name in names]`.
        queries: The positions of the last layer asked about; None stands for all.
        residual: The share that goes past a layer unchanged. A row of the result sums to 1 where all weights do.
    """
    if not 0 <= residual <= 1:
        raise OptionError(f"residual must lie between 0 and 1; it is {residual}.")
    check_layers(layers)
    rows = chosen_rows(layers[0], queries)
    with without_autocast(rows):
        for call in reversed(layers):
            looked = through(rows, by_rows(call, BLOCK), lambda part: reference.weights(in_float32(part)).mean(1))
            rows = residual * rows + (1 - residual) * looked
    return rows


@torch.no_grad()
def relevance(layers: Sequence[GradientMap], *, queries: Sequence[int] | None = None) -> Float[Tensor, "B R N"]:
    """Add up what the gradient-weighted layers bring to each position (Chefer et al. 2021, eq. 5 and 6).

    `layers` are the maps of one layer each that `gradient_maps` returns, the first layer first. A row starts from 1 at
    its own position and is not normalized.
    """
    calls = [one for layer in layers for one in layer.calls]
    check_layers([one.call for one in calls])
    rows = chosen_rows(calls[0].call, queries)
    with without_autocast(rows):
        for one in reversed(calls):
            rows = rows + through(rows, one.by_rows(BLOCK), lambda part: part.weighted().mean(1))
    return rows


def through(rows: Float[Tensor, "B R N"], parts: Sequence[One], compute: Callable[[One], Tensor]) -> Tensor:
    """Multiply rows by a map that is computed in blocks of its own rows."""
    done, result = 0, torch.zeros_like(rows)
    for part in parts:
        block = compute(part).to(rows.dtype)  # [B, block, N]
        result += rows[:, :, done : done + block.shape[1]] @ block
        done += block.shape[1]
    return result


def chosen_rows(call: AttentionCall, queries: Sequence[int] | None) -> Float[Tensor, "B R N"]:
    """Return a row with a 1 at its own position for each of the queries."""
    batch, _, length, _ = call.query.shape
    queries = None if queries is None else whole_numbers("queries", queries)
    wrong = [query for query in queries or () if not 0 <= query < length]
    if wrong:
        raise OptionError(f"There is no query {', '.join(map(str, wrong))}; they are counted from 0 to {length - 1}.")
    chosen = torch.arange(length) if queries is None else torch.tensor(queries, dtype=torch.long)
    kind = torch.promote_types(call.query.dtype, torch.float32)
    rows = torch.nn.functional.one_hot(chosen, length).to(dtype=kind, device=call.query.device)
    return rows.expand(batch, -1, -1)


def check_layers(layers: Sequence[AttentionCall]) -> None:
    """Raise if these are not the self-attention of one text, layer by layer."""
    if not layers:
        raise OptionError("There is no layer to go through: give a call a layer, [lens[name][0] for name in names].")
    for call in layers:
        check_call(call)
    batch, _, length, _ = layers[0].query.shape
    for number, call in enumerate(layers):
        sizes = (call.query.shape[0], call.query.shape[2], call.key.shape[2])
        if sizes != (batch, length, length):
            raise ShapeError(
                f"Rollout goes through self-attention over one text: layer 0 has {batch} entries of {length} queries "
                f"and layer {number} has {sizes[0]} of {sizes[1]} queries and {sizes[2]} keys. Leave out attention to "
                "another text, and steps of decoding."
            )
