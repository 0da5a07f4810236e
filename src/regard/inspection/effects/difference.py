"""What two models look at on the same text: head by head, how far their patterns are apart.

    found = differences(before, after, lambda model: model(tokens))
    found["encoder.3.self_attention"].divergence      # [batch, heads]

Maps are compared in blocks of queries, so that none is kept.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from regard.attention.autocast import without_autocast
from regard.attention.call import AttentionCall
from regard.attention.ways import reference
from regard.attention.ways.blocks import by_rows
from regard.errors import OptionError, ShapeError
from regard.inspection.effects.importance import RankedHead, check_seen
from regard.inspection.lens import Lens, Site, lens
from regard.inspection.selection import check_calls, in_float32

BLOCK = 256
"""Queries whose weights are compared at once."""


@dataclass(frozen=True, eq=False)
class Difference:
    """How far apart two patterns are, for each batch entry and head.

    Attributes:
        divergence: Jensen-Shannon divergence in bits, the mean over queries: 0 is the same, 1 looks at other keys.
        largest: The largest difference of two weights.
        same_choice: The share of queries whose most used key is the same.
    """

    divergence: Float[Tensor, "B H"]
    largest: Float[Tensor, "B H"]
    same_choice: Float[Tensor, "B H"]


def differences(
    one: nn.Module,
    other: nn.Module,
    run: Callable[[Any], object],
    *,
    names: Mapping[str, str] | None = None,
    queries: Bool[Tensor, "B Q"] | None = None,
) -> dict[str, Difference]:
    """Run two models on the same text and compare each place where they attend.

    Args:
        one: A model; its names are those of the result.
        other: Another with as many heads at the places compared: before and after training, or pruning of others.
        run: Runs a model on the text: `lambda model: model(tokens)`.
        names: Which place of `one` belongs to which of `other`; None takes those of the same name.
        queries: Which queries count, such as those that are no padding; None stands for all that see something.
    """
    with torch.no_grad():
        with lens(one) as first:
            run(one)
        with lens(other) as second:
            run(other)
        pairs = {name: name for name in first} if names is None else dict(names)
        check_seen(pairs, "run(model)")
        return {
            name: difference(place(first, name, "one"), place(second, pair, "other"), name, queries)
            for name, pair in pairs.items()
        }


def place(seen: Lens, name: str, which: str) -> Site:
    """Return what one of the models did at a place."""
    try:
        return seen[name]
    except OptionError as error:
        raise OptionError(f"Of the {which} model: {error} names={{...}} says which places belong together.") from error


@torch.no_grad()
def difference(
    one: Sequence[AttentionCall],
    other: Sequence[AttentionCall],
    name: str = "this place",
    queries: Bool[Tensor, "B Q"] | None = None,
) -> Difference:
    """Compare the calls of two models at one place, in order."""
    check_calls(one)
    check_calls(other)
    sizes = [[(*call.query.shape[:3], call.key.shape[2]) for call in calls] for calls in (one, other)]
    if sizes[0] != sizes[1]:
        raise ShapeError(
            f"The two models do not attend alike at {name}: there are {told(sizes[0])} and {told(sizes[1])} (batch, "
            "heads, queries, keys). Run both on the same tokens, with as many heads there."
        )
    batch, heads = sizes[0][0][:2]
    check_queries(queries, batch, sum(size[2] for size in sizes[0]))
    sums = torch.zeros(3, batch, heads, dtype=torch.float64)  # divergences, same choices, queries
    largest = torch.zeros(batch, heads, dtype=torch.float64)
    done = 0
    for first, second in zip(blocks(one), blocks(other), strict=True):
        rows = first.shape[2]
        counted = (first.sum(-1) != 0) & (second.sum(-1) != 0)
        if queries is not None:
            counted &= queries[:, None, done : done + rows].to(counted.device)
        done += rows
        apart = (first - second).abs().amax(-1).masked_fill(~counted, 0.0)
        largest = torch.maximum(largest, apart.amax(-1).cpu())
        same = first.argmax(-1) == second.argmax(-1)
        parts = (divergence(first, second).masked_fill(~counted, 0.0), same & counted, counted)
        sums += torch.stack([part.sum(-1).double().cpu() for part in parts])
    count = sums[2].clamp(min=1.0)
    return Difference(sums[0] / count, largest, sums[1] / count)


def blocks(calls: Iterable[AttentionCall]) -> Iterable[Float[Tensor, "B H Q K"]]:
    """Compute the weights of calls in blocks of queries."""
    for call in calls:
        for part in by_rows(in_float32(call), BLOCK):
            with without_autocast(part.query):
                weights = reference.weights(part).double()
            yield weights


def divergence(first: Float[Tensor, "*B K"], second: Float[Tensor, "*B K"]) -> Float[Tensor, "*B"]:
    """Return the Jensen-Shannon divergence of rows, each divided by its sum, in bits."""
    one, other = (rows / rows.sum(-1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny) for rows in (first, second))
    middle = torch.where(one + other > 0, (one + other) / 2, 1.0)
    nats: Tensor = torch.special.xlogy(one, one / middle) + torch.special.xlogy(other, other / middle)
    bits: Tensor = nats.sum(-1) / (2 * math.log(2))
    return bits


def ranked_differences(found: Mapping[str, Difference]) -> list[RankedHead]:
    """Return all heads, the most different first, by the divergence averaged over the batch."""
    heads = [
        RankedHead(name, head, value)
        for name, one in found.items()
        for head, value in enumerate(one.divergence.mean(0).tolist())
    ]
    return sorted(heads, key=lambda head: -head.importance)


def check_queries(queries: Tensor | None, batch: int, length: int) -> None:
    """Raise if this does not say which queries count."""
    if queries is not None and (queries.dtype != torch.bool or tuple(queries.shape) != (batch, length)):
        raise ShapeError(
            f"queries must be boolean and say for [{batch}, {length}], batch and queries, which count; it is "
            f"{queries.dtype} of shape {list(queries.shape)}."
        )


def told(sizes: Sequence[tuple[int, ...]]) -> str:
    """Tell sizes, the first of many."""
    shown = ", ".join("x".join(map(str, size)) for size in sizes[:3])
    return f"{len(sizes)} maps of {shown}{', ...' if len(sizes) > 3 else ''}"
