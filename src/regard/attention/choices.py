"""Choices between weights and mix: what becomes of weights before values are mixed by them.

Such a function takes weights and returns weights, so that `mix` does the rest:

    weights = attention_weights(query, key)
    choice, log_probability = sample(weights)
    context = mix(choice, value)
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Sampled(NamedTuple):
    """What was drawn.

    Attributes:
        choice: 1 for the key that was drawn, 0 for the others; all 0 where there was nothing to draw. No gradient.
        log_probability: The logarithm of the probability that this choice had; 0 where there was nothing to draw.
    """

    choice: Float[Tensor, "B H Q K"]
    log_probability: Float[Tensor, "B H Q"]


def sample(weights: Float[Tensor, "B H Q K"], *, generator: torch.Generator | None = None) -> Sampled:
    """Draw one key for each query with the probabilities that the weights give: hard attention (Xu et al. 2015, 4.1).

    The choice is made in proportion, so that weights need not sum to one. The score-function gradient is that of
    `(reward - baseline).detach() * log_probability`, with the baseline and the entropy that 4.1 adds being the loss's
    business.
    """
    wide = weights.to(torch.promote_types(weights.dtype, torch.float32))
    likely = wide.detach()
    arrival = torch.empty_like(likely).exponential_(generator=generator).clamp_(min=torch.finfo(likely.dtype).tiny)
    # Of independent arrivals at such rates, each is the first with the probability that is its share of the rates.
    first = (likely / arrival).argmax(dim=-1, keepdim=True)
    total = wide.sum(dim=-1, keepdim=True)
    blind = total == 0
    log_probability = wide.gather(-1, first).masked_fill(blind, 1.0).log() - total.masked_fill(blind, 1.0).log()
    choice = torch.zeros_like(weights).scatter_(-1, first, 1.0).masked_fill(blind, 0.0)
    return Sampled(choice, log_probability.squeeze(-1).to(weights.dtype))
