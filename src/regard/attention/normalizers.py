"""Normalizers: from scores to weights, over what may be seen.

A row that may see nothing, or whose scores are all -inf, gets zero weights and zero gradients, here and only here.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Normalizer(nn.Module):
    """From scores to weights."""

    __call__: Callable[..., Tensor]

    def forward(
        self, scores: Float[Tensor, "B H Q K"], mask: Bool[Tensor, "#B #H #Q #K"] | None
    ) -> Float[Tensor, "B H Q K"]:
        """Return weights along the last axis, zero where the mask is false; None allows everything."""
        raise NotImplementedError


class Softmax(Normalizer):
    """exp(score) over its sum. Half precision is normalized in float32."""

    def forward(
        self, scores: Float[Tensor, "B H Q K"], mask: Bool[Tensor, "#B #H #Q #K"] | None
    ) -> Float[Tensor, "B H Q K"]:
        """Return weights that sum to one along the last axis, or are all zero."""
        wide = scores.float() if scores.dtype in (torch.bfloat16, torch.float16) else scores
        if mask is not None:
            wide = wide.masked_fill(~mask, -torch.inf)
        blind = wide.amax(dim=-1, keepdim=True) == -torch.inf
        weights = torch.softmax(wide.masked_fill(blind, 0.0), dim=-1).masked_fill(blind, 0.0)
        return weights.to(scores.dtype)
