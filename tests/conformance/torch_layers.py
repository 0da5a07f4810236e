"""PyTorch's encoder and decoder layers as blocks of ours: the adapter between the two."""

from typing import Any

import torch
from torch import Tensor, nn

from regard.attention.attend import EVERYTHING, Attention
from regard.attention.heads import CrossAttention, SelfAttention
from regard.attention.masks import Mask
from regard.attention.pytorch import allow_unless
from regard.layers.transformer import DecoderLayer, EncoderLayer, FeedForward, PostNorm, PreNorm

# PyTorch's parameters, and which of ours are cut from each.
SELF = {
    "self_attn.in_proj_weight": ["self_attention.query_key_value.weight"],
    "self_attn.in_proj_bias": ["self_attention.query_key_value.bias"],
    "self_attn.out_proj.weight": ["self_attention.output.weight"],
    "self_attn.out_proj.bias": ["self_attention.output.bias"],
    "linear1.weight": ["feed_forward.widen.weight"],
    "linear1.bias": ["feed_forward.widen.bias"],
    "linear2.weight": ["feed_forward.narrow.weight"],
    "linear2.bias": ["feed_forward.narrow.bias"],
    "norm1.weight": ["around_self.norm.weight"],
    "norm1.bias": ["around_self.norm.bias"],
}
ENCODER = SELF | {
    "norm2.weight": ["around_feed_forward.norm.weight"],
    "norm2.bias": ["around_feed_forward.norm.bias"],
}
DECODER = SELF | {
    "multihead_attn.in_proj_weight": ["cross_attention.query.weight", "cross_attention.key_value.weight"],
    "multihead_attn.in_proj_bias": ["cross_attention.query.bias", "cross_attention.key_value.bias"],
    "multihead_attn.out_proj.weight": ["cross_attention.output.weight"],
    "multihead_attn.out_proj.bias": ["cross_attention.output.bias"],
    "norm2.weight": ["around_cross.norm.weight"],
    "norm2.bias": ["around_cross.norm.bias"],
    "norm3.weight": ["around_feed_forward.norm.weight"],
    "norm3.bias": ["around_feed_forward.norm.bias"],
}


class Adapted(nn.Module):
    """One of our blocks behind the arguments of PyTorch's layer."""

    def __init__(self, block: nn.Module, names: dict[str, list[str]], batch_first: bool) -> None:
        super().__init__()
        self.block = block
        self.names = names
        self.batch_first = batch_first

    def rows(self, states: Tensor) -> Tensor:
        """Put the batch in front."""
        if states.dim() == 2:
            return states[None]
        return states if self.batch_first else states.transpose(0, 1)

    def like(self, states: Tensor, given: Tensor) -> Tensor:
        """Put the batch back where it was."""
        if given.dim() == 2:
            return states[0]
        return states if self.batch_first else states.transpose(0, 1)


class AdaptedEncoderLayer(Adapted):
    def forward(
        self, src: Tensor, src_mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None
    ) -> Tensor:
        return self.like(self.block(self.rows(src), mask_of(src_mask, src_key_padding_mask)), src)


class AdaptedDecoderLayer(Adapted):
    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
    ) -> Tensor:
        cross: Any = self.block.cross_attention
        remembered = cross.remember(self.rows(memory), mask_of(memory_mask, memory_key_padding_mask))
        states = self.block(self.rows(tgt), remembered, mask=mask_of(tgt_mask, tgt_key_padding_mask))
        return self.like(states, tgt)


def mask_of(hidden: Tensor | None, padding: Tensor | None) -> Mask:
    """Join PyTorch's two masks, True = hidden, as one of ours."""
    mask: Mask = EVERYTHING
    if hidden is not None:
        mask = mask & allow_unless(hidden)
    if padding is not None:
        mask = mask & allow_unless(padding.view(-1, 1, 1, padding.shape[-1]))
    return mask


def copied(theirs: nn.Module) -> Adapted:
    """Return our block with the weights of PyTorch's layer; what that has not, its missing biases, is zero."""
    attention: Any = theirs.self_attn
    model_dim, heads = attention.embed_dim, attention.num_heads
    activation = "relu" if theirs.activation in (nn.functional.relu, torch.relu) else "gelu"
    hidden = FeedForward(model_dim, theirs.linear1.out_features, activation=activation, dropout=0.0)  # type: ignore[union-attr, arg-type]
    parts: dict[str, Any] = {
        "residual": PreNorm if theirs.norm_first else PostNorm,
        "model_dim": model_dim,
        "dropout": 0.0,
    }
    ours = SelfAttention(model_dim, heads, Attention())
    adapted: Adapted
    if isinstance(theirs, nn.TransformerDecoderLayer):
        cross = CrossAttention(model_dim, heads, Attention())
        adapted = AdaptedDecoderLayer(DecoderLayer(ours, cross, hidden, **parts), DECODER, attention.batch_first)
    else:
        adapted = AdaptedEncoderLayer(EncoderLayer(ours, hidden, **parts), ENCODER, attention.batch_first)
    adapted.to(attention.out_proj.weight.dtype)
    state = {name: torch.zeros_like(value) for name, value in adapted.block.state_dict().items()}
    for name, value in theirs.state_dict().items():
        pieces = adapted.names[name]
        sizes = [len(state[piece]) for piece in pieces]
        state |= dict(zip(pieces, value.split(sizes), strict=True))
    adapted.block.load_state_dict(state)
    return adapted


def parameter_gradients(ours: Adapted, loss: Tensor) -> dict[str, Tensor]:
    """Return our gradients by the names of PyTorch's parameters."""
    names, parameters = zip(*ours.block.named_parameters(), strict=True)
    found = dict(zip(names, torch.autograd.grad(loss, parameters, retain_graph=True), strict=True))
    return {name: torch.cat([found[piece] for piece in pieces]) for name, pieces in ours.names.items()}
