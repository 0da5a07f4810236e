"""One update of a model from one batch or several: the gradient, and what to do when there is none to use."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn

from regard.errors import DivergedError, WorkError
from regard.training.evaluation import Objective
from regard.training.feed import Feed, Place
from regard.training.metrics import Totals
from regard.training.optimizers import Optimizer


class Fault(NamedTuple):
    """Why an update must not change anything.

    Attributes:
        cause: What was found, as the start of a sentence.
        batches: Where in the data, and in which examples.
        out_of_memory: Whether it was want of memory rather than a number that is not finite.
    """

    cause: str
    batches: Sequence[tuple[Place, tuple[int, ...]]]
    out_of_memory: bool

    def __str__(self) -> str:
        where = ", ".join(
            f"batch {place.position + 1} of epoch {place.epoch + 1} (examples {_shown(indices)})"
            for place, indices in self.batches
        )
        return f"{self.cause} in {where}"

    def give_up(self, step: int, times: int) -> WorkError:
        """Make the error that ends a training after this fault, the last of several."""
        start = f"{times} updates in a row changed nothing, the last of them update {step}: {self}."
        if self.out_of_memory:
            return WorkError(f"{start} Train with fewer tokens in a batch and accumulate more batches.")
        return DivergedError(
            f"{start} Lower the peak of the learning rate or lengthen the warm-up. Checkpoints are only from before."
        )


class Gradient(NamedTuple):
    """What the batches of an update left, besides the gradients themselves, which the optimizer holds.

    Attributes:
        totals: The sums of their losses.
        batches: Where they stand in the data, and their examples.
        fault: Set if the gradients cannot be used.
    """

    totals: Totals
    batches: Sequence[tuple[Place, tuple[int, ...]]]
    fault: Fault | None


class Result(NamedTuple):
    """What an update did.

    Attributes:
        totals: The sums of its losses.
        gradient_norm: The norm of the gradient before clipping; None if it could not be used.
        fault: Set if nothing was changed.
    """

    totals: Totals
    gradient_norm: float | None
    fault: Fault | None


def gather_gradient(
    model: nn.Module,
    objective: Objective,
    optimizer: Optimizer,
    feed: Feed,
    *,
    batches: int,
    stop: Callable[[], bool],
) -> Gradient | None:
    """Add up the gradients of the next batches; None if `stop` said so before the last of them.

    The losses are sums over target tokens, so the caller divides by all tokens at once, and two batches of different
    size count as one batch of both. A loss that is not finite, or want of memory, ends it early.
    """
    totals = Totals()
    taken: list[tuple[Place, tuple[int, ...]]] = []
    for number in range(batches):
        if number and stop():
            return None
        place, batch = feed.place, feed.take()
        taken.append((place, batch.indices))
        cause, out_of_memory = _add_gradient(model, objective, batch, totals)
        if cause:
            return Gradient(totals, taken, Fault(cause, taken[-1:], out_of_memory))
        if batches > 1:
            optimizer.accumulate()
    return Gradient(totals, taken, None)


def apply_gradient(optimizer: Optimizer, gradient: Gradient, rate: float) -> Result:
    """Change the parameters by a gradient, or nothing if it has a fault or its norm is not finite.

    Raises:
        WorkError: There was not enough memory in the middle: the parameters are unusable and must not be saved.
    """
    if gradient.fault is not None:
        optimizer.discard()
        return Result(gradient.totals, None, gradient.fault)
    try:
        outcome = optimizer.step(rate, divisor=max(gradient.totals.tokens, 1))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise WorkError(
            f"There is not enough memory for the optimizer, which needs three times that of the weights: {error}. "
            "Nothing was saved after the last checkpoint. Train a smaller model."
        ) from error
    if outcome.skipped:
        cause = f"the norm of the gradient is {outcome.gradient_norm}"
        return Result(gradient.totals, None, Fault(cause, gradient.batches, out_of_memory=False))
    return Result(gradient.totals, outcome.gradient_norm, None)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell want of memory from other errors. On CPUs PyTorch has no class of its own for it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "not enough memory" in text)


def _add_gradient(model: nn.Module, objective: Objective, batch: object, totals: Totals) -> tuple[str, bool]:
    """Run forward and backward; return a cause if that failed, and whether it was want of memory."""
    try:
        loss = objective(model, batch)
        loss.loss.backward()
        totals.add(loss)
        return ("", False) if math.isfinite(totals.loss) else (f"the loss is {totals.loss}", False)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        cause = str(error).strip().split("\n")[0]
    # Outside of the handler, where nothing holds on to the tensors of the failed forward any more.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return f"there is not enough memory ({cause})", True


def _shown(indices: tuple[int, ...]) -> str:
    shown = ", ".join(str(index) for index in indices[:5])
    return shown + (f" and {len(indices) - 5} more" if len(indices) > 5 else "")
