"""How long to train and what to do on the way."""

import math
from dataclasses import dataclass

from regard.errors import ConfigError


@dataclass(kw_only=True, frozen=True)
class TrainingConfig:
    """Ends and intervals of a training. At least one of its three ends must be given.

    Attributes:
        accumulate: Batches an update: their gradient is that of one batch of all their tokens.
        max_updates: End after so many updates.
        max_minutes: End after so many minutes, validations included, over all sessions of the run.
        patience: End after so many validations in a row without a better one.
        select_by: What is better: `loss`, `perplexity`, `accuracy`, or a score that the command computes.
        validate_every: Updates between validations; without it once an epoch.
        save_every: Updates between checkpoints, besides those after every validation.
        log_every: Updates between lines of metrics.jsonl.
        keep: Checkpoints to keep up to the last one, and as many up to the best one.
        max_skipped: After so many updates in a row that could change nothing (a loss or gradient that is not
            finite, want of memory) the training gives up.
    """

    accumulate: int = 1
    max_updates: int | None = None
    max_minutes: float | None = None
    patience: int | None = None
    select_by: str = "loss"
    validate_every: int | None = None
    save_every: int | None = None
    log_every: int = 50
    keep: int = 5
    max_skipped: int = 5

    def __post_init__(self) -> None:
        faults = [
            f"{name} ({value}) must be greater than 0."
            for name, value in vars(self).items()
            if isinstance(value, int | float) and not value > 0
        ]
        if self.max_minutes == math.inf:
            faults.append("max_minutes (inf) must be a number of minutes: leave it out where they are to end nothing.")
        if self.max_updates is None and self.max_minutes is None and self.patience is None:
            faults.append("The training has no end: give max_updates, max_minutes or patience.")
        if faults:
            raise ConfigError(faults)
