"""Calls cut into blocks, and which blocks a mask leaves."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from regard.attention.call import AttentionCall
from regard.attention.masks import Block, Mask
from regard.attention.patterns import Causal


def left(mask: Mask, queries: range, keys: range, size: int) -> list[tuple[range, Block]]:
    """Return the runs of blocks of `size` keys that a mask does not leave empty for these queries, and which are full.

    Blocks are counted from the first key. The mask is asked about many at once where it can answer for many.
    """
    found: list[tuple[range, Block]] = []
    waiting = [range(-(-len(keys) // size))]
    while waiting:
        blocks = waiting.pop()
        answer = mask.block(queries, keys[blocks.start * size : blocks.stop * size])
        if answer == "mixed" and len(blocks) > 1:
            middle = (blocks.start + blocks.stop) // 2
            waiting += [range(middle, blocks.stop), range(blocks.start, middle)]
        elif answer != "empty" and len(blocks) > 0:
            joins = bool(found) and found[-1][0].stop == blocks.start and found[-1][1] == answer
            start = found.pop()[0].start if joins else blocks.start
            found.append((range(start, blocks.stop), answer))
    return found


def share_left(mask: Mask, queries: range, keys: range) -> float:
    """Return which share of a map the mask may leave, by eighths of its sides, or by 64 positions where it is small."""
    rows, columns = (max(64, -(-len(side) // 8)) for side in (queries, keys))
    parts = [queries[start : start + rows] for start in range(0, len(queries), rows)]
    blocks = sum(len(run) for part in parts for run, _ in left(mask, part, keys, columns))
    return blocks / max(1, len(parts) * -(-len(keys) // columns))


def sums_widely(call: AttentionCall) -> bool:
    """Say whether gradients of keys and values would be summed over blocks in half precision."""
    return torch.is_grad_enabled() and call.query.dtype in (torch.bfloat16, torch.float16)


def widened(call: AttentionCall) -> AttentionCall:
    """Widen keys and values where their gradients are to be summed over blocks; each block narrows its own again."""
    if not sums_widely(call):
        return call
    return call._replace(key=call.key.float(), value=call.value.float())


def narrowed(call: AttentionCall) -> AttentionCall:
    """Bring keys and values back to the type of the query."""
    key, value = (tensor.to(call.query.dtype) for tensor in (call.key, call.value))
    return call._replace(key=key, value=value)


def needs_gradient(call: AttentionCall) -> bool:
    """Say whether query, key or value needs a gradient."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in call[:3])


def recomputed(run: Callable[[AttentionCall], Tensor], block: AttentionCall) -> Tensor:
    """Run a block, keep nothing of it, and compute it again in backward, with the same random numbers."""
    context: Tensor = checkpoint(run, block, use_reentrant=False, preserve_rng_state=block.dropout > 0)
    return context


def is_causal(call: AttentionCall) -> bool:
    """Say whether all that a call hides is what comes after, from the position of the first key on."""
    return call.bias is None and call.offset == call.first_key and isinstance(call.mask, Causal)


def hides_later_keys(call: AttentionCall) -> bool:
    """Say whether all that a call hides is what comes after, and every query sees a key."""
    return call.bias is None and call.offset >= call.first_key and isinstance(call.mask, Causal)


def hiding_later_keys(call: AttentionCall) -> Float[Tensor, "1 1 Q K"]:
    """Return numbers that hide what comes after each query: as a mask does, in two operations."""
    queries, keys = call.query.shape[2], call.key.shape[2]
    return call.query.new_full((1, 1, queries, keys), -torch.inf).triu_(1 + call.offset - call.first_key)


def causal_rows(call: AttentionCall, rows: int) -> list[AttentionCall]:
    """Cut a causal call into blocks of so many queries, each with those keys alone that its last query sees."""
    found = []
    for block in by_rows(call, rows):
        seen = block.offset + block.query.shape[2] - call.first_key
        found.append(block._replace(key=call.key[:, :, :seen], value=call.value[:, :, :seen]))
    return found


def by_rows(call: AttentionCall, rows: int) -> list[AttentionCall]:
    """Cut the queries into blocks of so many rows."""
    parts = torch.split(call.query, rows, dim=2)
    return [call._replace(query=part, offset=call.offset + number * rows) for number, part in enumerate(parts)]
