"""From tokens to vectors and from vectors to scores over the vocabulary."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.errors import OptionError, ShapeError
from regard.layers.dropout import Dropout

AddPositions = Callable[[int, int], Tensor]


class Embedding(nn.Module):
    """A vector a token, times sqrt(M), plus the vector of its position (Vaswani et al. 2017, 3.4 and 3.5).

    `positions` maps (start, length) to vectors [N M]; None adds none.
    """

    def __init__(self, vocab_size: int, model_dim: int, *, positions: nn.Module | None, dropout: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, model_dim))
        nn.init.normal_(self.weight, std=model_dim**-0.5)
        self.scale = math.sqrt(model_dim)
        self.positions = positions
        self.dropout = Dropout(dropout)

    def forward(self, tokens: Int[Tensor, "B N"], start: int = 0) -> Float[Tensor, "B N M"]:
        """Embed tokens that stand at the positions from `start` on."""
        return self.at(tokens, start, tokens.shape[1])

    def at(self, tokens: Int[Tensor, "B N"], start: int, length: int) -> Float[Tensor, "B N M"]:
        """Embed tokens at `length` positions from `start` on; a length of 1 serves tokens side by side in beams."""
        try:
            states = nn.functional.embedding(tokens, self.weight) * self.scale
        except (IndexError, RuntimeError):
            check_tokens(tokens, len(self.weight))
            raise
        if self.positions is not None:
            states = states + self.positions(start, length).to(states.dtype)
        return self.dropout(states)  # type: ignore[no-any-return]


def check_tokens(tokens: Tensor, vocab_size: int) -> None:
    """Raise if tokens are not of the vocabulary."""
    if tokens.is_floating_point() or tokens.dtype == torch.bool:
        raise ShapeError(f"tokens must be whole numbers; they are {tokens.dtype}.")
    if tokens.numel() and not 0 <= tokens.min() <= tokens.max() < vocab_size:
        raise OptionError(
            f"tokens must lie between 0 and {vocab_size - 1}, for the vocabulary holds {vocab_size}; they reach from "
            f"{tokens.min()} to {tokens.max()}. Encode the text with the tokenizer that the model was trained with."
        )


class Output(nn.Module):
    """Scores over the vocabulary. Its weight may be that of an embedding (Press & Wolf 2017)."""

    def __init__(self, vocab_size: int, model_dim: int, *, tied: Embedding | None = None, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, model_dim)) if tied is None else tied.weight
        self.bias = nn.Parameter(torch.zeros(vocab_size)) if bias else None
        if tied is None:
            nn.init.normal_(self.weight, std=model_dim**-0.5)

    def forward(self, states: Float[Tensor, "*B M"]) -> Float[Tensor, "*B V"]:
        """Return scores before the softmax."""
        return nn.functional.linear(states, self.weight, self.bias)
