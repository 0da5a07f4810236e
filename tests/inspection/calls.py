"""Calls of attention for the tests of inspection."""

import torch

from regard.attention.attend import EVERYTHING
from regard.attention.biases import Bias
from regard.attention.call import AttentionCall, own_memory, prepared_call
from regard.attention.masks import Mask
from regard.attention.normalizers import Normalizer, Softmax
from regard.attention.scores import ScaledDot, Score


def call_of(
    *,
    batch: int = 2,
    queries: int = 5,
    keys: int = 7,
    heads: int = 3,
    groups: int | None = None,
    width: int = 11,
    score: Score | None = None,
    bias: Bias | None = None,
    mask: Mask = EVERYTHING,
    normalizer: Normalizer | None = None,
    soft_cap: float | None = None,
    offset: int = 0,
    sharpness: float = 3.0,
    dtype: torch.dtype = torch.float64,
) -> AttentionCall:
    """Draw a call."""
    generator = torch.Generator().manual_seed(1)
    query = sharpness * torch.randn(batch, heads, queries, width, generator=generator, dtype=torch.float64)
    key, value = torch.randn(2, batch, groups or heads, keys, width, generator=generator, dtype=torch.float64)
    query, key, value = (tensor.to(dtype) for tensor in (query, key, value))
    score = ScaledDot() if score is None else score
    return prepared_call(
        query,
        own_memory(query, key, value, mask, score, offset),
        score=score,
        bias=bias,
        mask=EVERYTHING,
        normalizer=Softmax() if normalizer is None else normalizer,
        soft_cap=soft_cap,
        dropout=0.0,
        scale=None,
        offset=offset,
    )


def without_keys(call: AttentionCall) -> AttentionCall:
    """Leave nothing to attend to, as PyTorch's function is given for an empty memory."""
    return call._replace(key=call.key[:, :, :0], value=call.value[:, :, :0])
