"""The choice among the ways that take a map in one piece, for whole calls and for the blocks of others."""

from types import ModuleType

import torch

from regard.attention.call import AttentionCall
from regard.attention.ways import additive, fused, products, reference


def in_one_piece(call: AttentionCall) -> ModuleType:
    """Choose the fastest way for a map of moderate size; under torch.compile no size is looked at.

    The bound is from `benchmarks/ways.py`. The batch is never looked at: the last bits of half precision differ from
    way to way, and a sentence must be translated alike in any company.
    """
    if torch.compiler.is_compiling():
        return reference if fused.why_not(call) else fused
    halves_on_cpu = call.query.dtype in (torch.bfloat16, torch.float16) and call.query.device.type == "cpu"
    if halves_on_cpu and call.query.shape[2] * call.key.shape[2] <= 512 * 512 and not products.why_not(call):
        return products
    return fused if not fused.why_not(call) else holding_the_map(call)


def holding_the_map(call: AttentionCall) -> ModuleType:
    """Choose among the ways that hold all weights at once."""
    return products if not products.why_not(call) else giving_weights(call)


def giving_weights(call: AttentionCall) -> ModuleType:
    """Choose among the ways that can hand the weights out."""
    return reference if torch.compiler.is_compiling() or additive.why_not(call) else additive
