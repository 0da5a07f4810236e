"""Normalizers: from scores to weights, over what may be seen.

A row that may see nothing, or whose scores are all -inf, gets zero weights and zero gradients, here and only here.
Half precision is normalized in float32.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from regard.attention.entmax import entmax
from regard.errors import OptionError, ShapeError


def visible(scores: Float[Tensor, "B H Q K"], mask: Bool[Tensor, "#B #H #Q #K"] | None) -> Float[Tensor, "B H Q K"]:
    """Return the scores, -inf where the mask is false, in float32 at least."""
    wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return wide if mask is None else wide.masked_fill(~mask, -torch.inf)


def one_a_head(num_heads: int) -> nn.Parameter:
    """Return a number for each head, 0 at first."""
    if num_heads < 1:
        raise OptionError(f"num_heads of a normalizer must be 1 or more; it is {num_heads}.")
    return nn.Parameter(torch.zeros(num_heads))


def for_heads(numbers: Float[Tensor, "N"], scores: Float[Tensor, "B H Q K"]) -> Float[Tensor, "N 1 1"]:
    """Return a number for each head of the scores, or one for all, in their type."""
    heads = scores.shape[1]
    if len(numbers) not in (1, heads):
        raise ShapeError(
            f"The normalizer was built for {len(numbers)} heads and the scores have {heads}; "
            f"build it with num_heads={heads}, or with num_heads=1 for all heads alike."
        )
    return numbers.to(scores.dtype).view(-1, 1, 1)


class Normalizer(nn.Module):
    """From scores to weights."""

    __call__: Callable[..., Tensor]

    def forward(
        self, scores: Float[Tensor, "B H Q K"], mask: Bool[Tensor, "#B #H #Q #K"] | None
    ) -> Float[Tensor, "B H Q K"]:
        """Return weights along the last axis, zero where the mask is false; None allows everything."""
        raise NotImplementedError


class Softmax(Normalizer):
    """exp(score) over its sum (Bahdanau et al. 2015, eq. 6)."""

    def forward(
        self, scores: Float[Tensor, "B H Q K"], mask: Bool[Tensor, "#B #H #Q #K"] | None
    ) -> Float[Tensor, "B H Q K"]:
        """Return weights that sum to one along the last axis, or are all zero."""
        wide = visible(scores, mask)
        blind = wide.amax(dim=-1, keepdim=True) == -torch.inf
        weights = torch.softmax(wide.masked_fill(blind, 0.0), dim=-1).masked_fill(blind, 0.0)
        return weights.to(scores.dtype)


class SinkSoftmax(Normalizer):
    """A softmax that each head can leave unused: exp(score) over its sum and exp(sink).

    The weights sum to less than one, since a learned score, the head's sink, takes its share and has no value (OpenAI
    2025, gpt-oss, 2.2). A sink of 0, as at the beginning, is the softmax off by one (Xiao et al. 2024, eq. 2); one of
    -inf is none.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.sinks = one_a_head(num_heads)

    def forward(
        self, scores: Float[Tensor, "B H Q K"], mask: Bool[Tensor, "#B #H #Q #K"] | None
    ) -> Float[Tensor, "B H Q K"]:
        """Return weights that sum to at most one along the last axis."""
        wide = visible(scores, mask)
        sink = for_heads(self.sinks, wide)
        greatest = torch.maximum(wide.amax(dim=-1, keepdim=True), sink).detach()
        greatest = greatest.clamp(min=torch.finfo(wide.dtype).min)
        raised = torch.exp(wide - greatest)
        total = raised.sum(dim=-1, keepdim=True) + torch.exp(sink - greatest)
        weights = raised / total.masked_fill(total == 0, 1.0)  # 0 where there is nothing to see and no sink
        return weights.to(scores.dtype)


class Entmax(Normalizer):
    """max(0, (alpha - 1) score - tau)^(1 / (alpha - 1)), tau so that the row sums to one (Peters et al. 2019, 3).

    The greater alpha, the more weights are exactly zero: 1 is softmax (which is `Softmax`), 2 sparsemax. Below 1
    none is, and tails are heavier than those of softmax. From 1 to 2 it is fast; beyond, it takes some forty passes.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        if not 0 < alpha < math.inf or alpha == 1:
            raise OptionError(
                f"alpha of entmax must be a number above 0, and not 1, which is Softmax(); it is {alpha}. "
                "1.5 is usual, 2 is Sparsemax()."
            )
        self.alpha = alpha

    def forward(
        self, scores: Float[Tensor, "B H Q K"], mask: Bool[Tensor, "#B #H #Q #K"] | None
    ) -> Float[Tensor, "B H Q K"]:
        """Return weights that sum to one along the last axis, or are all zero."""
        return entmax(visible(scores, mask), self.alpha).to(scores.dtype)

    def extra_repr(self) -> str:
        """Name alpha."""
        return f"alpha={self.alpha}"


class Sparsemax(Entmax):
    """The point of the simplex nearest to the scores: max(0, score - tau) (Martins and Astudillo 2016, eq. 2)."""

    def __init__(self) -> None:
        super().__init__(alpha=2.0)


class Entmax15(Entmax):
    """Halfway from softmax to sparsemax: max(0, score / 2 - tau)^2 (Peters et al. 2019, 3.2)."""

    def __init__(self) -> None:
        super().__init__(alpha=1.5)


class AdaptiveEntmax(Normalizer):
    """Entmax whose heads learn how sparse they are, each its own alpha (Correia et al. 2019, 3).

    alpha = 1.01 + 0.99 sigmoid(a), a being learned from 0. The paper's is 1 + sigmoid(a); but at 1, where softmax is,
    the equation divides by zero. It takes some forty passes over a row.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.free = one_a_head(num_heads)

    def alpha(self) -> Float[Tensor, "H"]:
        """Return the alpha of each head."""
        return 1.01 + 0.99 * torch.sigmoid(self.free)

    def forward(
        self, scores: Float[Tensor, "B H Q K"], mask: Bool[Tensor, "#B #H #Q #K"] | None
    ) -> Float[Tensor, "B H Q K"]:
        """Return weights that sum to one along the last axis, or are all zero."""
        wide = visible(scores, mask)
        return entmax(wide, for_heads(self.alpha(), wide)).to(scores.dtype)


class Sigmoid(Normalizer):
    """1 / (1 + exp(-score - shift)): each key by itself (Ramapuram et al. 2024, 2).

    The weights of a row sum to anything up to the number of keys. `shift` is the paper's b; -log(K) for K keys, which
    it recommends, makes the sum about one where the scores are about 0.
    """

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        if not math.isfinite(shift):
            raise OptionError(f"shift of a sigmoid must be a finite number; it is {shift}.")
        self.shift = shift

    def forward(
        self, scores: Float[Tensor, "B H Q K"], mask: Bool[Tensor, "#B #H #Q #K"] | None
    ) -> Float[Tensor, "B H Q K"]:
        """Return weights between zero and one."""
        return torch.sigmoid(visible(scores, mask) + self.shift).to(scores.dtype)

    def extra_repr(self) -> str:
        """Name the shift."""
        return f"shift={self.shift}"
