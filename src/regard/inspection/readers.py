"""Readers: what PyTorch's functions of attention compute, as an `AttentionCall` read from their arguments.

A reader keeps PyTorch's meaning: `is_causal` counts from the first query and the first key, float masks are added.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from regard.attention.biases import Bias, TensorBias
from regard.attention.call import AttentionCall
from regard.attention.grid import Extent
from regard.attention.heads import split_heads
from regard.attention.masks import Everything, Mask
from regard.attention.normalizers import Softmax
from regard.attention.patterns import Causal, TensorMask
from regard.attention.pytorch import allow_unless, broadcast, by_key, flat, lifted
from regard.attention.scores import Dot, Positions, Score
from regard.errors import ShapeError

DOT = Dot()
SOFTMAX = Softmax()


def product_call(
    query: Float[Tensor, "B H Q D"],
    key: Float[Tensor, "B G K D"],
    value: Float[Tensor, "B G K E"],
    *,
    mask: Mask,
    bias: Bias | None = None,
    score: Score = DOT,
    scale: float | None = None,
    dropout: float = 0.0,
    offset: int = 0,
) -> AttentionCall:
    """Return a call whose scores are products, divided by the root of the width where no scale is given."""
    width = query.shape[-1]
    scale = (width**-0.5 if width else 1.0) if scale is None else scale
    return AttentionCall(query, key, value, score, bias, mask, SOFTMAX, None, dropout, scale, offset)


def read_products(
    query: Float[Tensor, "..."],
    key: Float[Tensor, "..."],
    value: Float[Tensor, "..."],
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> AttentionCall:
    """Read a call of `F.scaled_dot_product_attention`."""
    if query.is_nested or key.is_nested or value.is_nested:
        raise ShapeError("The call has nested tensors, which the lens does not read. Give padded ones with a mask.")
    rank = max(4, query.dim(), key.dim(), value.dim())
    query, key, value = (lifted(tensor, rank) for tensor in (query, key, value))
    batch = broadcast("batch axes", *(tensor.shape[:-3] for tensor in (query, key, value)))
    if not enable_gqa and not query.shape[-3] == key.shape[-3] == value.shape[-3]:
        heads = broadcast("heads", *(tensor.shape[-3:-2] for tensor in (query, key, value)))
        query, key, value = (tensor.expand(*batch, *heads, -1, -1) for tensor in (query, key, value))
    mask, bias, offset = given_mask(attn_mask, rank, batch, query.shape[-2], key.shape[-2])
    return product_call(
        flat(query, batch),
        flat(key, batch),
        flat(value, batch),
        mask=mask & Causal() if is_causal else mask,
        bias=bias,
        scale=scale,
        dropout=dropout_p,
        offset=offset,
    )


def read_packed(*arguments: Any, **options: Any) -> AttentionCall:
    """Read a call with one query, whose heads that share keys stand in the place of queries."""
    call = read_products(*arguments, **options)
    batch, groups, heads, width = call.query.shape
    shape = batch, groups, heads, call.key.shape[2]

    def unpacked(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.expand(shape).reshape(batch, groups * heads, 1, shape[3])

    mask, bias = unpacked(call.dense_mask()), unpacked(call.dense_bias())
    return call._replace(
        query=call.query.reshape(batch, groups * heads, 1, width),
        mask=Everything() if mask is None else TensorMask(mask),
        bias=None if bias is None else TensorBias(bias),
    )


def given_mask(
    given: Tensor | None, rank: int, batch: torch.Size, queries: int, keys: int
) -> tuple[Mask, Bias | None, int]:
    """Return what a mask means, and the position of the first query."""
    if given is None:
        return Everything(), None, 0
    shapes = sys.modules.get("torch.nn.attention.bias")  # a second of imports
    if shapes is not None and isinstance(given, shapes.CausalBias):
        return Causal(), None, keys - queries if given.variant == shapes.CausalVariant.LOWER_RIGHT else 0
    added = lifted(given, rank)
    if rank > 4:
        added = flat(added, batch)
    return (TensorMask(added), None, 0) if added.dtype == torch.bool else (Everything(), TensorBias(added), 0)


def read_module(
    query: Float[Tensor, "Q B M"],
    key: Float[Tensor, "K B M"],
    value: Float[Tensor, "K B M"],
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> AttentionCall:
    """Read a call of `F.multi_head_attention_forward` that gives weights; its `is_causal` says what its mask is."""
    if query.dim() == 2:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
    weights = (
        (q_proj_weight, k_proj_weight, v_proj_weight)
        if use_separate_proj_weight or in_proj_weight is None
        else in_proj_weight.chunk(3)
    )
    offsets = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
    states = [
        functional.linear(x.transpose(0, 1), w, b)  # type: ignore[arg-type]
        for x, w, b in zip((query, key, value), weights, offsets, strict=True)
    ]
    more = (bias_k is not None) + add_zero_attn
    mask, bias = hidden_and_added(key_padding_mask, attn_mask, states[1], num_heads, more)
    if bias_k is not None and bias_v is not None:
        for number, extra in ((1, bias_k), (2, bias_v)):
            states[number] = torch.cat((states[number], extra.expand(len(query[0]), -1, -1)), dim=1)
    query, key, value = (split_heads(state, num_heads) for state in states)
    if static_k is not None:
        key = static_k.unflatten(0, (-1, num_heads))
    if static_v is not None:
        value = static_v.unflatten(0, (-1, num_heads))
    if add_zero_attn:
        key, value = functional.pad(key, (0, 0, 0, 1)), functional.pad(value, (0, 0, 0, 1))
    return product_call(query, key, value, mask=mask, bias=bias, dropout=dropout_p if training else 0.0)


def hidden_and_added(
    padding: Tensor | None, drawn: Tensor | None, key: Float[Tensor, "B K M"], num_heads: int, more: int
) -> tuple[Mask, Bias | None]:
    """Return what the masks of the module hide (booleans) and add (numbers), with `more` keys that all may see."""
    mask: Mask = Everything()
    bias: Bias | None = None
    if drawn is not None and drawn.dim() == 3:
        drawn = drawn.unflatten(0, (-1, num_heads)) if len(drawn) > 1 else drawn
    for given in (drawn, None if padding is None else by_key(padding, key)):
        if given is None:
            continue
        given = functional.pad(given, (0, more)) if more else given
        if given.dtype == torch.bool:
            mask = mask & allow_unless(given)
        else:
            bias = TensorBias(given) if bias is None else bias + TensorBias(given)
    return mask, bias


def read_fast_module(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim: int,
    num_heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    mask: Tensor | None = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    mask_type: int | None = None,
) -> AttentionCall:
    """Read a call of `torch._native_multi_head_attention`, whose masks hide what is not zero in them."""
    seen: Mask = Everything()
    if query.is_nested:
        lengths = torch.tensor([len(entry) for entry in query.unbind()], device=query.device)
        query = key = value = query.to_padded_tensor(0.0)
        real = torch.arange(query.shape[1], device=query.device) < lengths[:, None]  # [B N]
        seen = TensorMask(real[:, None, None, :]) & TensorMask(real[:, None, :, None])
    if mask is not None:
        hidden = mask.bool()
        seen = seen & allow_unless(hidden[:, None, None] if mask_type == 1 else hidden)
    states = map(functional.linear, (query, key, value), qkv_weight.chunk(3), qkv_bias.chunk(3))
    return product_call(*(split_heads(state, num_heads) for state in states), mask=seen)


def read_fast_layer(
    src: Tensor,
    embed_dim: int,
    num_heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Tensor,
    norm_bias_1: Tensor,
    *rest: Any,
    mask: Tensor | None = None,
    mask_type: int | None = None,
) -> AttentionCall:
    """Read a call of `torch._transformer_encoder_layer_fwd`: the fast path of `nn.TransformerEncoderLayer`."""
    if len(rest) > 6:  # six weights of the second norm and the feed-forward network come before
        mask, mask_type = (*rest[6:], None)[:2]
    if norm_first:
        src = functional.layer_norm(src, (embed_dim,), norm_weight_1, norm_bias_1, eps)
    return read_fast_module(
        src, src, src, embed_dim, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias, mask, mask_type=mask_type
    )


@dataclass(frozen=True, eq=False)
class Asked(Mask):
    """A `mask_mod` of FlexAttention, asked index by index as FlexAttention asks it."""

    mask_mod: Callable[..., Tensor]

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Bool[Tensor, "..."]:
        """Ask for all indices."""
        return one_by_one(self.mask_mod, batch, head, query, key)


class Modified(Score):
    """A product that a `score_mod` of FlexAttention changes, after the scale."""

    def __init__(self, score_mod: Callable[..., Tensor], factor: float) -> None:
        super().__init__()
        self.score_mod = score_mod
        self.factor = factor

    def pair(
        self, query: Float[Tensor, "B H Q E"], key: Float[Tensor, "B H K E"], positions: Positions
    ) -> Float[Tensor, "B H Q K"]:
        """Multiply, and change every product by its place."""
        products = query @ key.transpose(-2, -1) * self.factor
        batch, heads, queries, keys = products.shape
        device = products.device
        first = int(positions.query[0]) if queries else 0
        _, _, query_index, key_index = Extent(1, 1, queries, keys, first, device).indices()
        entries = torch.arange(batch, device=device).view(-1, 1, 1, 1)
        return one_by_one(
            self.score_mod, entries, torch.arange(heads, device=device).view(-1, 1, 1), query_index, key_index, products
        ).to(products.dtype)


def one_by_one(function: Callable[..., Tensor], *indices: Tensor) -> Tensor:
    """Call a function of single indices for all of them; what comes after the four indices goes before them."""
    batch, head, query, key, *products = indices
    shape = torch.broadcast_shapes(*(tensor.shape for tensor in indices))
    if len(shape) == 0 or 0 in shape:
        return function(*products, batch, head, query, key).expand(shape)
    rows = [tensor.expand(shape).flatten() for tensor in (*products, batch, head, query, key)]
    answer: Tensor = torch.vmap(function)(*rows)
    return answer.view(shape)


def read_flex(
    query: Float[Tensor, "B H Q D"],
    key: Float[Tensor, "B G K D"],
    value: Float[Tensor, "B G K E"],
    score_mod: Callable[..., Tensor] | None = None,
    block_mask: Any = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    *_: Any,
    **__: Any,
) -> AttentionCall:
    """Read a call of `flex_attention`. `enable_gqa` changes nothing: its heads are grouped as ours are."""
    batch = max(query.shape[0], key.shape[0])
    query, key, value = (tensor.expand(batch, -1, -1, -1) for tensor in (query, key, value))
    mask = Everything() if block_mask is None else Asked(block_mask.mask_mod)
    if score_mod is None:
        return product_call(query, key, value, mask=mask, scale=scale)
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    return product_call(query, key, value, mask=mask, score=Modified(score_mod, factor), scale=1.0)
