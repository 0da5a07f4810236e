"""The normalizers one row at a time in plain Python, for `judge.by_the_equation`.

Each takes the scores that are left of a row, by key, and the head, and returns their weights; autograd can follow.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from regard.attention.normalizers import (
    AdaptiveEntmax,
    Entmax,
    Entmax15,
    Normalizer,
    Sigmoid,
    SinkSoftmax,
    Softmax,
    Sparsemax,
)

Row = dict[int, Tensor]
Plain = Callable[[Normalizer, Row, int], Row]


def total_of(row: Row) -> Tensor:
    """Add one by one."""
    total = torch.zeros((), dtype=torch.float64)
    for number in row.values():
        total = total + number
    return total


def exponentials(row: Row) -> tuple[Row, float]:
    """Return the exponentials, and what was taken off before."""
    greatest = max(number.item() for number in row.values())
    return {j: torch.exp(number - greatest) for j, number in row.items()}, greatest


def softmax(normalizer: Normalizer, row: Row, head: int) -> Row:
    raised, _ = exponentials(row)
    total = total_of(raised)
    return {j: number / total for j, number in raised.items()}


def sink_softmax(normalizer: Normalizer, row: Row, head: int) -> Row:
    raised, greatest = exponentials(row)
    sinks: Tensor = dict(normalizer.named_parameters())["sinks"]
    total = total_of(raised) + torch.exp(sinks[head] - greatest)
    return {j: number / total for j, number in raised.items()}


def sigmoid(normalizer: Normalizer, row: Row, head: int) -> Row:
    assert isinstance(normalizer, Sigmoid)
    return {j: 1 / (1 + torch.exp(-number - normalizer.shift)) for j, number in row.items()}


def entmax(normalizer: Normalizer, row: Row, head: int) -> Row:
    assert isinstance(normalizer, Entmax)
    return entmax_of(row, torch.tensor(normalizer.alpha, dtype=torch.float64))


def adaptive_entmax(normalizer: Normalizer, row: Row, head: int) -> Row:
    assert isinstance(normalizer, AdaptiveEntmax)
    free = dict(normalizer.named_parameters())["free"][head]
    return entmax_of(row, 1.01 + 0.99 / (1 + torch.exp(-free)))


def entmax_of(row: Row, alpha: Tensor) -> Row:
    """Enclose tau without autograd; then one step of Newton's, which stays there, gives autograd its derivative."""
    power = 1 / (alpha - 1)
    raised = {j: (alpha - 1) * number for j, number in row.items()}
    tau = enclosed([number.item() for number in raised.values()], alpha.item())
    left = {j: number - tau for j, number in raised.items() if number.item() > tau}
    slope = sum(power.item() * number.item() ** (power.item() - 1) for number in left.values())
    step = (total_of({j: number**power for j, number in left.items()}) - 1) / slope
    return {j: (number - step) ** power for j, number in left.items()}


def enclosed(raised: list[float], alpha: float) -> float:
    """Halve an interval around tau until nothing is left of it."""
    best = max(raised) if alpha > 1 else min(raised)
    low, high = best - 1, best - len(raised) ** (1 - alpha)  # the best alone gets 1, and its fair share
    for _ in range(200):
        middle = (low + high) / 2
        total = math.fsum((number - middle) ** (1 / (alpha - 1)) for number in raised if number > middle)
        low, high = (middle, high) if total >= 1 else (low, middle)
    return low


PLAIN: Mapping[type[Normalizer], Plain] = {
    Softmax: softmax,
    SinkSoftmax: sink_softmax,
    Sparsemax: entmax,
    Entmax15: entmax,
    Entmax: entmax,
    AdaptiveEntmax: adaptive_entmax,
    Sigmoid: sigmoid,
}


def weights_of(normalizer: Normalizer, row: Row, head: int, keys: int) -> Tensor:
    """Return a row's weights; keys that are not in it, and those of a row in which there is none, get zero."""
    found = PLAIN[type(normalizer)](normalizer, row, head) if row else {}
    zero = torch.zeros((), dtype=torch.float64)
    return torch.stack([found.get(j, zero) for j in range(keys)])
