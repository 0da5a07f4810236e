"""PyTorch's fused kernels: `scaled_dot_product_attention`, which never holds the whole map of weights."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from regard.attention.call import AttentionCall
from regard.attention.normalizers import Softmax
from regard.attention.processor import multiplies_by_tiles
from regard.attention.ways.blocks import causal_rows, hiding_later_keys, is_causal

PARTS, ROWS = 4, 64
"""Blocks of queries into which a causal call is cut, if they have as many rows."""
CUT_FROM, CUT_BELOW = 128, 768
"""Queries of a call that is cut, by `benchmarks/sdpa.py`; from 768 on the kernel takes larger blocks itself.

An AMD processor (Zen 5) gains 5 to 30 % by it. An Intel processor with AMX loses as often as it wins, and cuts nothing.
"""


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
    """Run a call, a causal one of moderate length by blocks of queries."""
    if not is_causal(call):
        return attended(call, added_mask(call))
    rows = causal_rows_at_a_time(call)
    if not rows:
        return attended(call, None, causal=True)
    blocks = causal_rows(call, rows)
    return torch.cat([attended(block, hiding_later_keys(block)) for block in blocks], dim=2)


def causal_rows_at_a_time(call: AttentionCall) -> int:
    """Return how many queries of a causal call to give to the kernel at a time, or 0 for all.

    The CPU's kernel (torch 2.13) computes the whole map of a causal call of up to 512 keys; with dropout it is another
    kernel.
    """
    queries = call.query.shape[2]
    if not CUT_FROM <= queries < CUT_BELOW or call.dropout or torch.compiler.is_compiling():
        return 0
    cut = call.query.device.type == "cpu" and call.query.dtype in (torch.float32, torch.float64)
    return max(ROWS, -(-queries // PARTS)) if cut and not multiplies_by_tiles(torch.bfloat16) else 0


def attended(call: AttentionCall, added: Tensor | None, *, causal: bool = False) -> Float[Tensor, "B H Q D"]:
    """Run a call at once; causal attention from the first key's position needs no mask tensor."""
    query, key, value, scale = call.query, call.key, call.value, call.scale
    if scale <= 0:  # the CPU's kernel (torch 2.13) scales the -inf of what causality hides: NaN
        query, scale = query * scale, 1.0
    # A branch, since torch.compile may leave the number of heads open and the kernel takes no open answer.
    grouped = {"enable_gqa": True} if query.shape[1] != key.shape[1] else {}
    context = functional.scaled_dot_product_attention(
        query, key, value, added, call.dropout, causal, scale=scale, **grouped
    )
    if added is None or not torch.compiler.is_exporting():
        return context
    # What is exported to ONNX (onnxscript 0.7) hides by the least number, and a query that sees nothing sees all.
    return context.masked_fill(~sees_something(added), 0.0)


def sees_something(added: Tensor) -> Bool[Tensor, "#B #H #Q 1"]:
    """Return which queries see anything, by what `added_mask` returns."""
    return added.any(-1, keepdim=True) if added.dtype == torch.bool else added.amax(-1, keepdim=True) > -torch.inf


def added_mask(call: AttentionCall) -> Tensor | None:
    """Return mask and bias as the one tensor that the kernels take: boolean, or numbers with -inf for False."""
    mask, bias = call.dense_mask(), call.dense_bias()
    if bias is None or mask is None:
        return mask if bias is None else bias
    return torch.where(mask, bias, -torch.inf)
