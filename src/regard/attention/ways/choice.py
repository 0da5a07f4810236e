"""The choice among the ways that take a map in one piece, for whole calls and for the blocks of others."""

from types import ModuleType

import torch

from regard.attention.call import AttentionCall
from regard.attention.ways import additive, fused, products, reference


def in_one_piece(call: AttentionCall) -> ModuleType:
    """Choose the fastest way for a map of moderate size."""
    query = call.query
    if query.dtype in (torch.bfloat16, torch.float16) and query.device.type == "cpu" and not products.why_not(call):
        return products  # for a few queries too: the fused kernel's last bits depend on the padding, and so on company
    return giving_weights(call) if fused.why_not(call) else fused


def holding_the_map(call: AttentionCall) -> ModuleType:
    """Choose among the ways that hold all weights at once."""
    return products if not products.why_not(call) else giving_weights(call)


def giving_weights(call: AttentionCall) -> ModuleType:
    """Choose among the ways that can hand the weights out."""
    return reference if torch.compiler.is_compiling() or additive.why_not(call) else additive
