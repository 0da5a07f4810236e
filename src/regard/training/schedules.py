"""Learning rates as pure functions of the step: nothing to save, nothing to restore.

Steps count from 1, the first update. Every curve warms up on a straight line from 0 that reaches `peak` at step
`warmup`; then it falls, or stays.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, get_args

from regard.errors import ConfigError, OptionError

Kind = Literal["inverse-square-root", "cosine", "linear", "constant"]


@dataclass(kw_only=True, frozen=True)
class ScheduleConfig:
    """Which learning rate at which step.

    Attributes:
        kind: The curve after the warm-up.
        peak: The highest learning rate, reached at the end of the warm-up.
        warmup: Steps of warm-up; 0 starts at the peak.
        total: The step at which cosine and linear reach the floor; the others do not look at it. Left open it is
            where the training ends, and then the warm-up takes at most half of the way there.
        floor: The learning rate below which no curve falls after the warm-up.
    """

    kind: Kind = "inverse-square-root"
    peak: float = 1e-3
    warmup: int = 4000
    total: int | None = None
    floor: float = 0.0

    def __post_init__(self) -> None:
        faults = []
        if self.kind not in get_args(Kind):
            faults.append(f"kind '{self.kind}' is none of {', '.join(get_args(Kind))}.")
        if not (self.peak > 0 and math.isfinite(self.peak)):
            faults.append(f"peak ({self.peak}) must be a finite number above 0: it is the highest learning rate.")
        if not 0 <= self.floor <= self.peak:
            faults.append(f"floor ({self.floor}) must lie between 0 and peak ({self.peak}).")
        if self.warmup < 0:
            faults.append(f"warmup ({self.warmup}) must be at least 0: it counts steps.")
        if self.kind in ("cosine", "linear") and self.total is not None and self.total <= self.warmup:
            faults.append(f"total ({self.total}) must be above warmup ({self.warmup}): the fall lies between them.")
        if faults:
            raise ConfigError(faults)


def ending_at(config: ScheduleConfig, total: int) -> ScheduleConfig:
    """Let a fall whose total is open end at a step, its warm-up taking half of the steps at most."""
    if config.kind not in ("cosine", "linear") or config.total is not None:
        return config
    return dataclasses.replace(config, total=total, warmup=min(config.warmup, total // 2))


def learning_rate(config: ScheduleConfig, step: int) -> float:
    """Give the learning rate of an update, counted from 1."""
    if step < 1:
        raise OptionError(f"step ({step}) must be at least 1: the first update is number 1.")
    peak, warmup, floor, total = config.peak, config.warmup, config.floor, config.total
    if config.kind == "constant":
        return constant(step, peak=peak, warmup=warmup)
    if config.kind == "inverse-square-root":
        return inverse_square_root(step, peak=peak, warmup=warmup, floor=floor)
    if total is None:
        raise OptionError(f"schedule '{config.kind}' needs total: give the step at which it reaches the floor.")
    fall = {"cosine": cosine, "linear": linear}[config.kind]
    return fall(step, peak=peak, warmup=warmup, total=total, floor=floor)


def inverse_square_root(step: int, *, peak: float, warmup: int, floor: float = 0.0) -> float:
    """Fall as 1 / sqrt(step): the curve of Vaswani et al. 2017, section 5.3, with its peak as the parameter.

    `peak=vaswani_peak(model_dim, warmup)` gives the paper's own numbers. The square root is that of the step, not
    of the steps since the warm-up, so a longer warm-up falls more slowly. Without a warm-up, step 1 has the peak.
    """
    if step < warmup:
        return peak * step / warmup
    return max(floor, peak * math.sqrt(max(1, warmup) / step))


def vaswani_peak(model_dim: int, warmup: int) -> float:
    """Give the peak of model_dim^-0.5 * min(step^-0.5, step * warmup^-1.5) (Vaswani et al. 2017, equation 3)."""
    return 1 / math.sqrt(model_dim * max(1, warmup))


def cosine(step: int, *, peak: float, warmup: int, total: int, floor: float = 0.0) -> float:
    """Fall along half a cosine from the peak to the floor at `total`, and stay (Loshchilov & Hutter 2017, eq. 5)."""
    if step < warmup:
        return peak * step / warmup
    return floor + (peak - floor) * (1 + math.cos(math.pi * _progress(step, warmup, total))) / 2


def linear(step: int, *, peak: float, warmup: int, total: int, floor: float = 0.0) -> float:
    """Fall on a straight line from the peak to the floor at `total`, and stay."""
    if step < warmup:
        return peak * step / warmup
    return floor + (peak - floor) * (1 - _progress(step, warmup, total))


def constant(step: int, *, peak: float, warmup: int = 0) -> float:
    """Stay at the peak after the warm-up."""
    return peak * step / warmup if step < warmup else peak


def _progress(step: int, warmup: int, total: int) -> float:
    """Give how much of the fall lies behind: 0 at the end of the warm-up, 1 from `total` on."""
    return min(1.0, (step - warmup) / (total - warmup))
