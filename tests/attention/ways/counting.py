"""Counting what a computation makes and keeps: laws of memory hold by count, on any machine and however busy it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from regard.attention.call import AttentionCall
from regard.attention.ways import windowed
from regard.attention.ways.choice import holding_the_map


def numbers(tensor: Tensor) -> int:
    """Count the numbers that the memory behind a tensor holds."""
    return tensor.untyped_storage().nbytes() // tensor.element_size()


class Largest(TorchDispatchMode):
    """Notes the numbers in the largest tensor that any operation makes, in backward too."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        sizes = [numbers(leaf) for leaf in tree_leaves(made) if isinstance(leaf, Tensor)]
        self.numbers = max(self.numbers, *sizes, 0)
        return made


def kept_for_backward(run: Callable[[], Tensor]) -> tuple[Tensor, int]:
    """Run, and count the numbers that are kept for backward; the same memory counts once."""
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run()
    return result, sum(map(numbers, kept.values()))


def forward_and_backward(run: Callable[[], Tensor], leaves: list[Tensor]) -> tuple[int, int]:
    """Return the numbers in the largest tensor of a forward and backward, and how many are kept between them."""
    with Largest() as largest:
        result, kept = kept_for_backward(run)
        torch.autograd.grad(result.square().sum(), leaves, allow_unused=True)
    return largest.numbers, kept


@contextmanager
def pairs_computed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Note of every block that `windowed` runs how many pairs of a query and a key it has."""
    found: list[int] = []

    def noted(call: AttentionCall) -> Any:
        found.append(call.query.shape[2] * call.key.shape[2])
        return holding_the_map(call)

    with monkeypatch.context() as patch:
        patch.setattr(windowed, "holding_the_map", noted)
        yield found
