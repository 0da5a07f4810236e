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
    """Run products and softmax where every query may see something."""
    if not call.score.product:
        return f"its score is {type(call.score).__name__.lower()} and products computes dot products only"
    if type(call.normalizer) is not Softmax:
        return f"its normalizer is {type(call.normalizer).__name__.lower()} and products computes the softmax only"
    if call.soft_cap is not None:
        return f"its scores are capped at {call.soft_cap} and products has no soft-cap"
    if call.query.shape[1] != call.key.shape[1]:
        return f"its {call.query.shape[1]} query heads share {call.key.shape[1]} key heads and products repeats none"
    if call.bias is not None or call.mask.may_blind(call.extent()):
        return "a query of it may see nothing, for all that its mask or bias tells, and products has no zero rows"
    return None


def run(call: AttentionCall) -> Float[Tensor, "B H Q D"]:
    """Run a call."""
    batch, heads, queries, _ = call.query.shape
    keys = call.key.shape[2]
    query = (call.query * call.scale).reshape(batch * heads, queries, -1)
    key = call.key.reshape(batch * heads, keys, -1)
    scores = torch.bmm(query, key.transpose(1, 2)).view(batch, heads, queries, keys)
    mask = call.dense_mask()
    if mask is not None:
        scores += torch.zeros(mask.shape, dtype=scores.dtype, device=scores.device).masked_fill_(~mask, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    if call.dropout:
        weights = torch.dropout(weights, call.dropout, train=True)
    value = call.value.reshape(batch * heads, keys, -1)
    return torch.bmm(weights.view(batch * heads, queries, keys), value).view(batch, heads, queries, -1)
