"""Scalings: the frequencies of rotary positions, and how published models change them for texts longer than learned."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from regard.errors import OptionError


class Scaling:
    """The frequency of each pair: base^(-2j/R) for pair j (Su et al. 2021, 3.2.2). Subclasses change it.

    Attributes:
        varies: Whether the frequencies change as a text grows.
    """

    varies = False

    @property
    def amplitude(self) -> float:
        """Return what turned vectors are multiplied by."""
        return 1.0

    def frequencies(self, base: float, rotary_dim: int, length: int) -> Float[Tensor, "P"]:
        """Return the angle from one position to the next, of each pair, in a text of this length."""
        return base ** (-torch.arange(0, rotary_dim, 2, dtype=torch.float64) / rotary_dim)


def above_zero(**numbers: int | float) -> None:
    """Raise if a number of a scaling cannot be."""
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise OptionError(f"{name} of a rotary scaling must be a number above 0; it is {number}.")


@dataclass(frozen=True)
class LinearScaling(Scaling):
    """All angles divided by one factor: position interpolation (Chen et al. 2023, eq. 4)."""

    factor: float

    def __post_init__(self) -> None:
        above_zero(factor=self.factor)

    def frequencies(self, base: float, rotary_dim: int, length: int) -> Float[Tensor, "P"]:
        """Divide."""
        return super().frequencies(base, rotary_dim, length) / self.factor


@dataclass(frozen=True)
class DynamicNtk(Scaling):
    """A base that grows with the text beyond `original_length`, so that slow pairs slow down most.

    base (factor L / original_length - factor + 1)^(R / (R-2)) for a text of length L: "dynamic NTK", named in
    Peng et al. 2023, 3.3. Keys are turned anew when a text grows, so a cache keeps them as they were before.
    """

    factor: float
    original_length: int
    varies = True

    def __post_init__(self) -> None:
        above_zero(factor=self.factor, original_length=self.original_length)

    def frequencies(self, base: float, rotary_dim: int, length: int) -> Float[Tensor, "P"]:
        """Raise the base."""
        if length > self.original_length and rotary_dim > 2:
            growth = self.factor * length / self.original_length - (self.factor - 1)
            base = base * growth ** (rotary_dim / (rotary_dim - 2))
        return super().frequencies(base, rotary_dim, length)


@dataclass(frozen=True)
class Yarn(Scaling):
    """Slow pairs divided by the factor, fast ones left, those between mixed (Peng et al. 2023, 3.2 and 3.4).

    A pair is fast that turns `fast` times or more over `original_length`, and slow if `slow` times or less. The paper
    mixes by the number of turns; this mixes by the number of the pair, as its code and the published models do, from a
    whole pair to a whole pair where `rounded` (gpt-oss is not). `attention_factor` is what turned vectors are
    multiplied by; 0.1 ln(factor) + 1 where a model names none.
    """

    factor: float
    original_length: int
    fast: float = 32.0
    slow: float = 1.0
    attention_factor: float | None = None
    rounded: bool = True

    def __post_init__(self) -> None:
        above_zero(factor=self.factor, original_length=self.original_length, fast=self.fast, slow=self.slow)
        above_zero(attention_factor=self.amplitude)

    @property
    def amplitude(self) -> float:
        """Return what turned vectors are multiplied by."""
        if self.attention_factor is not None:
            return self.attention_factor
        return 0.1 * math.log(max(self.factor, 1.0)) + 1.0

    def frequencies(self, base: float, rotary_dim: int, length: int) -> Float[Tensor, "P"]:
        """Mix."""
        plain = super().frequencies(base, rotary_dim, length)

        def pair_that_turns(times: float) -> float:
            turns = self.original_length / (2 * math.pi * times)
            return rotary_dim * math.log(turns) / (2 * math.log(base))

        first, last = pair_that_turns(self.fast), pair_that_turns(self.slow)
        if self.rounded:
            first, last = math.floor(first), math.ceil(last)
        first, last = max(first, 0), min(last, rotary_dim - 1)
        pair = torch.arange(len(plain), dtype=torch.float64)
        slowed = ((pair - first) / max(last - first, 0.001)).clamp(0, 1)
        return plain * (1 - slowed) + plain / self.factor * slowed


@dataclass(frozen=True)
class Llama3(Scaling):
    """Pairs divided by the factor that turn `low` times or less over `original_length` (Llama 3.1's code).

    Those that turn `high` times or more are left, those between mixed by their number of turns.
    """

    factor: float
    original_length: int
    low: float = 1.0
    high: float = 4.0

    def __post_init__(self) -> None:
        above_zero(factor=self.factor, original_length=self.original_length, low=self.low, high=self.high)
        if not self.low < self.high:
            raise OptionError(
                f"low ({self.low}) must be less than high ({self.high}): pairs that turn fewer times are slowed down."
            )

    def frequencies(self, base: float, rotary_dim: int, length: int) -> Float[Tensor, "P"]:
        """Mix."""
        plain = super().frequencies(base, rotary_dim, length)
        turns = self.original_length * plain / (2 * math.pi)
        left = ((turns - self.low) / (self.high - self.low)).clamp(0, 1)
        return plain * left + plain / self.factor * (1 - left)


@dataclass(frozen=True)
class LongRope(Scaling):
    """Each pair divided by a number of its own: one list up to `original_length`, one beyond (Ding et al. 2024).

    `factor` is how many times longer texts may be. `attention_factor` is what turned vectors are multiplied by;
    sqrt(1 + ln(factor) / ln(original_length)) where a model names none.
    """

    short: Sequence[float]
    long: Sequence[float]
    factor: float
    original_length: int
    attention_factor: float | None = None
    varies = True

    def __post_init__(self) -> None:
        if self.original_length < 2:
            raise OptionError(f"original_length of LongRope must be 2 or more; it is {self.original_length}.")
        above_zero(factor=self.factor, attention_factor=self.amplitude)

    @property
    def amplitude(self) -> float:
        """Return what turned vectors are multiplied by."""
        if self.attention_factor is not None:
            return self.attention_factor
        return math.sqrt(1 + math.log(max(self.factor, 1.0)) / math.log(self.original_length))

    def frequencies(self, base: float, rotary_dim: int, length: int) -> Float[Tensor, "P"]:
        """Divide."""
        divisors = self.long if length > self.original_length else self.short
        if len(divisors) != rotary_dim // 2:
            raise OptionError(
                f"LongRope holds {len(divisors)} numbers and {rotary_dim} dimensions have {rotary_dim // 2} pairs; "
                "give one number a pair."
            )
        return super().frequencies(base, rotary_dim, length) / torch.tensor(divisors, dtype=torch.float64)


@dataclass(frozen=True)
class Proportional(Scaling):
    """Angles divided by the factor, and turned by the first `share` of the pairs alone (Gemma 4's code).

    The other pairs stand still. Unlike a smaller `rotary_dim`, this pairs and slows down over the whole width.
    """

    share: float
    factor: float = 1.0

    def __post_init__(self) -> None:
        above_zero(factor=self.factor)
        if not 0 <= self.share <= 1:
            raise OptionError(f"share of the pairs that turn must lie between 0 and 1; it is {self.share}.")

    def frequencies(self, base: float, rotary_dim: int, length: int) -> Float[Tensor, "P"]:
        """Stop the others."""
        turned = super().frequencies(base, rotary_dim, length) / self.factor
        return turned * (torch.arange(len(turned)) < int(self.share * rotary_dim // 2))


UNSCALED = Scaling()
