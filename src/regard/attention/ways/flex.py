"""PyTorch's FlexAttention: one kernel made for the mask and bias at hand, which skips what the mask leaves empty.

On CUDA alone: on CPUs it takes no gradients, and without a compiler it holds the whole map.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from regard.attention.call import AttentionCall
from regard.attention.grid import Extent
from regard.attention.masks import Block, Mask
from regard.attention.normalizers import Softmax
from regard.attention.ways.blocks import left

SIZE = 128
"""Queries and keys of a block, which the kernels are made for."""
LEAST_WIDTH = 16
"""Narrower heads fill no tile of its products."""
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def why_not(call: AttentionCall) -> str | None:
    """Run products, softmax, soft-cap, any mask and any bias, on CUDA and without dropout."""
    query, value = call.query, call.value
    if query.device.type != "cuda":
        return f"it is on {query.device} and flex runs on CUDA only"
    if query.dtype not in DTYPES:
        return f"it is in {query.dtype} and flex computes in float32, bfloat16 and float16 only"
    if not call.score.product:
        return f"its score is {type(call.score).__name__.lower()} and flex computes dot products only"
    if type(call.normalizer) is not Softmax:
        return f"its normalizer is {type(call.normalizer).__name__.lower()} and flex computes the softmax only"
    if call.dropout:
        return f"it drops weights with the probability {call.dropout} and flex drops none"
    if min(query.shape[-1], value.shape[-1]) < LEAST_WIDTH:
        return f"its heads are {query.shape[-1]} and {value.shape[-1]} wide and flex needs {LEAST_WIDTH} at least"
    return None


def run(call: AttentionCall) -> Float[Tensor, "B H Q D"]:
    """Run a call."""
    extent = call.extent()
    context: Tensor = kernel()(
        call.query,
        call.key,
        call.value,
        score_mod=changed_score(call),
        block_mask=None if call.mask.whole(extent) == "full" else block_mask(call.mask, extent),
        scale=call.scale,
        enable_gqa=call.query.shape[1] != call.key.shape[1],
    )
    return context


@functools.cache
def kernel() -> Callable[..., Any]:
    """Return the compiled function; PyTorch makes a kernel for each new mask and bias when it is first called."""
    from torch.nn.attention.flex_attention import flex_attention  # a second of imports

    return torch.compile(flex_attention)


def changed_score(call: AttentionCall) -> Callable[..., Tensor] | None:
    """Return what caps a product and adds the bias, by indices that count from 0."""
    cap, bias, extent = call.soft_cap, call.bias, call.extent()
    if cap is None and bias is None:
        return None
    first_query, first_key = firsts(extent)

    def changed(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        if cap is not None:
            score = cap * torch.tanh(score / cap)
        if bias is not None:
            score = score + bias.adds(batch, head, query + first_query, key + first_key).to(score.dtype)
        return score

    return changed


def firsts(extent: Extent) -> tuple[Tensor, Tensor]:
    """Return the positions of the first query and key as tensors: a kernel is made anew when a number changes."""
    first_query, first_key = torch.tensor([extent.offset, extent.first_key], device=extent.device).unbind()
    return first_query, first_key


@functools.lru_cache(maxsize=32)
def block_mask(mask: Mask, extent: Extent) -> Any:
    """Return PyTorch's form of a mask, from its answers about blocks; it serves all layers that are given the mask."""
    from torch.nn.attention.flex_attention import BlockMask

    queries, keys = extent.query_positions, extent.key_positions
    rows = [left(mask, queries[start : start + SIZE], keys, SIZE) for start in range(0, len(queries), SIZE)]
    first_query, first_key = firsts(extent)

    def allows(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return mask.allows(batch, head, query + first_query, key + first_key)

    columns = -(-len(keys) // SIZE)
    return BlockMask.from_kv_blocks(
        *listed(rows, "mixed", columns, extent.device),
        *listed(rows, "full", columns, extent.device),
        BLOCK_SIZE=SIZE,
        mask_mod=allows,
        seq_lengths=(len(queries), len(keys)),
    )


def listed(
    rows: list[list[tuple[range, Block]]], kind: Block, columns: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return how many blocks of a kind each row has, and which, for all batch entries and heads."""
    chosen = [[block for run, answer in row if answer == kind for block in run] for row in rows]
    numbers = torch.tensor([len(row) for row in chosen], dtype=torch.int32, device=device)
    indices = torch.tensor([row + [0] * (columns - len(row)) for row in chosen], dtype=torch.int32, device=device)
    return numbers[None, None], indices[None, None]
