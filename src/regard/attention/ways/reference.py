"""The equation in its plainest form, and the judge of every other way."""

import torch
from jaxtyping import Float
from torch import Tensor

from regard.attention.call import AttentionCall, check_rank
from regard.attention.grid import check_tensor
from regard.errors import ShapeError


def why_not(call: AttentionCall) -> str | None:
    """Run anything."""
    return None


def scores(call: AttentionCall) -> Float[Tensor, "B H Q K"]:
    """Return how alike queries and keys are, with the bias, before the mask."""
    groups = call.query.shape[1] // call.key.shape[1]
    key = call.key.repeat_interleave(groups, dim=1) if groups > 1 else call.key
    return finished(call, call.score.pair(call.query, key, call.positions()))


def finished(call: AttentionCall, pairs: Float[Tensor, "B H Q K"]) -> Float[Tensor, "B H Q K"]:
    """Return the scores that come of pairs: scaled, capped, with the bias."""
    result = pairs
    if call.scale != 1.0:
        result = result * call.scale
    if call.soft_cap is not None:
        result = call.soft_cap * torch.tanh(result / call.soft_cap)
    bias = call.dense_bias()
    return result if bias is None else result + bias


def weights(call: AttentionCall) -> Float[Tensor, "B H Q K"]:
    """Return how much each query uses each key, before dropout."""
    found = scores(call)
    return call.normalizer(found, call.dense_mask()) if found.shape[-1] else found


def mix(weights: Float[Tensor, "B H Q K"], value: Float[Tensor, "B G K D"]) -> Float[Tensor, "B H Q D"]:
    """Return the values mixed by the weights."""
    check_tensor("weights", weights)
    check_rank("value", value)
    if weights.dim() != 4:
        raise ShapeError(f"weights must have the axes [batch, heads, queries, keys]; it has {list(weights.shape)}.")
    if value.shape[1] == 0 or weights.shape[1] % value.shape[1] or weights.shape[3] != value.shape[2]:
        raise ShapeError(
            f"weights has {weights.shape[1]} heads and {weights.shape[3]} keys and value has {value.shape[1]} and "
            f"{value.shape[2]}; the heads of value must divide those of weights, and the keys agree."
        )
    groups = weights.shape[1] // value.shape[1]
    return weights @ (value.repeat_interleave(groups, dim=1) if groups > 1 else value)


def run(call: AttentionCall) -> Float[Tensor, "B H Q D"]:
    """Run a call."""
    return mix(torch.dropout(weights(call), call.dropout, train=call.dropout > 0), call.value)
