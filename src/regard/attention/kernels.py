"""Kernels as scores: with them softmax attention is kernel regression (Nadaraya 1964, Watson 1964).

A kernel K(u) of the distance between query and key, u = |q - k| / width, is scored by its logarithm, so that a softmax
gives K(u_j) / sum over j' of K(u_j'): the weights of the regression (Zhang et al. 2023, 11.2). Where a kernel is 0 the
score is -inf; a query that no key is near to gets zeros. A soft-cap would make a number of -inf: it suits none of these
but the Gaussian.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.scores import Dot, Positions, Score, check_widths
from regard.errors import OptionError


def check_kernel_width(width: float) -> None:
    """Raise if a kernel cannot be so wide."""
    if not 0 < width < math.inf:
        raise OptionError(f"The width of a kernel must be a number above 0; it is {width}.")


class Gaussian(Dot):
    """exp(-u^2 / 2), its width learned: the score is -|q - k|^2 / (2 width^2).

    Multiplied out it is a product of query and key with two more columns each, so that every way that computes products
    runs it. What is learned is `sharpness`, 1 / width; `Gaussian(width).requires_grad_(False)` learns nothing. Vectors
    that are much longer than their distances lose digits in the products: take their mean off first.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        check_kernel_width(width)
        self.sharpness = nn.Parameter(torch.tensor(1 / width))

    def prepare_query(self, query: Float[Tensor, "B H Q D"]) -> Float[Tensor, "B H Q E"]:
        """Append -|q|^2 / 2, which meets a 1, and a 1; all times sharpness^2."""
        columns = torch.cat((query, -half_square(query), torch.ones_like(query[..., :1])), dim=-1)
        return columns * self.sharpness.to(query.dtype).square()

    def prepare_key(self, key: Float[Tensor, "B G K D"]) -> Float[Tensor, "B G K E"]:
        """Append a 1 and -|k|^2 / 2, which meets a 1."""
        return torch.cat((key, torch.ones_like(key[..., :1]), -half_square(key)), dim=-1)

    def check(self, query: Float[Tensor, "B H Q E"], key: Float[Tensor, "B G K F"]) -> None:
        """Want vectors of one width, before they got two columns."""
        check_widths(query.shape[-1] - 2, key.shape[-1] - 2)


class Kernel(Score):
    """A kernel of the distance, of a fixed width."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        check_kernel_width(width)
        self.width = width

    def check(self, query: Float[Tensor, "B H Q E"], key: Float[Tensor, "B G K F"]) -> None:
        """Want vectors of one width."""
        check_widths(query.shape[-1], key.shape[-1])

    def pair(
        self, query: Float[Tensor, "B H Q E"], key: Float[Tensor, "B H K E"], positions: Positions
    ) -> Float[Tensor, "B H Q K"]:
        """Return the kernel's logarithm."""
        return self.logarithm(distances(query, key) / self.width).to(query.dtype)

    def logarithm(self, u: Float[Tensor, "B H Q K"]) -> Float[Tensor, "B H Q K"]:
        """Return log K(u)."""
        raise NotImplementedError


class Boxcar(Kernel):
    """1 where u <= 1, else 0: the mean of the values within reach.

    It is flat, so that queries and keys learn nothing from it.
    """

    def logarithm(self, u: Float[Tensor, "B H Q K"]) -> Float[Tensor, "B H Q K"]:
        """Return 0 within reach and -inf beyond."""
        return torch.zeros_like(u).masked_fill(u > 1, -torch.inf)


class Triangular(Kernel):
    """max(0, 1 - u), which Zhang et al. 2023, 11.2, call Epanechikov's; that one is 1 - u^2."""

    def logarithm(self, u: Float[Tensor, "B H Q K"]) -> Float[Tensor, "B H Q K"]:
        """Return log(1 - u) within reach, and -inf, without a gradient, beyond."""
        beyond = u >= 1
        return torch.log1p(-u.masked_fill(beyond, 0.0)).masked_fill(beyond, -torch.inf)


class Constant(Dot):
    """1, whatever query and key: the mean of all values. Its product is that of one column of zeros."""

    def prepare_query(self, query: Float[Tensor, "B H Q D"]) -> Float[Tensor, "B H Q 1"]:
        """Forget it."""
        return torch.zeros_like(query[..., :1])

    def prepare_key(self, key: Float[Tensor, "B G K D"]) -> Float[Tensor, "B G K 1"]:
        """Forget it."""
        return torch.zeros_like(key[..., :1])


def half_square(vectors: Float[Tensor, "*B D"]) -> Float[Tensor, "*B 1"]:
    """Return half of the squared length, computed in float32 at least."""
    wide = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    return (wide.square().sum(dim=-1, keepdim=True) / 2).to(vectors.dtype)


def distances(query: Float[Tensor, "B H Q E"], key: Float[Tensor, "B H K E"]) -> Float[Tensor, "B H Q K"]:
    """Return the distance of every query from every key, in float32 at least, with no [Q K E] tensor on the way."""
    query, key = (side.to(torch.promote_types(side.dtype, torch.float32)) for side in (query, key))
    if torch.compiler.is_exporting():  # ONNX has no cdist (onnxscript 0.7)
        return (query.unsqueeze(-2) - key.unsqueeze(-3)).norm(dim=-1)  # type: ignore[no-any-return]
    return torch.cdist(query, key, compute_mode="donot_use_mm_for_euclid_dist")
