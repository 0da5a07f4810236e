"""Which heads matter: by the slope of a loss at each head, or by what the loss becomes without it."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.attend import Run
from regard.attention.call import AttentionCall
from regard.errors import OptionError, WorkError
from regard.inspection.effects.interventions import HeadsOff, intervene
from regard.inspection.named_calls import NamedCalls

Batch = TypeVar("Batch")
Importance = dict[str, Float[Tensor, "H"]]
"""A number for each head, by the module that attends, in the order in which they came."""


class RankedHead(NamedTuple):
    """A head with its importance."""

    site: str
    head: int
    importance: float


def gradient_importance(model: nn.Module, loss: Callable[[Batch], Tensor], batches: Iterable[Batch]) -> Importance:
    """Return the mean over examples of |d loss / d gate|, a gate of 1 on each head (Michel et al. 2019, eq. 3).

    It costs a forward and a backward a batch, whatever the number of heads. `loss(batch)` runs the model and returns
    the sum over the entries of the batch; of a mean, batches of several sizes do not count alike. Gradients of
    parameters are left as they are.
    """
    sums: Importance = {}
    examples: dict[str, int] = {}
    for batch in batches:
        gates: dict[tuple[str, int], Tensor] = {}

        def gated(name: str, call: AttentionCall, run: Run, gates: dict[tuple[str, int], Tensor] = gates) -> Tensor:
            entries, heads = call.query.shape[:2]
            if (name, entries) not in gates:
                gates[name, entries] = torch.ones(entries, heads, 1, 1, device=call.query.device, requires_grad=True)
            context = run(call)
            return (context * gates[name, entries]).to(context.dtype)

        with NamedCalls(model, gated):
            value = loss(batch)
        check_loss(value, needs_gradient=True)
        check_seen(gates)
        slopes = torch.autograd.grad(value, list(gates.values()), allow_unused=True, materialize_grads=True)
        for (name, entries), slope in zip(gates, slopes, strict=True):
            total = slope.detach().abs().sum(0).flatten().double().cpu()
            sums[name] = sums[name] + total if name in sums else total
            examples[name] = examples.get(name, 0) + entries
    check_seen(sums)
    return {name: total / examples[name] for name, total in sums.items()}


@torch.no_grad()
def ablation_importance(
    model: nn.Module,
    loss: Callable[[Batch], Tensor],
    batches: Iterable[Batch],
    sites: Sequence[str] | None = None,
) -> Importance:
    """Return how much the loss grows when a head is off: exact, and a forward a head and batch. Negative: it is better.

    `sites` are the modules asked about; None stands for all that attend.
    """
    batches = list(batches)  # of a generator there would be none left after the first head
    heads: dict[str, int] = {}

    def noted(name: str, call: AttentionCall, run: Run) -> Tensor:
        heads[name] = call.query.shape[1]
        return run(call)

    with NamedCalls(model, noted):
        plain = total_loss(loss, batches)
    check_seen(heads)
    unknown = [name for name in sites or () if name not in heads]
    if unknown:
        raise OptionError(f"No attention was seen at {', '.join(unknown)}. Calls were seen at: {', '.join(heads)}.")
    found: Importance = {}
    for name in heads if sites is None else sites:
        changed = []
        for head in range(heads[name]):
            with intervene(model, {name: HeadsOff([head])}):
                changed.append(total_loss(loss, batches) - plain)
        found[name] = torch.tensor(changed, dtype=torch.float64)
    return found


def total_loss(loss: Callable[[Batch], Tensor], batches: Iterable[Batch]) -> float:
    """Return the sum of the losses of batches."""
    total = 0.0
    for batch in batches:
        value = loss(batch)
        check_loss(value, needs_gradient=False)
        total += float(value)
    return total


def ranked(importance: Mapping[str, Float[Tensor, "H"]]) -> list[RankedHead]:
    """Return all heads, the most important first."""
    heads = [
        RankedHead(name, head, value)
        for name, values in importance.items()
        for head, value in enumerate(values.tolist())
    ]
    return sorted(heads, key=lambda head: -head.importance)


def check_loss(value: Tensor, *, needs_gradient: bool, name: str = "loss") -> None:
    """Raise if this is no loss, or what else is asked for by this name."""
    if not isinstance(value, Tensor):
        raise OptionError(f"{name} must return one number as a tensor; it returned {value!r}.")
    if value.numel() != 1:
        which = ", the sum over the batch" if name == "loss" else ""
        raise OptionError(f"{name} must return one number{which}; it returned {list(value.shape)}.")
    if needs_gradient and not value.requires_grad:
        raise WorkError(
            f"The {name} has no gradient with regard to the heads: it was computed under torch.no_grad or from copies. "
            "Compute it from what the model returns, with gradients on."
        )


def check_seen(found: Sized, function: str = "loss(batch)") -> None:
    """Raise if there was nothing to measure, since this function ran nothing."""
    if not found:
        why = ", or there was no batch" if function == "loss(batch)" else ""
        raise WorkError(f"No attention of the model ran{why}. Let {function} run this very model.")
