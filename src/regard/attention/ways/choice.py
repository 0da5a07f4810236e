"""The choice among the ways that take a map in one piece, for whole calls and for the blocks of others."""

from types import ModuleType

import torch

from regard.attention.call import AttentionCall
from regard.attention.ways import additive, fused, products, reference
from regard.attention.ways.blocks import needs_gradient

FUSED_FROM = 1024 * 1024
"""Queries times keys from which on half precision learns by `fused`: the maps of `products` leave the cache there."""


def in_one_piece(call: AttentionCall) -> ModuleType:
    """Choose the fastest way for a map of moderate size, by `benchmarks/sdpa.py`."""
    if fused.why_not(call):
        return giving_weights(call)
    query = call.query
    half = query.dtype in (torch.bfloat16, torch.float16) and query.device.type == "cpu"
    learns_long = needs_gradient(call) and query.shape[2] * call.key.shape[2] >= FUSED_FROM
    if not half or learns_long or products.why_not(call):
        return fused
    # Without a gradient for a few queries too: the fused kernel's last bits depend on the padding, and so on company.
    return products


def holding_the_map(call: AttentionCall) -> ModuleType:
    """Choose among the ways that hold all weights at once."""
    return products if not products.why_not(call) else giving_weights(call)


def giving_weights(call: AttentionCall) -> ModuleType:
    """Choose among the ways that can hand the weights out."""
    return reference if torch.compiler.is_compiling() or additive.why_not(call) else additive
