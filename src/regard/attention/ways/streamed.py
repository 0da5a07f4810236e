"""Blocks of queries against all keys, each computed again in backward: memory for a block of the map, not for all.

Since only the queries are cut, a row's weights are normalized as ever: any score, bias, mask and normalizer goes.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from regard.attention.call import AttentionCall
from regard.attention.ways.blocks import by_rows, narrowed, recomputed, widened
from regard.attention.ways.choice import holding_the_map

SCORES = 2**21
"""Scores of all heads of a batch entry in a block."""
ROWS = 16
"""Queries in a block at least: fewer make poor matrix products."""


def why_not(call: AttentionCall) -> str | None:
    """Run anything."""
    return None


def run(call: AttentionCall) -> Float[Tensor, "B H Q D"]:
    """Run a call."""
    blocks = by_rows(widened(call), rows(call))
    if torch.is_grad_enabled():  # of parameters too, which a call does not name
        return torch.cat([recomputed(run_block, block) for block in blocks], dim=2)
    return torch.cat([run_block(block) for block in blocks], dim=2)


def run_block(block: AttentionCall) -> Float[Tensor, "B H Q D"]:
    """Run a block; of what it computes nothing is kept."""
    block = narrowed(block)
    context: Tensor = holding_the_map(block).run(block)
    return context


def rows(call: AttentionCall) -> int:
    """Return how many queries a block has; the batch is not looked at, as in `choice`."""
    return max(ROWS, SCORES // max(1, call.query.shape[1] * call.key.shape[2]))
