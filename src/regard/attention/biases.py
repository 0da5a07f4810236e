"""Biases: prior knowledge, as numbers that are added to the scores.

A bias answers by positions as a mask does, but with numbers; what may not be seen at all is a `Mask` (masks.py).
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from regard.attention.grid import Extent, check_covers, cut, look_up, rank_four
from regard.errors import ShapeError


class Bias:
    """What is added to the score of a query and a key."""

    def check(self, extent: Extent) -> None:
        """Raise if the bias does not fit a grid; one that holds no tensor fits any."""

    def adds(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Return a number for each index.

        The four are integer tensors that broadcast against each other; `query` and `key` are positions.
        """
        raise NotImplementedError

    def dense(self, extent: Extent) -> Float[Tensor, "#B #H #Q #K"]:
        """Return the whole bias, for a grid that it fits, as a tensor that broadcasts to [B H Q K]."""
        return rank_four(self.adds(*extent.indices()))

    def __add__(self, other: "Bias") -> "Bias":
        return Sum(self, other) if isinstance(other, Bias) else NotImplemented


@dataclass(frozen=True, eq=False)
class Sum(Bias):
    """Two biases, one after the other."""

    left: Bias
    right: Bias

    def check(self, extent: Extent) -> None:
        """Check both."""
        self.left.check(extent)
        self.right.check(extent)

    def adds(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Add both."""
        return self.left.adds(batch, head, query, key) + self.right.adds(batch, head, query, key)

    def dense(self, extent: Extent) -> Float[Tensor, "#B #H #Q #K"]:
        """Add both tensors."""
        return self.left.dense(extent) + self.right.dense(extent)


class TensorBias(Bias):
    """A tensor of numbers of rank 2 to 4 that broadcasts to [B H Q K].

    Its row i speaks of the query at position `first_query + i`, its column j of the key at position j.
    """

    def __init__(self, added: Float[Tensor, "..."], *, first_query: int = 0) -> None:
        if not added.is_floating_point():
            raise ShapeError(
                f"A bias holds floating-point numbers; this one is {added.dtype}. "
                "Use TensorMask for a boolean mask (True = may look)."
            )
        if not 2 <= added.dim() <= 4:
            raise ShapeError(
                f"A bias has the axes [batch, heads, queries, keys] or the last two or three of them; "
                f"this one has shape {list(added.shape)}."
            )
        self.added = rank_four(added)
        self.first_query = first_query

    def check(self, extent: Extent) -> None:
        """Want every row that is asked for."""
        check_covers("bias", self.added, self.first_query, extent)

    def adds(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Look the number up."""
        return look_up(self.added, batch, head, query - self.first_query, key)

    def dense(self, extent: Extent) -> Float[Tensor, "#B #H #Q #K"]:
        """Cut out what is asked for, without copying."""
        return cut(self.added, self.first_query, extent)


@dataclass(frozen=True, eq=False)
class GaussianBias(Bias):
    """The log of a Gaussian around a center that each query computes: -(key - center)^2 / (2 deviation^2).

    For local-p attention (Luong et al. 2015, eq. 10). The paper multiplies the finished weights by the Gaussian, so
    that they no longer sum to one; added to the scores it keeps the sum. `centers` is [B H Q], sizes of 1 broadcast.
    """

    centers: Tensor
    deviation: float
    first_query: int = 0

    def check(self, extent: Extent) -> None:
        """Want a center for every query that is asked for."""
        check_covers("centers", self.centers, self.first_query, extent)

    def adds(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Measure the distance from the center."""
        distance = key - look_up(self.centers, batch, head, query - self.first_query)
        return -distance.square() / (2 * self.deviation**2)
