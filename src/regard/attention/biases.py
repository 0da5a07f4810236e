"""Biases: prior knowledge, as numbers that are added to the scores.

A bias answers by positions as a mask does, but with numbers; what may not be seen at all is a `Mask` (masks.py).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.attention.grid import Extent, check_centers, check_covers, check_tensor, cut, look_up, rank_four
from regard.errors import OptionError, ShapeError


class Bias:
    """What is added to the score of a query and a key.

    A new bias defines `adds`, and `check` and `keep` if it holds tensors by batch entry.
    """

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

    def keep(self, entries: Int[Tensor, "N"]) -> "Bias":
        """Return the bias of the chosen batch entries, in this order; one that is the same for all stays."""
        return self

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

    def keep(self, entries: Int[Tensor, "N"]) -> "Sum":
        """Choose on both sides."""
        return Sum(self.left.keep(entries), self.right.keep(entries))


class TensorBias(Bias):
    """A tensor of numbers of rank 2 to 4 that broadcasts to [B H Q K].

    Its row i speaks of the query at position `first_query + i`, its column j of the key at position j.
    """

    def __init__(self, added: Float[Tensor, "..."], *, first_query: int = 0) -> None:
        check_tensor("bias", added)
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

    def keep(self, entries: Int[Tensor, "N"]) -> "TensorBias":
        """Choose batch entries, where there are several."""
        several = self.added.shape[0] > 1
        return TensorBias(self.added[entries] if several else self.added, first_query=self.first_query)


@dataclass(frozen=True, eq=False)
class GaussianBias(Bias):
    """The log of a Gaussian around a center that each query computes: -(key - center)^2 / (2 deviation^2).

    For local-p attention (Luong et al. 2015, eq. 10). The paper multiplies the finished weights by the Gaussian, so
    that they no longer sum to one; added to the scores it keeps the sum. `centers` is [B H Q], sizes of 1 broadcast.
    """

    centers: Tensor
    deviation: float
    first_query: int = 0

    def __post_init__(self) -> None:
        check_centers(self.centers)
        if not self.deviation > 0:
            raise OptionError(f"deviation of a Gaussian bias must be above 0; it is {self.deviation}.")

    def check(self, extent: Extent) -> None:
        """Want a center for every query that is asked for."""
        check_covers("centers", self.centers, self.first_query, extent)

    def adds(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Measure the distance from the center."""
        distance = key - look_up(self.centers, batch, head, query - self.first_query)
        return -distance.square() / (2 * self.deviation**2)

    def keep(self, entries: Int[Tensor, "N"]) -> "GaussianBias":
        """Choose the centers, where there are several."""
        several = self.centers.shape[0] > 1
        return GaussianBias(self.centers[entries] if several else self.centers, self.deviation, self.first_query)


class Alibi(Bias):
    """Minus the distance, times a slope of each head: -m |i - j| (Press et al. 2022, 3).

    The paper looks back alone; looking ahead, a distance costs the same here.
    """

    def __init__(self, num_heads: int) -> None:
        if num_heads < 1:
            raise OptionError(f"num_heads must be 1 or more; it is {num_heads}.")
        self.slopes = torch.tensor(alibi_slopes(num_heads))

    def check(self, extent: Extent) -> None:
        """Want as many heads as there are slopes."""
        if extent.heads != len(self.slopes):
            raise ShapeError(
                f"Alibi has slopes for {len(self.slopes)} heads and the call has {extent.heads}; "
                f"make it with Alibi({extent.heads})."
            )

    def adds(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Multiply the distance by the slope."""
        return -self.slopes.to(key.device)[head] * (query - key).abs()


def alibi_slopes(num_heads: int) -> list[float]:
    """Return 2^(-8/H), 2^(-16/H), ... for H heads, H a power of two (Press et al. 2022, 3).

    For other numbers, as in the authors' code: those of the next lower power, then every other one of its double.
    """
    power = 2 ** int(math.log2(num_heads))
    slopes = [2.0 ** (-8 * head / power) for head in range(1, power + 1)]
    return slopes + [2.0 ** (-4 * head / power) for head in range(1, 2 * (num_heads - power), 2)]


@dataclass(frozen=True, eq=False)
class BucketBias(Bias):
    """A number for each bucket of distances and each head (Raffel et al. 2020, 2.1).

    Half of the buckets hold one distance each, the others ever more of them, up to `max_distance`; what is farther
    shares the last. Where `bidirectional`, keys after the query have buckets of their own; else they share that of 0.
    """

    numbers: Float[Tensor, "buckets H"]
    max_distance: int
    bidirectional: bool

    def check(self, extent: Extent) -> None:
        """Want as many heads as there are columns."""
        if extent.heads != self.numbers.shape[1]:
            raise ShapeError(
                f"The buckets have numbers for {self.numbers.shape[1]} heads and the call has {extent.heads}; "
                "give one column a head."
            )
        if self.numbers.device != extent.device:
            raise ShapeError(
                f"buckets is on {self.numbers.device} and query on {extent.device}; move one with .to(...)."
            )

    def adds(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Look up the bucket of the distance."""
        return self.numbers[self.bucket(key - query), head]

    def bucket(self, distance: Tensor) -> Tensor:
        """Number the bucket of a distance, of keys behind the query first."""
        buckets = len(self.numbers) // 2 if self.bidirectional else len(self.numbers)
        far = distance.abs() if self.bidirectional else (-distance).clamp(min=0)
        single = buckets // 2
        share = torch.log(far.clamp(min=1) / single) / math.log(self.max_distance / single)
        number = torch.where(far < single, far, (single + share * (buckets - single)).long().clamp(max=buckets - 1))
        return number + buckets * (distance > 0) if self.bidirectional else number


class DistanceBuckets(nn.Module):
    """The learned numbers of a BucketBias: T5's relative positions (Raffel et al. 2020, 2.1).

    A model has one for all its layers, and evaluates it once a forward.
    """

    def __init__(
        self, num_heads: int, *, num_buckets: int = 32, max_distance: int = 128, bidirectional: bool = True
    ) -> None:
        super().__init__()
        sides = 2 if bidirectional else 1
        if num_buckets < 2 * sides or num_buckets % sides:
            raise OptionError(
                f"num_buckets must be {2 * sides} or more"
                f"{' and even, half of them for each direction' if bidirectional else ''}; it is {num_buckets}."
            )
        if max_distance <= num_buckets // sides // 2:
            raise OptionError(
                f"max_distance must be more than {num_buckets // sides // 2}, which have buckets of their own; "
                f"it is {max_distance}."
            )
        self.weight = nn.Parameter(torch.empty(num_buckets, num_heads))
        self.max_distance = max_distance
        self.bidirectional = bidirectional
        nn.init.normal_(self.weight, std=0.02)

    def bias(self) -> BucketBias:
        """Return the bias by positions: for long texts, whose map would not fit."""
        return BucketBias(self.weight, self.max_distance, self.bidirectional)

    def forward(self, queries: int, keys: int, *, offset: int = 0) -> TensorBias:
        """Evaluate the bias of `keys` keys for `queries` queries, the first at position `offset`."""
        extent = Extent(1, self.weight.shape[1], queries, keys, offset, self.weight.device)
        return TensorBias(self.bias().dense(extent), first_query=offset)
