"""ONNX's operators Attention (opsets 23 to 25) and RotaryEmbedding in our words: the adapter between the two."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from regard.attention.attend import EVERYTHING, attend, attention_weights
from regard.attention.biases import TensorBias
from regard.attention.heads import merge_heads, split_heads
from regard.attention.lengths import Padding
from regard.attention.masks import Mask
from regard.attention.normalizers import Normalizer, Softmax
from regard.attention.patterns import Causal, TensorMask, Window
from regard.attention.rotary import Rotary, halves, neighbors
from regard.attention.shifts import Shifted

PRECISIONS = {1: torch.float32, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16}
FAR = 1 << 30


class Precise(Normalizer):
    """The softmax in a precision of its own (ONNX's softmax_precision)."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        return Softmax()(scores.to(self.dtype), mask).to(scores.dtype)


class Scores(Normalizer):
    """No normalizing: the scores, -inf where the mask hides."""

    def forward(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        return scores if mask is None else scores.masked_fill(~mask, -torch.inf)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    nonpad_kv_seqlen: Tensor | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int = 0,
    left_window_size: int = -1,
    q_num_heads: int = 0,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
    way: str = "auto",
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return context, present key, present value and scores, as the operator does."""
    rank = query.dim()
    if rank == 3:
        query = split_heads(query, q_num_heads)
        key, value = split_heads(key, kv_num_heads), split_heads(value, kv_num_heads)
    offset = 0
    if past_key is not None and past_value is not None:
        offset = past_key.shape[2]
        key, value = torch.cat((past_key, key), dim=2), torch.cat((past_value, value), dim=2)

    mask: Mask = Causal() if is_causal else EVERYTHING
    if max(left_window_size, right_window_size) >= 0:
        reach = [FAR if size < 0 else size for size in (left_window_size, right_window_size)]
        mask = mask & Window(*reach)
    if nonpad_kv_seqlen is not None:
        mask = Shifted(mask, nonpad_kv_seqlen - query.shape[2]) & Padding(nonpad_kv_seqlen)
    bias = None
    if attn_mask is not None:
        shorter = key.shape[2] - attn_mask.shape[-1]
        attn_mask = attn_mask if attn_mask.dim() > 1 else attn_mask[None]
        if attn_mask.dtype == torch.bool:
            mask = mask & TensorMask(functional.pad(attn_mask, (0, shorter)), first_query=offset)
        else:
            bias = TensorBias(functional.pad(attn_mask, (0, shorter), value=-torch.inf), first_query=offset)

    normalizer = Softmax() if softmax_precision is None else Precise(PRECISIONS[softmax_precision])
    how: dict[str, Any] = {"scale": scale, "offset": offset}
    capped = how | {"soft_cap": softcap or None}
    seen = capped | {"bias": bias, "mask": mask}
    context = attend(query, key, value, normalizer=normalizer, way=way, **seen)
    output = {
        0: lambda: attention_weights(query, key, normalizer=Scores(), **how),
        1: lambda: attention_weights(query, key, normalizer=Scores(), **capped),
        2: lambda: attention_weights(query, key, normalizer=Scores(), **seen),
        3: lambda: attention_weights(query, key, normalizer=normalizer, **seen),
    }[qk_matmul_output_mode]()
    return merge_heads(context) if rank == 3 else context, key, value, output


class GivenWaves(Rotary):
    """Rotary positions whose cosines and sines the caller has computed: a table of positions, or one a vector."""

    def __init__(self, cosine: Tensor, sine: Tensor, *, interleaved: bool) -> None:
        super().__init__(2 * cosine.shape[-1], pairing=neighbors if interleaved else halves)
        self.given = torch.stack((cosine, sine))

    def waves(self, positions: Tensor, length: int, dtype: torch.dtype) -> Tensor:
        found = self.given if self.given.dim() == 4 else self.given[:, positions]
        return found.to(dtype)


def rotary_embedding(
    vectors: Tensor,
    cosine: Tensor,
    sine: Tensor,
    positions: Tensor | None = None,
    *,
    interleaved: int = 0,
    rotary_embedding_dim: int = 0,
    num_heads: int = 0,
) -> tuple[Tensor]:
    """Return the vectors, turned, as the operator does; the tables say how much of the width turns."""
    rank = vectors.dim()
    if rank == 3:
        vectors = split_heads(vectors, num_heads)
    if positions is None:
        positions = torch.zeros(len(vectors), vectors.shape[2], dtype=torch.long)  # the tables are one a vector
    turned = GivenWaves(cosine, sine, interleaved=bool(interleaved)).at(vectors, positions)
    return (merge_heads(turned) if rank == 3 else turned,)


def tensor(array: Any) -> Tensor:
    """Return a numpy array as a tensor; numpy has no bfloat16 of its own."""
    if str(array.dtype) == "bfloat16":
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))


def by_name(node: Any, arrays: list[Any]) -> list[Tensor | None]:
    """Return the inputs (or outputs) of a node in their places, None where one is left out."""
    given = iter(arrays)
    return [tensor(next(given)) if name else None for name in node]


def attributes(node: Any) -> dict[str, Any]:
    """Return the attributes of a node."""
    from onnx.helper import get_attribute_value

    return {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
