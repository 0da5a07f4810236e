"""A pytest plugin that puts our normalizers in the place of those of the package entmax, before its tests read them.

The package's tests come with it. What they test that we have not (normmax, budgets, its own thresholds) stays its own.
"""

import entmax
import torch
from entmax import activations, losses, root_finding
from torch import Tensor, nn

from regard.attention.entmax import entmax as ours


def mapped(scores: Tensor, alpha: float | Tensor, dim: int) -> Tensor:
    """Normalize along any axis."""
    if isinstance(alpha, Tensor) and alpha.dim() > 0:
        alpha = alpha.movedim(dim, -1)
    return ours(scores.movedim(dim, -1), alpha).movedim(-1, dim)


def sparsemax(scores: Tensor, dim: int = -1, k: int | None = None) -> Tensor:
    """Stand for entmax.sparsemax; `k` only says how much to sort."""
    return mapped(scores, 2.0, dim)


def entmax15(scores: Tensor, dim: int = -1, k: int | None = None) -> Tensor:
    """Stand for entmax.entmax15."""
    return mapped(scores, 1.5, dim)


def sparsemax_bisect(scores: Tensor, dim: int = -1, n_iter: int = 50, ensure_sum_one: bool = True) -> Tensor:
    """Stand for entmax.sparsemax_bisect."""
    return mapped(scores, 2.0, dim)


def entmax_bisect(
    scores: Tensor, alpha: float | Tensor = 1.5, dim: int = -1, n_iter: int = 50, ensure_sum_one: bool = True
) -> Tensor:
    """Stand for entmax.entmax_bisect."""
    return mapped(scores, alpha, dim)


class Sparsemax(nn.Module):
    """Stand for entmax.Sparsemax."""

    alpha = 2.0

    def __init__(self, dim: int = -1, k: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, scores: Tensor) -> Tensor:
        return mapped(scores, self.alpha, self.dim)


class Entmax15(Sparsemax):
    """Stand for entmax.Entmax15."""

    alpha = 1.5


COUNTERPARTS: dict[str, object] = {
    "sparsemax": sparsemax,
    "entmax15": entmax15,
    "sparsemax_bisect": sparsemax_bisect,
    "entmax_bisect": entmax_bisect,
    "Sparsemax": Sparsemax,
    "Entmax15": Entmax15,
}


def pytest_configure() -> None:
    """Replace the functions wherever the package holds them."""
    torch.manual_seed(1)
    for module in (entmax, activations, losses, root_finding):
        for name, counterpart in COUNTERPARTS.items():
            if hasattr(module, name):
                setattr(module, name, counterpart)
