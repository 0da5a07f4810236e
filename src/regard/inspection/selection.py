"""A part of a call: the batch entries, heads and queries that somebody asks for, and no others computed."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.attention.biases import Bias
from regard.attention.call import AttentionCall
from regard.attention.masks import Everything, Mask
from regard.attention.normalizers import Softmax
from regard.errors import OptionError

Choice = SupportsIndex | slice | Sequence[int] | None
"""Which of an axis: one, a range, several in any order, or all."""


@dataclass(frozen=True, eq=False)
class ChosenMask(Mask):
    """A mask of some batch entries and heads of a call."""

    mask: Mask
    batch: Int[Tensor, "B"]
    heads: Int[Tensor, "H"]

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Ask about the entry and the head that stood there before."""
        return self.mask.allows(self.batch[batch], self.heads[head], query, key)


@dataclass(frozen=True, eq=False)
class ChosenBias(Bias):
    """A bias of some batch entries and heads of a call."""

    bias: Bias
    batch: Int[Tensor, "B"]
    heads: Int[Tensor, "H"]

    def adds(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Ask about the entry and the head that stood there before."""
        return self.bias.adds(self.batch[batch], self.heads[head], query, key)


def check_call(given: object) -> None:
    """Raise if this is no call, but a site, say, which may hold several."""
    if not isinstance(given, AttentionCall):
        raise OptionError(f"One call is wanted here, such as lens[name][0]; this is of type {type(given).__name__}.")


def check_calls(given: object) -> None:
    """Raise if this is a single call, or a lens with many sites, where the calls of one site are wanted."""
    if isinstance(given, Mapping):
        raise OptionError(
            f"The calls of one site are wanted here, lens[name]; this is of type {type(given).__name__}, of "
            f"{len(given)} sites."
        )
    if isinstance(given, AttentionCall):
        raise OptionError("Several calls are wanted here, such as the site lens[name]; this is one. Give [call].")


def indices(name: str, choice: Choice, size: int) -> list[int]:
    """Return the chosen indices of an axis, negative ones counted from its end."""
    if choice is None:
        return list(range(size))
    if isinstance(choice, slice):
        return list(range(size))[choice]
    chosen = whole_numbers(name, choice)
    for index in chosen:
        if not -size <= index < size:
            raise OptionError(f"{name} has no number {index}: there are {size}, counted from 0.")
    return [index % size for index in chosen]


def whole_numbers(name: str, choice: SupportsIndex | Sequence[int]) -> list[int]:
    """Return one number or several as a list; those of NumPy and PyTorch, and their arrays, are taken too."""
    try:
        if isinstance(choice, SupportsIndex) and not getattr(choice, "shape", ()):
            return [whole_number(choice)]
        return [whole_number(number) for number in choice]  # type: ignore[union-attr]
    except TypeError as error:
        raise OptionError(
            f"{name} must be a whole number, a slice, several whole numbers, or None for all; it is {choice!r}."
        ) from error


def whole_number(given: SupportsIndex) -> int:
    """Return a number; booleans, which count as 0 and 1, would choose something else than they seem to."""
    if isinstance(given, bool) or getattr(given, "dtype", None) == torch.bool:
        raise TypeError("a boolean is no number")
    return operator.index(given)


def runs(chosen: Sequence[int]) -> list[range]:
    """Cut indices into runs without gaps, in their order."""
    found: list[range] = []
    for index in chosen:
        if found and found[-1].stop == index:
            found[-1] = range(found[-1].start, index + 1)
        else:
            found.append(range(index, index + 1))
    return found


def computed(
    call: AttentionCall,
    compute: Callable[[AttentionCall], Tensor],
    batch: Choice = None,
    heads: Choice = None,
    queries: Choice = None,
) -> Float[Tensor, "B H Q K"]:
    """Compute a map of what is chosen of a call, and of nothing else."""
    entries, chosen_heads = indices("batch", batch, len(call.query)), indices("heads", heads, call.query.shape[1])
    if not chosen_heads:
        raise OptionError(
            f"heads names none; there are {call.query.shape[1]}, counted from 0, and None stands for all."
        )
    part = call
    # Scores and normalizers may have parameters of each head, which is then chosen afterwards.
    afterwards = heads is not None and not (call.score.product and type(call.normalizer) is Softmax)
    if batch is not None or heads is not None:
        part = chosen(call, entries, list(range(call.query.shape[1])) if afterwards else chosen_heads)
    rows = (
        [part]
        if queries is None
        else [
            part._replace(query=part.query[:, :, run.start : run.stop], offset=part.offset + run.start)
            for run in runs(indices("queries", queries, call.query.shape[2]))
        ]
    )
    if not rows:
        rows = [part._replace(query=part.query[:, :, :0])]
    maps = [compute(one)[:, chosen_heads] if afterwards else compute(one) for one in rows]
    return maps[0] if len(maps) == 1 else torch.cat(maps, dim=2)


def chosen(call: AttentionCall, batch: list[int], heads: list[int]) -> AttentionCall:
    """Return a call of some batch entries and heads, each head with keys of its own."""
    device = call.query.device
    entries, columns = (torch.tensor(numbers, dtype=torch.long, device=device) for numbers in (batch, heads))
    groups = columns // max(1, call.query.shape[1] // max(1, call.key.shape[1]))
    every_head = heads == list(range(call.query.shape[1]))
    key, value = (
        tensor[entries] if every_head else tensor[entries[:, None], groups] for tensor in (call.key, call.value)
    )
    return call._replace(
        query=call.query[entries] if every_head else call.query[entries[:, None], columns],
        key=key,
        value=value,
        mask=call.mask if isinstance(call.mask, Everything) else ChosenMask(call.mask, entries, columns),
        bias=None if call.bias is None else ChosenBias(call.bias, entries, columns),
    )


def in_float32(call: AttentionCall) -> AttentionCall:
    """Return a call of half precision in float32, where its score has no parameters that must agree in type."""
    parameters = next(call.score.parameters(), None) is not None
    if call.query.dtype not in (torch.bfloat16, torch.float16) or (parameters and not call.score.product):
        return call
    return call._replace(query=call.query.float(), key=call.key.float(), value=call.value.float())
