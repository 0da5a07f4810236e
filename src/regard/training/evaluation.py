"""Measuring a model on held-out batches by the objective that it is trained with."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from regard.errors import DataError
from regard.training.feed import Examples, to_device
from regard.training.metrics import Totals
from regard.training.objectives import Loss

Objective = Callable[[nn.Module, Any], Loss]
"""Runs a model on a batch and sums its loss."""


def measure(
    model: nn.Module, objective: Objective, batches: Iterable[Examples], device: torch.device
) -> dict[str, float]:
    """Measure loss, perplexity and accuracy a target token, in evaluation mode and without label smoothing.

    The loss is the negative log-likelihood in nats; perplexity is its exponential.
    """
    totals = Totals()
    with evaluating(model), torch.no_grad():
        for batch in batches:
            totals.add(objective(model, to_device(batch, device)))
    if totals.tokens == 0:
        raise DataError("The validation set has no target token: there is nothing to measure.")
    loss = totals.nll / totals.tokens
    return {
        "loss": loss,
        "perplexity": math.exp(loss) if loss < 700 else math.inf,
        "accuracy": totals.correct / totals.tokens,
    }


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and each of its modules back into the mode that it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
