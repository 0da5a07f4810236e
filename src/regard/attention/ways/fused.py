"""PyTorch's fused kernels: `scaled_dot_product_attention`, which never holds the whole map of weights."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from regard.attention.call import AttentionCall
from regard.attention.normalizers import Softmax
from regard.attention.patterns import Causal


def why_not(call: AttentionCall) -> str | None:
    """Run products, softmax, any mask and any bias."""
    if not call.score.product:
        return f"its score is {type(call.score).__name__.lower()} and fused computes dot products only"
    if type(call.normalizer) is not Softmax:
        return f"its normalizer is {type(call.normalizer).__name__.lower()} and fused computes the softmax only"
    if call.soft_cap is not None:
        return f"its scores are capped at {call.soft_cap} and fused has no soft-cap"
    return None


def run(call: AttentionCall) -> Float[Tensor, "B H Q D"]:
    """Run a call; causal attention from the first key's position without a mask tensor."""
    query, key, value = call[:3]
    scale = call.scale
    if scale <= 0:  # the CPU's kernel (torch 2.13) scales the -inf of what causality hides: NaN
        query, scale = query * scale, 1.0
    causal = is_causal(call)
    added = None if causal else added_mask(call)
    # A branch, since torch.compile may leave the number of heads open and the kernel takes no open answer.
    grouped = {"enable_gqa": True} if query.shape[1] != key.shape[1] else {}
    context = functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=added,
        dropout_p=call.dropout,
        is_causal=causal,
        scale=scale,
        **grouped,
    )
    if added is None or not torch.compiler.is_exporting():
        return context
    # What is exported to ONNX (onnxscript 0.7) hides by the least number, and a query that sees nothing sees all.
    return context.masked_fill(~sees_something(added), 0.0)


def is_causal(call: AttentionCall) -> bool:
    """Say whether the kernels need to be told of no mask but by one word."""
    return call.bias is None and call.offset == call.first_key and isinstance(call.mask, Causal)


def sees_something(added: Tensor) -> Bool[Tensor, "#B #H #Q 1"]:
    """Return which queries see anything, by what `added_mask` returns."""
    return added.any(-1, keepdim=True) if added.dtype == torch.bool else added.amax(-1, keepdim=True) > -torch.inf


def added_mask(call: AttentionCall) -> Tensor | None:
    """Return mask and bias as the one tensor that the kernels take: boolean, or numbers with -inf for False."""
    mask, bias = call.dense_mask(), call.dense_bias()
    if bias is None or mask is None:
        return mask if bias is None else bias
    return torch.where(mask, bias, -torch.inf)
