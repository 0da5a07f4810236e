"""Blocks of queries against the keys that the mask leaves them: for windows, documents and all that is mostly hidden.

The cost is that of what the mask leaves, in blocks. Where it leaves several stretches of keys to a block of queries,
as with global tokens, the stretches are put side by side; a score that is no product may look at positions, which then
would have gaps, and gets all that lies between.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from regard.attention.biases import TensorBias
from regard.attention.call import AttentionCall
from regard.attention.grid import Extent
from regard.attention.patterns import TensorMask
from regard.attention.ways.blocks import by_rows, left, narrowed, needs_gradient, recomputed, widened
from regard.attention.ways.choice import holding_the_map, in_one_piece

ROWS = 128
"""Queries in a block."""
COLUMNS = 64
"""Keys in a block: a window is rounded up to these."""
HELD = 2**26
"""Weights of a batch entry that are held for backward; if there are more, blocks are computed again in backward."""


def why_not(call: AttentionCall) -> str | None:
    """Run anything."""
    return None


def run(call: AttentionCall) -> Float[Tensor, "B H Q D"]:
    """Run a call."""
    wide = widened(call)
    keys, values = (pieces(tensor) for tensor in (wide.key, wide.value))
    parts = []
    for block in by_rows(wide, ROWS):
        stretches = stretches_of(block)
        key, value = taken(keys, stretches), taken(values, stretches)
        parts.append(patterned(block, stretches)._replace(key=key, value=value))
    held = sum(part.query.shape[1] * part.query.shape[2] * part.key.shape[2] for part in parts)
    if held > HELD and torch.is_grad_enabled():
        return torch.cat([recomputed(run_block, part) for part in parts], dim=2)
    return torch.cat([run_block(part) for part in parts], dim=2)


def run_block(part: AttentionCall) -> Float[Tensor, "B H Q D"]:
    """Run a block of queries against its keys: where nothing learns, by whatever is fastest."""
    part = narrowed(part)
    way = holding_the_map(part) if needs_gradient(part) else in_one_piece(part)
    context: Tensor = way.run(part)
    return context


def stretches_of(block: AttentionCall) -> list[range]:
    """Return what keys a block of queries needs, in stretches of blocks of keys; one at least, were it all hidden."""
    extent = block.extent()
    found: list[range] = []
    for run, _ in left(block.mask, extent.query_positions, extent.key_positions, COLUMNS):
        joins = bool(found) and found[-1].stop == run.start
        found.append(range(found.pop().start if joins else run.start, run.stop))
    if len(found) > 1 and not block.score.product:
        return [range(found[0].start, found[-1].stop)]
    return found or [range(1)]


def pieces(tensor: Float[Tensor, "B G K D"]) -> Sequence[Tensor] | Tensor:
    """Cut keys or values into blocks if they need a gradient, which is then gathered block by block.

    The gradient of a slice, in contrast, would be as large as the whole, for each block of queries.
    """
    return torch.split(tensor, COLUMNS, dim=2) if tensor.requires_grad and torch.is_grad_enabled() else tensor


def taken(source: Sequence[Tensor] | Tensor, stretches: list[range]) -> Tensor:
    """Put stretches side by side."""
    if isinstance(source, Tensor):
        parts = [source[:, :, part.start * COLUMNS : part.stop * COLUMNS] for part in stretches]
    else:
        parts = [block for part in stretches for block in source[part.start : part.stop]]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def patterned(block: AttentionCall, stretches: list[range]) -> AttentionCall:
    """Return the block with the positions, or with the mask and bias, of these stretches."""
    whole = block.extent()
    extents = [extent_of(whole, part) for part in stretches]
    if len(extents) == 1:
        return block._replace(first_key=extents[0].first_key)
    mask = side_by_side([block.mask.dense(extent) for extent in extents], extents)
    bias = block.bias
    if bias is not None:
        bias = TensorBias(side_by_side([bias.dense(extent) for extent in extents], extents))
    return block._replace(mask=TensorMask(mask), bias=bias, offset=0, first_key=0)


def extent_of(whole: Extent, stretch: range) -> Extent:
    """Return the grid of one stretch of keys."""
    keys = whole.key_positions[stretch.start * COLUMNS : stretch.stop * COLUMNS]
    return whole._replace(keys=len(keys), first_key=keys.start)


def side_by_side(parts: list[Tensor], extents: list[Extent]) -> Tensor:
    """Join tensors that broadcast to [B H Q K] along their keys."""
    shape = torch.broadcast_shapes(*(part.shape[:3] for part in parts))
    return torch.cat([part.expand(*shape, extent.keys) for part, extent in zip(parts, extents, strict=True)], dim=3)
