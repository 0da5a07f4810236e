import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.errors import ConfigError, OptionError
from regard.training.schedules import Kind, ScheduleConfig, ending_at, learning_rate, vaswani_peak

KINDS: list[Kind] = ["inverse-square-root", "cosine", "linear", "constant"]
falls = st.builds(
    lambda kind, peak, warmup, fall, share: ScheduleConfig(
        kind=kind, peak=peak, warmup=warmup, total=warmup + fall, floor=share * peak
    ),
    st.sampled_from(KINDS),
    st.floats(1e-6, 10),
    st.integers(0, 3000),
    st.integers(1, 3000),
    st.floats(0, 1),
)


@given(falls, st.integers(1, 10_000))
def test_a_rate_is_never_negative_nor_above_the_peak(config: ScheduleConfig, step: int) -> None:
    assert 0 <= learning_rate(config, step) <= config.peak * (1 + 1e-12)


@given(falls)
def test_the_peak_is_reached_at_the_end_of_the_warm_up(config: ScheduleConfig) -> None:
    if config.warmup:
        assert learning_rate(config, config.warmup) == pytest.approx(config.peak)


@given(falls)
def test_nothing_jumps_at_the_end_of_the_warm_up(config: ScheduleConfig) -> None:
    if config.warmup < 50 or config.total is None or config.total - config.warmup < 50:
        return
    steps = [learning_rate(config, config.warmup + k) for k in (-1, 0, 1)]
    assert abs(steps[0] - steps[1]) <= config.peak / 50 + 1e-12
    assert abs(steps[2] - steps[1]) <= config.peak / 50 + 1e-12


@given(falls, st.integers(1, 9_999))
def test_rates_rise_in_the_warm_up_and_never_after_it(config: ScheduleConfig, step: int) -> None:
    here, there = learning_rate(config, step), learning_rate(config, step + 1)
    if step < config.warmup:
        assert here < there
    else:
        assert here >= there * (1 - 1e-12)


@given(falls, st.integers(1, 10_000))
def test_no_fall_goes_below_the_floor(config: ScheduleConfig, step: int) -> None:
    if step >= config.warmup:
        assert learning_rate(config, step) >= config.floor * (1 - 1e-12)


@pytest.mark.parametrize("kind", ["cosine", "linear"])
@pytest.mark.parametrize("late", [0, 1, 1009])
def test_cosine_and_linear_reach_the_floor_at_total_and_stay(kind: Kind, late: int) -> None:
    config = ScheduleConfig(kind=kind, peak=0.7, warmup=11, total=101, floor=0.07)
    assert learning_rate(config, 101 + late) == pytest.approx(0.07)


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_half_of_the_fall_is_behind_in_its_middle(kind: Kind) -> None:
    config = ScheduleConfig(kind=kind, peak=0.7, warmup=10, total=110, floor=0.1)
    assert learning_rate(config, 60) == pytest.approx(0.4)


def test_a_quarter_of_the_cosine_is_above_the_line() -> None:
    config = ScheduleConfig(kind="cosine", peak=1.0, warmup=0, total=100)
    assert learning_rate(config, 25) == pytest.approx((1 + math.sqrt(0.5)) / 2)


@pytest.mark.parametrize("step", [1, 399, 400, 401, 100_003])
def test_the_inverse_square_root_is_the_formula_of_vaswani(step: int) -> None:
    config = ScheduleConfig(peak=vaswani_peak(512, 400), warmup=400)
    assert learning_rate(config, step) == pytest.approx(512**-0.5 * min(step**-0.5, step * 400**-1.5))


def test_the_inverse_square_root_halves_when_the_steps_quadruple() -> None:
    config = ScheduleConfig(peak=0.8, warmup=100)
    assert [learning_rate(config, step) for step in (50, 100, 400)] == pytest.approx([0.4, 0.8, 0.4])


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_warm_up_the_first_step_starts_at_the_top(kind: Kind) -> None:
    config = ScheduleConfig(kind=kind, peak=0.5, warmup=0, total=10_007)
    assert learning_rate(config, 1) == pytest.approx(0.5, rel=1e-3)


def test_constant_stays() -> None:
    config = ScheduleConfig(kind="constant", peak=0.3, warmup=4)
    assert [learning_rate(config, step) for step in (2, 4, 5, 10**7)] == [0.15, 0.3, 0.3, 0.3]


def test_a_step_before_the_first_is_refused() -> None:
    with pytest.raises(OptionError, match=r"step \(0\) must be at least 1"):
        learning_rate(ScheduleConfig(), 0)


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_a_fall_without_an_end_is_refused(kind: Kind) -> None:
    with pytest.raises(OptionError, match=f"schedule '{kind}' needs total"):
        learning_rate(ScheduleConfig(kind=kind), 7)


def test_all_faults_of_a_schedule_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        ScheduleConfig(kind="cosine", peak=-2.0, warmup=-3, total=-5, floor=0.5)
    assert [fault.split(")")[0] for fault in caught.value.faults] == [
        "peak (-2.0",
        "floor (0.5",
        "warmup (-3",
        "total (-5",
    ]


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="kind 'step' is none of inverse-square-root, cosine, linear, constant"):
        ScheduleConfig(kind="step")  # type: ignore[arg-type]


def test_a_fall_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"total \(100\) must be above warmup \(100\)"):
        ScheduleConfig(kind="linear", warmup=100, total=100)


def test_an_open_fall_ends_where_it_is_told_to() -> None:
    assert ending_at(ScheduleConfig(kind="cosine", warmup=7), 29) == ScheduleConfig(kind="cosine", warmup=7, total=29)
    assert ending_at(ScheduleConfig(kind="linear", warmup=19), 29).warmup == 14
    assert ending_at(ScheduleConfig(kind="linear", warmup=19), 1).warmup == 0
    given_total = ScheduleConfig(kind="linear", warmup=19, total=31)
    assert ending_at(given_total, 5) == given_total
    assert ending_at(ScheduleConfig(kind="constant", warmup=19), 5) == ScheduleConfig(kind="constant", warmup=19)
