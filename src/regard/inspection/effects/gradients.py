"""Gradient-weighted attention: how much each weight counts for a number that a model computes.

    maps = gradient_maps(model, lambda: model(tokens)[0, -1, word])
    maps["encoder.3.self_attention"].weighted()

The gradient with regard to the weights is the context's gradient times the values, so nothing but the context's
gradient is needed and the fast kernels run.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.attend import Run
from regard.attention.autocast import without_autocast
from regard.attention.call import AttentionCall
from regard.attention.ways import reference
from regard.attention.ways.blocks import by_rows
from regard.errors import WorkError
from regard.inspection.effects.importance import check_loss, check_seen
from regard.inspection.named_calls import NamedCalls
from regard.inspection.selection import in_float32


@dataclass(frozen=True, eq=False)
class GradientCall:
    """A call with the gradient of its context.

    Attributes:
        call: The call, apart from the graph of gradients.
        gradient: Of the number, with regard to the context.
    """

    call: AttentionCall
    gradient: Float[Tensor, "B H Q D"]

    def weights(self) -> Float[Tensor, "B H Q K"]:
        """Return how much each query used each key."""
        with without_autocast(self.call.query):
            return reference.weights(in_float32(self.call))

    def gradients(self) -> Float[Tensor, "B H Q K"]:
        """Return the gradient with regard to each weight."""
        value = self.call.value.repeat_interleave(self.call.query.shape[1] // self.call.value.shape[1], dim=1)
        wide = torch.promote_types(value.dtype, torch.float32)
        with without_autocast(value):
            return self.gradient.to(wide) @ value.to(wide).transpose(2, 3)

    def weighted(self) -> Float[Tensor, "B H Q K"]:
        """Return what each weight adds to the number, where it adds: the positive part of gradient times weight."""
        return (self.gradients() * self.weights()).clamp(min=0)

    def by_rows(self, rows: int) -> "list[GradientCall]":
        """Cut the queries into blocks of so many rows."""
        calls = by_rows(self.call, rows)
        return [GradientCall(*pair) for pair in zip(calls, self.gradient.split(rows, dim=2), strict=True)]


@dataclass(frozen=True, eq=False)
class GradientMap:
    """The calls made at one place, with the gradients of their contexts; maps put their queries one below the other."""

    name: str
    calls: list[GradientCall] = field(default_factory=list)

    def weights(self) -> Float[Tensor, "B H Q K"]:
        """Return how much each query used each key."""
        return self.joined(GradientCall.weights)

    def gradients(self) -> Float[Tensor, "B H Q K"]:
        """Return the gradient with regard to each weight."""
        return self.joined(GradientCall.gradients)

    def weighted(self) -> Float[Tensor, "B H Q K"]:
        """Return what each weight adds to the number (Barkan et al. 2021, "Grad-SAM", eq. 5)."""
        return self.joined(GradientCall.weighted)

    @torch.no_grad()
    def joined(self, compute: Callable[[GradientCall], Tensor]) -> Tensor:
        """Compute a map a call and join them."""
        sizes = {tuple(one.call.key.shape[:3]) for one in self.calls}
        if len(sizes) > 1:
            raise WorkError(
                f"The calls at {self.name} look at keys of different shapes {sorted(sizes)}: they are not one map. "
                "Read them one by one from `calls`, or decode under teacher forcing."
            )
        return torch.cat([compute(one) for one in self.calls], dim=2)


def gradient_maps(model: nn.Module, objective: Callable[[], Tensor]) -> dict[str, GradientMap]:
    """Run `objective()`, which runs the model and returns one number, and map its gradient over all attention.

    Put the model in evaluation mode: with dropout the maps are those of the weights before it. Gradients of parameters
    are left as they are.
    """
    maps: dict[str, GradientMap] = {}
    noted: list[tuple[str, AttentionCall, Tensor]] = []

    def traced(name: str, call: AttentionCall, run: Run) -> Tensor:
        context = run(call)
        # Another tensor than the kernel's own, which the model might get in another shape.
        own = context.view_as(context) if context.requires_grad else context.detach().requires_grad_()
        bare = call._replace(query=call.query.detach(), key=call.key.detach(), value=call.value.detach())
        noted.append((name, bare, own))
        return own

    with torch.enable_grad(), NamedCalls(model, traced):
        value = objective()
    check_seen(noted, "objective()")
    check_loss(value, needs_gradient=True, name="objective")
    contexts = [context for _, _, context in noted]
    slopes = torch.autograd.grad(value, contexts, allow_unused=True, materialize_grads=True)
    for (name, call, _), slope in zip(noted, slopes, strict=True):
        maps.setdefault(name, GradientMap(name)).calls.append(GradientCall(call, slope))
    return maps
