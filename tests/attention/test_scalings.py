import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regard.attention.scalings import UNSCALED, DynamicNtk, LinearScaling, Llama3, LongRope, Proportional, Scaling, Yarn
from regard.errors import OptionError

PLAIN = [10_000 ** (-2 * j / 8) for j in range(4)]  # 1, 0.1, 0.01, 0.001


def found(scaling: Scaling, length: int = 1, *, base: float = 10_000.0, rotary_dim: int = 8) -> list[float]:
    """Return the frequencies of four pairs."""
    numbers: list[float] = scaling.frequencies(base, rotary_dim, length).tolist()
    return numbers


def close(numbers: float | Sequence[float]) -> object:
    return pytest.approx(numbers, rel=1e-12)


def check_frequencies() -> None:
    assert found(UNSCALED) == close([1, 0.1, 0.01, 0.001])
    assert found(LinearScaling(4.0)) == close([f / 4 for f in PLAIN])
    assert UNSCALED.amplitude == LinearScaling(4.0).amplitude == 1.0


def test_frequencies_fall_from_one_by_a_factor_a_pair() -> None:
    check_frequencies()


def check_dynamic_ntk() -> None:
    """At eight times the length with a factor of 2 the base is 15 times 15^(2/6) as large."""
    scaling = DynamicNtk(2.0, 100)
    assert found(scaling, 100) == found(scaling, 3) == close(PLAIN)
    base = 10_000 * 15 ** (8 / 6)
    assert found(scaling, 800) == close([base ** (-2 * j / 8) for j in range(4)])
    assert found(scaling, 800)[-1] == close(PLAIN[-1] / 15)
    assert found(scaling, 800, rotary_dim=2) == [1.0]


def test_dynamic_ntk_slows_the_slowest_pair_by_the_whole_factor() -> None:
    check_dynamic_ntk()


def check_llama3() -> None:
    """Pairs that turn 4 times in 100 stay, those that turn once are divided by 8, between them by the turns."""
    scaling = Llama3(8.0, 100)
    turns = [100 * f / (2 * math.pi) for f in PLAIN]  # 15.9, 1.59, 0.159, 0.0159
    left = (turns[1] - 1) / 3
    assert found(scaling) == close([1, 0.1 * (left + (1 - left) / 8), 0.01 / 8, 0.001 / 8])
    wavelength = 2 * math.pi / 0.1
    smooth = (100 / wavelength - 1) / (4 - 1)  # as Llama's code says it
    assert found(scaling)[1] == close((1 - smooth) * 0.1 / 8 + smooth * 0.1)


def test_llama3_mixes_by_the_number_of_turns() -> None:
    check_llama3()


def check_yarn() -> None:
    """Of 64 pairs over 4096 the 20 fastest stay, those from 46 on are divided by 16, between them by their number."""
    scaling = Yarn(16.0, 4096)
    plain = [10_000 ** (-2 * j / 128) for j in range(64)]
    assert sum(4096 * f / (2 * math.pi) >= 32 for f in plain) == 21  # pairs 0 to 20 turn 32 times or more
    assert sum(4096 * f / (2 * math.pi) > 1 for f in plain) == 46  # pairs 0 to 45 turn more than once
    numbers = found(scaling, rotary_dim=128)
    assert numbers[:21] == close(plain[:21])
    assert numbers[46:] == close([f / 16 for f in plain[46:]])
    assert numbers[33] == close(plain[33] / 2 + plain[33] / 32)
    assert scaling.amplitude == close(0.1 * math.log(16) + 1)
    assert Yarn(16.0, 4096, attention_factor=0.7).amplitude == 0.7
    assert Yarn(0.5, 4096).amplitude == 1.0


def test_yarn_mixes_by_the_number_of_the_pair() -> None:
    check_yarn()


def check_long_rope() -> None:
    scaling = LongRope([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], factor=8.0, original_length=64)
    assert found(scaling, 64) == close([1, 0.1 / 2, 0.01 / 3, 0.001 / 4])
    assert found(scaling, 65) == close([1 / 5, 0.1 / 6, 0.01 / 7, 0.001 / 8])
    assert scaling.amplitude == close(math.sqrt(1.5))
    assert LongRope([1.0], [1.0], 4.0, 64, attention_factor=1.25).amplitude == 1.25


def test_long_rope_takes_other_divisors_beyond_the_original_length() -> None:
    check_long_rope()


@given(st.floats(1.0, 64.0), st.integers(3, 100_000), st.integers(1, 64), st.floats(2.0, 1e6))
def test_a_scaling_never_hurries_a_pair_nor_slows_it_by_more_than_the_factor(
    factor: float, original: int, pairs: int, base: float
) -> None:
    plain = UNSCALED.frequencies(base, 2 * pairs, 1)
    for scaling in (LinearScaling(factor), Yarn(factor, original), Llama3(factor, original)):
        scaled = scaling.frequencies(base, 2 * pairs, 1)
        assert bool((scaled <= plain * (1 + 1e-12)).all())
        assert bool((scaled >= plain / factor * (1 - 1e-12)).all())


@pytest.mark.parametrize("scaling", [LinearScaling(1.0), DynamicNtk(1.0, 5), Yarn(1.0, 5), Llama3(1.0, 5)], ids=repr)
def test_a_factor_of_one_changes_nothing(scaling: Scaling) -> None:
    length = 5 if isinstance(scaling, DynamicNtk) else 500
    assert torch.allclose(scaling.frequencies(100.0, 8, length), UNSCALED.frequencies(100.0, 8, length), atol=0)
    assert scaling.amplitude == 1.0


def test_yarn_mixes_between_whole_pairs_or_not() -> None:
    """Over 2000 the pairs 1.63 and 3.14 turn 7.5 and 0.23 times: with whole ones, pairs 1 and 2 are mixed too."""
    scaling = Yarn(4.0, 2000, fast=7.5, slow=0.23)
    ends = [8 * math.log(2000 / (2 * math.pi * turns)) / (2 * math.log(10_000)) for turns in (7.5, 0.23)]
    for one, (first, last) in ((scaling, (1.0, 4.0)), (replace(scaling, rounded=False), ends)):
        slowed = [min(max((j - first) / (last - first), 0), 1) for j in range(4)]
        assert found(one) == close([f * (1 - s) + f / 4 * s for f, s in zip(PLAIN, slowed, strict=True)])
    assert (math.floor(ends[0]), math.ceil(ends[1])) == (1, 4)


def test_pairs_behind_the_share_stand_still() -> None:
    assert found(Proportional(0.5, factor=2.0)) == close([0.5, 0.05, 0, 0])
    assert found(Proportional(0.0)) == [0, 0, 0, 0]
    assert found(Proportional(1.0)) == found(UNSCALED)
    assert Proportional(0.5).amplitude == 1.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LinearScaling(0.0), "factor of a rotary scaling must be a number above 0; it is 0.0"),
        (lambda: LinearScaling(math.nan), "factor .* it is nan"),
        (lambda: DynamicNtk(2.0, 0), "original_length .* it is 0"),
        (lambda: Yarn(-2.0, 64), "factor .* it is -2.0"),
        (lambda: Yarn(2.0, 64, fast=0.0), "fast .* it is 0.0"),
        (lambda: Yarn(2.0, 64, attention_factor=math.inf), "attention_factor .* it is inf"),
        (lambda: Llama3(2.0, 64, low=-1.0), "low .* it is -1.0"),
        (lambda: Llama3(2.0, 64, low=4.0), r"low \(4.0\) must be less than high \(4.0\)"),
        (lambda: LongRope([1.0], [1.0], 2.0, 1), "original_length of LongRope must be 2 or more; it is 1"),
        (lambda: LongRope([1.0], [1.0], math.inf, 64), "factor .* it is inf"),
        (lambda: Proportional(0.5, factor=0.0), "factor .* it is 0.0"),
        (lambda: Proportional(1.5), "share of the pairs .* between 0 and 1; it is 1.5"),
        (
            lambda: found(LongRope([1.0, 2.0, 3.0], [1.0], 2.0, 64)),
            "LongRope holds 3 numbers and 8 dimensions have 4 pairs",
        ),
    ],
)
def test_a_scaling_that_cannot_be_made_says_why(make: Callable[[], object], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        make()
