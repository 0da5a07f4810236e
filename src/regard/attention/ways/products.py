"""Two batched products with a softmax between them, in as few operations as there can be.

For short sequences on CPUs: there PyTorch's fused kernel costs more than the whole map, in bfloat16 up to ten times
as much with its gradient.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from regard.attention.call import AttentionCall
from regard.attention.normalizers import Softmax


def why_not(call: AttentionCall) -> str | None:
    """Run products, softmax, any mask and any bias."""
    if not call.score.product:
        return f"its score is {type(call.score).__name__.lower()} and products computes dot products only"
    if type(call.normalizer) is not Softmax:
        return f"its normalizer is {type(call.normalizer).__name__.lower()} and products computes the softmax only"
    if call.soft_cap is not None:
        return f"its scores are capped at {call.soft_cap} and products has no soft-cap"
    if call.query.shape[1] != call.key.shape[1]:
        return f"its {call.query.shape[1]} query heads share {call.key.shape[1]} key heads and products repeats none"
    return None


def run(call: AttentionCall) -> Float[Tensor, "B H Q D"]:
    """Run a call."""
    batch, heads, queries, _ = call.query.shape
    keys = call.key.shape[2]
    query = (call.query * call.scale).flatten(0, 1)
    key = call.key.flatten(0, 1)
    scores = torch.bmm(query, key.transpose(1, 2)).view(batch, heads, queries, keys)
    added, blind = added_and_blind(call)
    if added is not None:
        scores += added
    weights = torch.softmax(scores, dim=-1)
    if call.dropout:
        weights = torch.dropout(weights, call.dropout, train=True)
    value = call.value.flatten(0, 1)
    context = torch.bmm(weights.view(batch * heads, queries, keys), value).view(batch, heads, queries, value.shape[-1])
    return context if blind is None else context.masked_fill(blind, 0.0)


def added_and_blind(call: AttentionCall) -> tuple[Tensor | None, Tensor | None]:
    """Return mask and bias as numbers to add, and which queries may see nothing; None where there are none such.

    For these nothing is hidden, so that their softmax is finite: what it mixes is thrown away. The others are computed
    alike whether a batch holds such queries or not.
    """
    mask, bias = call.dense_mask(), call.dense_bias()
    if mask is None and bias is None:
        return None, None
    added = call.query.new_zeros(()) if bias is None else bias
    if mask is not None:
        added = torch.where(mask, added, -torch.inf)
    if bias is None and not call.mask.may_blind(call.extent()):
        return added, None
    blind = added.detach().amax(dim=-1, keepdim=True) == -torch.inf  # [B H Q 1]
    return added.masked_fill(blind, 0.0), blind
