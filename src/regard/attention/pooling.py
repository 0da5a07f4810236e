"""Pooling: learned queries sum up a sequence of any length."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.attend import EVERYTHING
from regard.attention.heads import CrossAttention
from regard.attention.masks import Mask
from regard.errors import OptionError


class AttentionPooling(nn.Module):
    """Learned queries attend to a sequence, one vector each (Lee et al. 2019, 3.2, without its feed-forward networks).

    One query makes one vector of a sentence or a picture (Yang et al. 2016, 2.2). The order of the sequence does not
    matter, and neither does what the mask hides.
    """

    def __init__(self, cross_attention: CrossAttention, num_queries: int = 1) -> None:
        super().__init__()
        if num_queries < 1:
            raise OptionError(f"num_queries must be 1 or more; it is {num_queries}.")
        self.cross_attention = cross_attention
        self.queries = nn.Parameter(torch.empty(num_queries, cross_attention.query.in_features))
        nn.init.xavier_uniform_(self.queries)

    def forward(self, states: Float[Tensor, "B N C"], mask: Mask | Tensor = EVERYTHING) -> Float[Tensor, "B P M"]:
        """Sum up the states."""
        memory = self.cross_attention.remember(states, mask)
        return self.cross_attention(self.queries.expand(len(states), -1, -1), memory)  # type: ignore[no-any-return]
