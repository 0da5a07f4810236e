"""What can be said of a training before it begins: how long it will take, and where its schedule does not fit."""

from regard.training.config import TrainingConfig
from regard.training.progress import clock
from regard.training.schedules import ScheduleConfig, ending_at


def expected_time(config: TrainingConfig, seconds: float, epoch: float, done: int = 0) -> str:
    """Say how long a training will take about, or how many updates its minutes allow.

    Args:
        config: Its ends.
        seconds: Of an update.
        epoch: Updates of an epoch.
        done: Updates of earlier sessions.
    """
    updates = None if config.max_updates is None else max(0, config.max_updates - done)
    minutes = config.max_minutes
    if minutes is not None and (updates is None or updates * seconds > 60 * minutes):
        allowed = round(60 * minutes / seconds)
        return (
            f"{clock(60 * minutes)} will do for about {allowed:,} updates ({allowed / epoch:.1f} epochs) without "
            "validation."
        )
    if updates is not None:
        return (
            f"{updates:,} updates ({updates / epoch:.1f} epochs) will take about {clock(updates * seconds)} without "
            "validation."
        )
    return (
        f"An epoch will take about {clock(epoch * seconds)}; {config.patience} validations in a row without a better "
        "one end the training."
    )


def schedule_notes(schedule: ScheduleConfig, updates: int | None) -> list[str]:
    """Say where the schedule's warm-up or fall does not fit into the training."""
    if updates is None:
        return []
    notes = []
    warmup = ending_at(schedule, updates).warmup
    if warmup < schedule.warmup:
        notes.append(f"The warm-up takes {warmup:,} updates, half of the training, not {schedule.warmup:,}.")
    if schedule.kind in ("cosine", "linear") and schedule.total is not None and schedule.total < updates:
        notes.append(
            f"From update {schedule.total:,} on the learning rate stays at {schedule.floor:g}: the schedule has no "
            f"more. For a longer fall train anew with --schedule.total={updates}."
        )
    return notes
