"""One head in a few bytes a token: query and key in 8 bits, and what a row sums to, from which a page computes weights.

A softmax does not see what is added to all keys alike, nor a factor that moves from a channel of the key to the same
channel of the query. So the mean key goes, and large channels of one side are evened out with the other, before both
are rounded to 8 bits a number with a scale a token. The sum of each row is computed from the rounded numbers, so that
rows sum to one; how far the weights then are from the model's own is measured, and told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int8
from torch import Tensor

from regard.attention.call import AttentionCall
from regard.attention.normalizers import Softmax
from regard.attention.ways.blocks import by_rows
from regard.inspection.pictures.hidden import bias_and_hidden, own_head

STEPS = 127
"""Steps of a number in 8 bits to each side of zero."""
SAMPLE = 64
"""Queries whose weights are compared with the model's own."""
ROWS = 256
"""Queries in a block."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Exact:
    """What a page needs to compute any weight of a head that is not hidden.

    Attributes:
        query: Rounded queries.
        key: Rounded keys.
        query_scale: What each query is multiplied by; the call's scale is in it.
        key_scale: What each key is multiplied by.
        log_sums: The logarithm of what each row of exponentials sums to; inf where a row may see nothing.
        distances: The bias, where it depends on the distance of key and query alone: place 0 stands for the last query
            and the first key. None where there is no bias.
        soft_cap: As in the call.
        error: The largest difference from the model's weights on 64 queries.
    """

    query: Int8[np.ndarray, "Q D"]
    key: Int8[np.ndarray, "K D"]
    query_scale: Float32[np.ndarray, "Q"]
    key_scale: Float32[np.ndarray, "K"]
    log_sums: Float32[np.ndarray, "Q"]
    distances: Float32[np.ndarray, "N"] | None
    soft_cap: float | None
    error: float


@torch.no_grad()
def quantized(calls: Sequence[AttentionCall], head: int) -> Exact | str:
    """Round one head of a site with one text; or say in words why that cannot be done."""
    if len(calls) != 1:
        return f"its queries came in {len(calls)} calls, and a page needs them in one: run the text at once."
    (call,) = calls
    if not call.score.product:
        return "its score is no dot product, so that a page cannot compute it."
    if type(call.normalizer) is not Softmax:
        return "its weights are not made by a plain softmax, so that a page cannot compute them."
    group = head // (call.query.shape[1] // call.key.shape[1])
    own = call.query[0, head].float() * call.scale, call.key[0, group].float()
    query, key = _evened(*own, keep_mean=call.soft_cap is not None)
    (query_8, query_scale), (key_8, key_scale) = _rounded(query), _rounded(key)
    rounded = query_8.float() * query_scale[:, None], key_8.float() * key_scale[:, None]
    read = _read(call, head, own, rounded)
    if isinstance(read, str):
        return read
    return Exact(
        query=query_8.cpu().numpy(),
        key=key_8.cpu().numpy(),
        query_scale=query_scale.cpu().numpy(),
        key_scale=key_scale.cpu().numpy(),
        log_sums=read.log_sums.cpu().numpy(),
        distances=read.distances,
        soft_cap=call.soft_cap,
        error=read.error,
    )


def _evened(
    query: Float[Tensor, "Q D"], key: Float[Tensor, "K D"], *, keep_mean: bool
) -> tuple[Float[Tensor, "Q D"], Float[Tensor, "K D"]]:
    """Even out the channels of both sides; what a softmax does not see is let go."""
    if not keep_mean:
        key = key - key.mean(dim=0)
    tiny = torch.finfo(torch.float32).tiny
    factor = (query.abs().amax(dim=0).clamp_min(tiny) / key.abs().amax(dim=0).clamp_min(tiny)).sqrt().clamp(1e-6, 1e6)
    return query / factor, key * factor


def _rounded(vectors: Float[Tensor, "N D"]) -> tuple[Tensor, Float[Tensor, "N"]]:
    scale = vectors.abs().amax(dim=1) / STEPS
    whole = (vectors / scale.clamp_min(torch.finfo(torch.float32).tiny)[:, None]).round()
    return whole.clamp(-STEPS, STEPS).to(torch.int8), scale


class _Reading(NamedTuple):
    """What one pass over the map gives: row sums, the bias by distance, the error on a sample."""

    log_sums: Float[Tensor, "Q"]
    distances: Float32[np.ndarray, "N"] | None
    error: float


def _read(call: AttentionCall, head: int, own: tuple[Tensor, Tensor], rounded: tuple[Tensor, Tensor]) -> _Reading | str:
    """Go through the map once, by blocks of queries."""
    (queries, keys), device = (len(side) for side in own), call.query.device
    sample = torch.linspace(0, queries - 1, min(SAMPLE, queries), device=device).round().long()
    by_distance = torch.full((queries + keys - 1,), torch.nan, device=device)
    log_sums, error = [], 0.0
    for number, block in enumerate(by_rows(call, ROWS)):
        rows = torch.arange(number * ROWS, number * ROWS + block.query.shape[2], device=device)
        added, unseen = bias_and_hidden(block)
        bias, hidden = None if added is None else own_head(added, head), own_head(unseen, head)
        if bias is not None:
            place = (torch.arange(keys, device=device) - rows[:, None] + queries - 1)[~hidden]
            by_distance[place] = bias[~hidden]
            if not torch.equal(by_distance[place], bias[~hidden]):
                return "its bias is not one of distances alone, so that a page would need all of it."
        scores = _scores(rounded[0][rows], rounded[1], call.soft_cap, bias, hidden)
        sums = scores.logsumexp(dim=-1)
        log_sums.append(sums.masked_fill(sums == -torch.inf, torch.inf))
        looked = torch.isin(rows, sample)
        model = _scores(
            own[0][rows[looked]], own[1], call.soft_cap, None if bias is None else bias[looked], hidden[looked]
        )
        ours = (scores[looked] - log_sums[-1][looked, None]).exp()
        error = max(error, float((model.softmax(dim=-1).nan_to_num() - ours).abs().max())) if looked.any() else error
    distances = by_distance.nan_to_num(0.0)
    return _Reading(torch.cat(log_sums), distances.cpu().numpy() if distances.any() else None, error)


def _scores(query: Tensor, key: Tensor, soft_cap: float | None, bias: Tensor | None, hidden: Tensor) -> Tensor:
    scores = query @ key.T
    if soft_cap is not None:
        scores = soft_cap * torch.tanh(scores / soft_cap)
    if bias is not None:
        scores = scores + bias
    return scores.masked_fill(hidden, -torch.inf)
