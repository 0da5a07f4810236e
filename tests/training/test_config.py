import pytest

from regard.errors import ConfigError
from regard.training.config import TrainingConfig


@pytest.mark.parametrize("end", [{"max_updates": 1}, {"max_minutes": 0.1}, {"patience": 1}])
def test_one_end_is_enough(end: dict[str, int]) -> None:
    TrainingConfig(**end)  # type: ignore[arg-type]


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainingConfig(accumulate=0, keep=-1, log_every=0, max_minutes=float("nan"), validate_every=0)
    assert caught.value.faults == [
        "accumulate (0) must be greater than 0.",
        "max_minutes (nan) must be greater than 0.",
        "validate_every (0) must be greater than 0.",
        "log_every (0) must be greater than 0.",
        "keep (-1) must be greater than 0.",
    ]


def test_minutes_without_an_end_are_none() -> None:
    with pytest.raises(ConfigError, match=r"^max_minutes \(inf\) must be a number of minutes: leave it out where"):
        TrainingConfig(max_updates=3, max_minutes=float("inf"))


def test_a_training_without_an_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="The training has no end: give max_updates, max_minutes or patience"):
        TrainingConfig()
