"""Entmax: a softmax that gives exact zeros to scores far below the best (Peters et al. 2019, section 3).

    entmax(s)_j = max(0, (alpha - 1) s_j - tau)^(1 / (alpha - 1)), with tau such that the row sums to one

With alpha = 2 it is sparsemax (Martins and Astudillo 2016), towards 1 softmax; below 1 nothing gets zero. Each row's
tau is the root of a falling function. Up to alpha = 2 that function is convex, so that Newton's steps from below never
pass the root: some six passes over a row, where sorting it costs as much as hundreds. Otherwise, and where numbers may
not be looked at (torch.compile, a tensor of alphas), the root is enclosed by halving.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

AT_ONCE = 2**17
"""So many scores are worked on at a time on a CPU, so that its cache holds them from one step to the next."""


def entmax(scores: Float[Tensor, "*B K"], alpha: float | Tensor) -> Float[Tensor, "*B K"]:
    """Return weights that sum to one along the last axis, or are all zero where all scores are -inf.

    `alpha` is above 0 and not 1. It may be a tensor that broadcasts to the scores with 1 for the last size: one alpha
    for each head, say. Then it gets its gradient too (Correia et al. 2019, proposition 1).
    """
    weights: Tensor = EntmaxFunction.apply(scores, alpha)  # type: ignore[no-untyped-call]
    return weights


class EntmaxFunction(torch.autograd.Function):
    """Entmax with the gradient of its closed form, in which tau does not appear."""

    @staticmethod
    def forward(scores: Tensor, alpha: float | Tensor) -> Tensor:
        """Find each row's tau and take the weights from it."""
        if isinstance(alpha, Tensor) or not 1 < alpha <= 2 or torch.compiler.is_compiling():
            return by_halving(scores, alpha)
        keys = scores.shape[-1]
        rows = scores.reshape(-1, keys)
        weights = rows.new_empty(rows.shape)
        at_once = max(1, AT_ONCE // keys) if rows.device.type == "cpu" else max(1, len(rows))
        for first in range(0, len(rows), at_once):
            by_steps(rows[first : first + at_once], alpha, weights[first : first + at_once])
        return weights.view(scores.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float | Tensor], output: Tensor) -> None:
        """Keep the weights, which are all that the gradient needs."""
        alpha = inputs[1]
        ctx.alpha = None if isinstance(alpha, Tensor) else alpha
        ctx.save_for_backward(output, *([alpha] if isinstance(alpha, Tensor) else []))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        """Multiply by the Jacobian: diag(slope) - slope slope' / sum(slope), where slope = weights^(2 - alpha)."""
        weights, *alphas = ctx.saved_tensors
        alpha = alphas[0] if alphas else ctx.alpha
        above = weights > 0
        slope = torch.where(above, weights, 1.0) ** (2 - alpha) * above
        total = slope.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(slope.dtype).tiny)
        weighted = gradient * slope
        to_scores = torch.addcmul(weighted, weighted.sum(dim=-1, keepdim=True) / total, slope, value=-1)
        if not ctx.needs_input_grad[1]:
            return to_scores, None
        shannon = -weights * torch.where(above, weights, 1.0).log()
        moved = (weights - slope / total) / (alpha - 1) ** 2
        moved = moved + (shannon - slope / total * shannon.sum(dim=-1, keepdim=True)) / (alpha - 1)
        return to_scores, (gradient * moved).sum_to_size(alpha.shape)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None], scores: Tensor, alpha: float | Tensor) -> Any:
        """Put the axis that is mapped over in front, where it is one of rows as the others are."""
        rank = scores.dim() - (in_dims[0] is not None)
        scores = scores.expand(info.batch_size, *scores.shape) if in_dims[0] is None else scores.movedim(in_dims[0], 0)
        if isinstance(alpha, Tensor) and in_dims[1] is not None:
            alpha = alpha.movedim(in_dims[1], 0)
            alpha = alpha.view(len(alpha), *[1] * (rank + 1 - alpha.dim()), *alpha.shape[1:])
        return entmax(scores, alpha), 0


def below_best(scores: Tensor) -> Tensor:
    """Return how far below the best of its row each score is; -inf in rows of nothing else."""
    return scores - scores.amax(dim=-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).min)


def normalized(weights: Tensor) -> Tensor:
    """Take out what rounding has left, in place; rows of zeros stay."""
    return weights.div_(weights.sum(dim=-1, keepdim=True).clamp_(min=torch.finfo(weights.dtype).tiny))


def by_steps(scores: Float[Tensor, "R K"], alpha: float, out: Float[Tensor, "R K"]) -> None:
    """Write the weights into `out`, for 1 < alpha <= 2: Newton's steps up to the root, until none is left.

    Steps come from below, so that a step back is rounding, or a row that may see nothing: neither is taken. A row
    where only a last small step is left waits for the others, so that its weights are the same in any company.
    """
    power, keys = 1 / (alpha - 1), scores.shape[-1]
    raised = below_best(scores).mul_(alpha - 1).clamp_(min=-1)  # what lies lower gets nothing in any case
    above, slope = torch.empty_like(raised), torch.empty_like(raised)
    tau = (raised.mean(dim=-1, keepdim=True) - keys ** (1 - alpha)).clamp_(min=-1)  # below the root: powers are convex
    smallest = 8 * torch.finfo(scores.dtype).eps
    while True:
        torch.sub(raised, tau, out=above).clamp_(min=0)
        if power == 1:
            torch.gt(above, 0, out=slope)
        else:
            torch.pow(above, power - 1, out=slope)
        excess = torch.linalg.vecdot(above, slope).sub_(1)
        count = slope.sum(dim=-1)
        step = (excess / (count * power)).clamp_(min=0).unsqueeze(-1)
        far = step > smallest
        if not bool(far.any()):
            break
        tau += step * far
    if power == 1:  # of the support alone, so that neither the steps nor hidden keys leave a trace in the last bits
        tau = (torch.linalg.vecdot(raised, slope).sub_(1) / count.clamp_(min=1)).unsqueeze(-1)
    else:
        tau += step
    torch.sub(raised, tau, out=out).clamp_(min=0)
    normalized(out if power == 1 else out.pow_(power))


def by_halving(scores: Float[Tensor, "*B K"], alpha: float | Tensor) -> Float[Tensor, "*B K"]:
    """Return the weights for any alpha: the best alone would get 1 at tau = -1, and 1 / K at the other end."""
    raised = below_best(scores) * (alpha - 1)
    tau = torch.full_like(raised[..., :1], -1.0)
    width = 1.0 - float(scores.shape[-1]) ** (1 - alpha)
    for _ in range(torch.finfo(scores.dtype).bits + 8):
        width = width / 2
        total = ((raised - tau - width).clamp(min=0) ** (1 / (alpha - 1))).sum(dim=-1, keepdim=True)
        tau = torch.where(total >= 1, tau + width, tau)
    return normalized((raised - tau).clamp(min=0) ** (1 / (alpha - 1)))
