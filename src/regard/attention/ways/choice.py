"""The choice among the ways that take a map in one piece, for whole calls and for the blocks of others."""

from types import ModuleType

import torch
from torch import Tensor

from regard.attention.autocast import autocasts
from regard.attention.call import AttentionCall
from regard.attention.processor import multiplies_by_tiles
from regard.attention.ways import additive, fused, products, reference
from regard.attention.ways.blocks import needs_gradient

FUSED_FROM = 768 * 768
"""Queries times keys from which on half precision learns by `fused`: the maps of `products` leave the cache there."""


def in_one_piece(call: AttentionCall, *, steady: bool = False) -> ModuleType:
    """Choose the fastest way for a map of moderate size, by `benchmarks/sdpa.py`.

    Steady is what does not depend on company: the fused kernel's last bits of half precision depend on the padding.
    """
    if fused.why_not(call):
        return giving_weights(call)
    query = call.query
    half = query.dtype in (torch.bfloat16, torch.float16) and query.device.type == "cpu"
    if not half or products.why_not(call):
        return fused
    if needs_gradient(call):
        return fused if query.shape[2] * call.key.shape[2] >= FUSED_FROM else products
    return fused if multiplies_by_tiles(query.dtype) and not steady else products


def alone(query: object, key: object, value: object, *, causal: bool, steady: bool) -> bool:
    """Say whether PyTorch's function alone is the softmax attention of these, which nobody has looked at yet.

    They are on a CPU, of one type, values as wide as keys, fit, and would go by `fused` in one piece. Never wrong in
    saying yes; each thing is asked once, since a short call takes no longer than the questions (`benchmarks/sdpa.py`).
    """
    if not (isinstance(query, Tensor) and isinstance(key, Tensor) and isinstance(value, Tensor)):
        return False
    if torch.compiler.is_compiling():
        return False
    dtype, asked, held = query.dtype, query.shape, key.shape
    return (
        dtype is key.dtype
        and dtype is value.dtype
        and (dtype is torch.float32 or dtype is torch.float64 or (not steady and half_alone(query, key, value)))
        and len(asked) == len(held) == 4
        and held == value.shape
        and asked[0] == held[0]
        and asked[1] == held[1] > 0
        and asked[3] == held[3] > 0
        and (asked[2] >= held[2] > 0 and asked[2] < fused.CUT_FROM if causal else held[2] > 0)
        and query.is_cpu
        and key.is_cpu
        and value.is_cpu
        and not autocasts(query)
    )


def half_alone(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Say whether these are of a half precision that goes by `fused`."""
    learns = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad)
    return not learns and multiplies_by_tiles(query.dtype)


def holding_the_map(call: AttentionCall) -> ModuleType:
    """Choose among the ways that hold all weights at once."""
    return products if not products.why_not(call) else giving_weights(call)


def giving_weights(call: AttentionCall) -> ModuleType:
    """Choose among the ways that can hand the weights out."""
    return reference if torch.compiler.is_compiling() or additive.why_not(call) else additive
