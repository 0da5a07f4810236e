"""The blocks of the Transformer (Vaswani et al. 2017, 3.1)."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.attend import EVERYTHING
from regard.attention.caches import Cache
from regard.attention.call import Memory
from regard.attention.heads import CrossAttention, SelfAttention
from regard.attention.masks import Mask
from regard.errors import OptionError
from regard.layers.dropout import Dropout

Activation = Literal["relu", "gelu", "swiglu"]
Sublayer = Callable[[Tensor], Tensor]


class FeedForward(nn.Module):
    """Two layers, the same at every position (Vaswani et al. 2017, 3.3); `swiglu` gates the first (Shazeer 2020)."""

    def __init__(self, model_dim: int, hidden_dim: int, *, activation: Activation, dropout: float) -> None:
        super().__init__()
        if activation not in get_args(Activation):
            raise OptionError(
                f"activation must be {' or '.join(map(repr, get_args(Activation)))}; it is {activation!r}."
            )
        self.activation = activation
        self.widen = nn.Linear(model_dim, 2 * hidden_dim if activation == "swiglu" else hidden_dim)
        self.narrow = nn.Linear(hidden_dim, model_dim)
        self.dropout = Dropout(dropout)
        for linear in (self.widen, self.narrow):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, states: Float[Tensor, "*B M"]) -> Float[Tensor, "*B M"]:
        """Widen, activate, narrow."""
        return self.narrow(self.dropout(self.activate(self.widen(states))))  # type: ignore[no-any-return]

    def activate(self, wide: Tensor) -> Tensor:
        """Apply the activation."""
        if self.activation == "swiglu":
            gate, content = wide.chunk(2, dim=-1)
            return nn.functional.silu(gate) * content
        return torch.relu(wide) if self.activation == "relu" else nn.functional.gelu(wide)


class PostNorm(nn.Module):
    """norm(x + sublayer(x)): the paper's order (Vaswani et al. 2017, 3.1)."""

    def __init__(self, model_dim: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(model_dim)
        self.dropout = Dropout(dropout)

    def forward(self, states: Float[Tensor, "*B M"], sublayer: Sublayer) -> Float[Tensor, "*B M"]:
        """Go through a sublayer and past it."""
        return self.norm(states + self.dropout(sublayer(states)))  # type: ignore[no-any-return]


class PreNorm(PostNorm):
    """x + sublayer(norm(x)): trains without warm-up (Xiong et al. 2020)."""

    def forward(self, states: Float[Tensor, "*B M"], sublayer: Sublayer) -> Float[Tensor, "*B M"]:
        """Go through a sublayer and past it."""
        return states + self.dropout(sublayer(self.norm(states)))  # type: ignore[no-any-return]


Residual = type[PostNorm]


class EncoderLayer(nn.Module):
    """Self-attention, then the feed-forward network."""

    def __init__(
        self,
        self_attention: SelfAttention,
        feed_forward: FeedForward,
        *,
        residual: Residual,
        model_dim: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.self_attention = self_attention
        self.feed_forward = feed_forward
        self.around_self = residual(model_dim, dropout)
        self.around_feed_forward = residual(model_dim, dropout)

    def forward(self, states: Float[Tensor, "B N M"], mask: Mask = EVERYTHING) -> Float[Tensor, "B N M"]:
        """Run the block."""
        states = self.around_self(states, lambda x: self.self_attention(x, mask=mask))
        return self.around_feed_forward(states, self.feed_forward)  # type: ignore[no-any-return]


class DecoderLayer(nn.Module):
    """Self-attention, attention to the memory, then the feed-forward network."""

    def __init__(
        self,
        self_attention: SelfAttention,
        cross_attention: CrossAttention,
        feed_forward: FeedForward,
        *,
        residual: Residual,
        model_dim: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.self_attention = self_attention
        self.cross_attention = cross_attention
        self.feed_forward = feed_forward
        self.around_self = residual(model_dim, dropout)
        self.around_cross = residual(model_dim, dropout)
        self.around_feed_forward = residual(model_dim, dropout)

    def forward(
        self,
        states: Float[Tensor, "B N M"],
        memory: Memory,
        *,
        mask: Mask = EVERYTHING,
        cache: Cache | None = None,
    ) -> Float[Tensor, "B N M"]:
        """Run the block, on a whole sequence or, with a cache, on what comes next."""
        states = self.around_self(states, lambda x: self.self_attention(x, mask=mask, cache=cache))
        states = self.around_cross(states, lambda x: self.cross_attention(x, memory))
        return self.around_feed_forward(states, self.feed_forward)  # type: ignore[no-any-return]
