"""What is said of a training before it begins."""

from regard.tasks.expectations import expected_time, schedule_notes
from regard.training.config import TrainingConfig
from regard.training.schedules import ScheduleConfig


def test_the_expected_time_is_told_whatever_ends_the_training() -> None:
    assert expected_time(TrainingConfig(max_updates=120), 0.5, 40.0) == (
        "120 updates (3.0 epochs) will take about 1:00 without validation."
    )
    assert expected_time(TrainingConfig(max_updates=120, max_minutes=2), 0.5, 40.0) == (
        "120 updates (3.0 epochs) will take about 1:00 without validation."
    )
    assert expected_time(TrainingConfig(max_updates=120), 0.5, 40.0, done=80) == (
        "40 updates (1.0 epochs) will take about 0:20 without validation."
    )
    for config in (TrainingConfig(max_minutes=1.5), TrainingConfig(max_updates=10_000, max_minutes=1.5)):
        assert expected_time(config, 0.5, 40.0) == (
            "1:30 will do for about 180 updates (4.5 epochs) without validation."
        )
    assert expected_time(TrainingConfig(patience=3), 0.5, 40.0) == (
        "An epoch will take about 0:20; 3 validations in a row without a better one end the training."
    )


def test_a_schedule_that_does_not_fit_into_the_training_is_told() -> None:
    assert schedule_notes(ScheduleConfig(kind="cosine", warmup=1_000), 4) == [
        "The warm-up takes 2 updates, half of the training, not 1,000."
    ]
    assert schedule_notes(ScheduleConfig(kind="linear", warmup=2, total=3), 4) == [
        "From update 3 on the learning rate stays at 0: the schedule has no more. For a longer fall train anew with "
        "--schedule.total=4."
    ]
    assert schedule_notes(ScheduleConfig(kind="linear", warmup=2, total=4), 4) == []
    assert schedule_notes(ScheduleConfig(kind="inverse-square-root", warmup=1_000), 4) == []
    assert schedule_notes(ScheduleConfig(kind="cosine", warmup=1_000), None) == []
