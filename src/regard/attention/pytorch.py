"""PyTorch's two doors to attention, with its names, arguments and answers, run by `attend`.

For programs that exist: put them in the place of `F.scaled_dot_product_attention` and `nn.MultiheadAttention`. The two
disagree about boolean masks. The function means by True what we mean, *may look*; the module means *hidden*, and
`allow_unless` is the one place where that is turned round. Numbers are added to the scores by both.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from regard.attention.attend import EVERYTHING, attend, attention_weights
from regard.attention.biases import Bias, TensorBias
from regard.attention.call import hide_states
from regard.attention.heads import merge_heads, split_heads
from regard.attention.masks import Mask
from regard.attention.patterns import Causal, TensorMask
from regard.errors import ShapeError


def allow_unless(hidden: Bool[Tensor, "..."]) -> TensorMask:
    """Return the mask of a tensor in which True means *hidden*, as in `nn.MultiheadAttention`."""
    if hidden.dtype != torch.bool:
        raise ShapeError(
            f"A mask of what is hidden is boolean, True = hidden; this one is {hidden.dtype}. "
            "Use TensorBias for numbers that are added to scores."
        )
    return TensorMask(~hidden)


def scaled_dot_product_attention(
    query: Float[Tensor, "*Hq Q D"],
    key: Float[Tensor, "*Hk K D"],
    value: Float[Tensor, "*Hv K E"],
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Float[Tensor, "*H Q E"]:
    """Answer as `F.scaled_dot_product_attention` does.

    `is_causal` counts queries and keys from their first (a cache needs `attend` with its offset), and may come
    together with `attn_mask`. There must be a key: for none, PyTorch answers zeros and this raises.
    """
    rank = max(4, query.dim(), key.dim(), value.dim())
    wanted = max(query.dim(), key.dim(), value.dim())
    query, key, value = (lifted(tensor, rank) for tensor in (query, key, value))
    batch = broadcast("batch axes", *(tensor.shape[:-3] for tensor in (query, key, value)))
    if not enable_gqa and not query.shape[-3] == key.shape[-3] == value.shape[-3]:
        heads = broadcast("heads", *(tensor.shape[-3:-2] for tensor in (query, key, value)))
        query, key, value = (tensor.expand(*batch, *heads, -1, -1) for tensor in (query, key, value))
    mask: Mask = Causal() if is_causal else EVERYTHING
    bias: Bias | None = None
    if attn_mask is not None:
        added = lifted(attn_mask, rank)
        if rank > 4:
            added = flat(added, batch)
        if added.dtype == torch.bool:
            mask = mask & TensorMask(added)
        else:
            bias = TensorBias(added)
    context = attend(
        flat(query, batch), flat(key, batch), flat(value, batch), mask=mask, bias=bias, dropout=dropout_p, scale=scale
    )
    context = context.view(*batch, *context.shape[1:])
    return context[(0,) * (rank - wanted)]  # without the axes that were put in front


def lifted(tensor: Tensor, rank: int) -> Tensor:
    """Put axes of size 1 in front until there are so many."""
    return tensor[(None,) * (rank - tensor.dim())]


def flat(tensor: Tensor, batch: torch.Size) -> Tensor:
    """Return [B H N D], the batch axes broadcast and made one."""
    return tensor.expand(*batch, *tensor.shape[-3:]).flatten(0, -4)


def by_key(padding: Tensor, key: Tensor) -> Tensor:
    """Return [B 1 1 K], a padding mask that broadcasts to the map."""
    if padding.numel() != key[..., 0].numel() or padding.dim() > 2 or padding.shape[-1] != key.shape[1]:
        raise ShapeError(
            f"key_padding_mask must have the axes [batch, keys], here {list(key.shape[:2])}, or [keys] without a "
            f"batch; it has {list(padding.shape)}."
        )
    return padding.view(len(key), 1, 1, key.shape[1])


def broadcast(axes: str, *shapes: torch.Size) -> torch.Size:
    """Return the common shape, or say what does not fit."""
    try:
        return torch.Size(torch.broadcast_shapes(*shapes))
    except RuntimeError:
        query, key, value = map(list, shapes)
        raise ShapeError(
            f"The {axes} of query, key and value are {query}, {key} and {value}; each must be the same, or 1. "
            "Give enable_gqa=True where several query heads share a key head."
        ) from None


class MultiheadAttention(nn.MultiheadAttention):
    """Answer as `nn.MultiheadAttention` does, with its parameters and state, by `attend`.

    What differs: a query that may see nothing gets zeros before the last projection, not NaN. What
    `key_padding_mask` hides by booleans reaches no number and no gradient. `is_causal` alone is a causal mask; beside
    `attn_mask` it is joined with it, where PyTorch may take either. Keys added by `add_bias_kv` and `add_zero_attn` are
    always seen. The weights returned are those before dropout. Nested tensors are not taken.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Else nn.TransformerEncoderLayer, in evaluation, would compute past this module.
        self._qkv_same_embed_dim = False

    def _reset_parameters(self) -> None:
        """Draw the parameters that there are, as PyTorch does, which asks whether they are in one piece."""
        self._qkv_same_embed_dim = self.in_proj_weight is not None
        super()._reset_parameters()
        self._qkv_same_embed_dim = False

    def forward(
        self,
        query: Float[Tensor, "..."],
        key: Float[Tensor, "..."],
        value: Float[Tensor, "..."],
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."] | None]:
        """Attend; without `need_weights` the map of weights need not be computed."""
        batched = query.dim() == 3
        query, key, value = self.rows("query", query), self.rows("key", key), self.rows("value", value)
        if key_padding_mask is not None:
            key_padding_mask = by_key(key_padding_mask, key)
            if key_padding_mask.dtype == torch.bool:
                padding = allow_unless(key_padding_mask)
                key, value = hide_states(key, padding), hide_states(value, padding)
        mask, bias = self.parts(query.shape[0], key.shape[1], key_padding_mask, attn_mask, is_causal)
        query, key, value = self.heads(query, key, value)
        dropout = self.dropout if self.training else 0.0
        output = self.out_proj(merge_heads(attend(query, key, value, mask=mask, bias=bias, dropout=dropout)))
        weights = attention_weights(query, key, mask=mask, bias=bias) if need_weights else None
        if weights is not None and average_attn_weights:
            weights = weights.mean(dim=1)
        if not batched:
            return output.squeeze(0), None if weights is None else weights.squeeze(0)
        return output if self.batch_first else output.transpose(0, 1), weights

    def rows(self, name: str, states: Tensor) -> Float[Tensor, "B N M"]:
        """Return states with the batch in front."""
        width = {"query": self.embed_dim, "key": self.kdim, "value": self.vdim}[name]
        if states.is_nested:
            raise ShapeError(
                f"{name} is a nested tensor, which is not taken; give a padded one with its key_padding_mask. "
                "nn.TransformerEncoder makes none where its use_nested_tensor is False."
            )
        if states.dim() not in (2, 3) or states.shape[-1] != width:
            axes = "batch, length" if self.batch_first else "length, batch"
            raise ShapeError(
                f"{name} must have the axes [{axes}, {width}], or [length, {width}] without a batch; "
                f"it has {list(states.shape)}."
            )
        if states.dim() == 2:
            return states.unsqueeze(0)
        return states if self.batch_first else states.transpose(0, 1)

    def parts(
        self, batch: int, keys: int, key_padding_mask: Tensor | None, attn_mask: Tensor | None, is_causal: bool
    ) -> tuple[Mask, Bias | None]:
        """Return mask and bias; keys that this module adds after the others are seen by all."""
        more = (self.bias_k is not None) + self.add_zero_attn
        mask: Mask = Causal() if is_causal else EVERYTHING
        bias: Bias | None = None
        if is_causal and more:
            mask = mask | TensorMask(torch.arange(keys + more, device=self.out_proj.weight.device)[None] >= keys)
        if attn_mask is not None and attn_mask.dim() == 3:
            if attn_mask.shape[0] != batch * self.num_heads:
                raise ShapeError(
                    f"attn_mask of rank 3 must have the axes [{batch} batch entries * {self.num_heads} heads, queries, "
                    f"keys]; it has {list(attn_mask.shape)}."
                )
            attn_mask = attn_mask.view(batch, self.num_heads, *attn_mask.shape[1:])
        for given in (attn_mask, key_padding_mask):
            if given is None:
                continue
            given = functional.pad(given, (0, more)) if more else given
            if given.dtype == torch.bool:
                mask = mask & allow_unless(given)
            else:
                bias = TensorBias(given) if bias is None else bias + TensorBias(given)
        return mask, bias

    def heads(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project, and add the keys and values that this module adds."""
        separate = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        weights = separate if self.in_proj_weight is None else self.in_proj_weight.chunk(3)
        offsets = (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        query, key, value = map(functional.linear, (query, key, value), weights, offsets)
        if self.bias_k is not None and self.bias_v is not None:
            key = torch.cat((key, self.bias_k.to(key.dtype).expand(len(key), -1, -1)), dim=1)
            value = torch.cat((value, self.bias_v.to(value.dtype).expand(len(value), -1, -1)), dim=1)
        if self.add_zero_attn:
            key, value = functional.pad(key, (0, 0, 0, 1)), functional.pad(value, (0, 0, 0, 1))
        return split_heads(query, self.num_heads), split_heads(key, self.num_heads), split_heads(value, self.num_heads)
