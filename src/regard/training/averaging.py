"""The mean of several checkpoints' weights, which is often a better model than each of them.

Vaswani et al. 2017, section 6.1, average the last 5 checkpoints of the base model. Under a schedule that falls to
nothing the last checkpoints are close together and averaging changes little; with early stopping those that end at
the best one are the natural choice. Either is one call here; which of the two models to keep is a question for the
validation set, and for the caller.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from regard.errors import DamagedError, OptionError
from regard.training.checkpoints import load, stored_steps


class Average(NamedTuple):
    """Averaged weights and the steps of the checkpoints that went in, in order."""

    weights: dict[str, Tensor]
    steps: list[int]


def average_checkpoints(run: Path, *, count: int, ending_at: int | None = None, warn: Callable[[str], None]) -> Average:
    """Average the float32 weights of the `count` newest whole checkpoints of a run.

    Sums are kept in float64, so one checkpoint averages to itself. Whole numbers (a buffer that counts) are those of
    the newest. A damaged checkpoint is told to `warn` and the next older one goes in instead; where there are fewer
    than `count`, all go in, and `steps` says so.

    Args:
        run: The run's folder.
        count: How many.
        ending_at: Leave out checkpoints after this step, such as the best one.
        warn: Is given a sentence for every damaged checkpoint that was passed over.

    Raises:
        DamagedError: None is whole.
    """
    if count < 1:
        raise OptionError(f"The number of checkpoints to average ({count}) must be at least 1.")
    newest: dict[str, Tensor] = {}
    sums: dict[str, Tensor] = {}
    steps: list[int] = []
    for step in reversed(stored_steps(run)):
        if len(steps) == count or (ending_at is not None and step > ending_at):
            continue
        try:
            weights = dict(load(run, step).weights)
        except DamagedError as error:
            warn(f"The checkpoint of step {step} is damaged and passed over: {error}")
            continue
        newest = newest or weights
        _require_same_model(newest, weights, steps, step)
        sums = {name: weights[name].double() + sums.get(name, 0.0) for name in newest}
        steps.insert(0, step)
    if not steps:
        raise DamagedError(f"{run / 'checkpoints'} holds no whole checkpoint to average.")
    means = {
        name: (sums[name] / len(steps)).to(tensor.dtype) if tensor.is_floating_point() else tensor
        for name, tensor in newest.items()
    }
    return Average(means, steps)


def _require_same_model(newest: dict[str, Tensor], weights: dict[str, Tensor], steps: list[int], step: int) -> None:
    if {name: tensor.shape for name, tensor in newest.items()} != {
        name: tensor.shape for name, tensor in weights.items()
    }:
        raise DamagedError(f"The checkpoints of steps {step} and {steps[-1]} are not of the same model.")
