"""One optimizer for every model: Adam with decoupled decay, clipping, float32 masters, no step on a bad gradient."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from regard.errors import ConfigError, OptionError

_HALF = (torch.bfloat16, torch.float16)
_FUSED = ("cpu", "cuda", "mps")
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class StepOutcome(NamedTuple):
    """What an update did.

    Attributes:
        gradient_norm: The global norm of the gradient after the division, before clipping.
        skipped: True if the norm was not finite; then nothing has changed but that the gradients are gone.
    """

    gradient_norm: float
    skipped: bool


class Optimizer:
    """AdamW (Loshchilov & Hutter 2019) over float32 masters; without weight decay it is Adam (Kingma & Ba 2015).

    A parameter in bfloat16 or float16 has a float32 master here: its gradient is copied to float32, the master is
    updated, and the rounded result goes back to the model, each in one call for all of them. A parameter in
    float32 or float64 is its own master. Frozen parameters are left alone, and so is one that got no gradient: its
    value, moments and count of steps stay. A parameter that stands in two places of the model is one, under its
    first name. Weight decay spares vectors: biases and the scales of norms.

    The defaults are those of Vaswani et al. 2017, section 5.3. Usage::

        optimizer = Optimizer(model, clip_norm=1.0, masters=cast(model, torch.bfloat16))
        for batch in batches:
            loss(batch).backward()
            optimizer.accumulate()  # only with several batches an update: adds up in float32
        outcome = optimizer.step(learning_rate(schedule, step), divisor=tokens)

    Args:
        model: The model, already in the type that it computes in.
        betas: How slowly the two moments forget.
        epsilon: What is added to the root of the second moment.
        weight_decay: How much of a weight is taken off at an update, times the learning rate.
        clip_norm: Gradients with a greater global norm are scaled down to it; 0 leaves them.
        masters: The exact values of parameters that `cast` has rounded; without them the rounded ones are taken.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        betas: tuple[float, float] = (0.9, 0.98),
        epsilon: float = 1e-9,
        weight_decay: float = 0.0,
        clip_norm: float = 0.0,
        masters: Mapping[str, Tensor] | None = None,
    ) -> None:
        check_settings(betas, epsilon, weight_decay, clip_norm)
        self.clip_norm = clip_norm
        self._parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self._parameters:
            raise OptionError("The model has no parameter that wants a gradient: there is nothing to train.")
        known = masters or {}
        self._masters = {
            name: known.get(name, p).detach().to(p.device, torch.float32, copy=True) if p.dtype in _HALF else p
            for name, p in self._parameters.items()
        }
        self._halves = [name for name, p in self._parameters.items() if p.dtype in _HALF]
        self._gradients = {name: torch.empty_like(self._masters[name]) for name in self._halves}
        groups = [
            {"params": [m for m in self._masters.values() if m.ndim >= 2], "weight_decay": weight_decay},
            {"params": [m for m in self._masters.values() if m.ndim < 2], "weight_decay": 0.0},
        ]
        fused = all(m.device.type in _FUSED for m in self._masters.values())
        self._adam = torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=epsilon, fused=fused or None)

    def accumulate(self) -> None:
        """Move the gradients of half precision into the float32 sums of this update; others add up as they are."""
        arrived = {n: g for n in self._halves if (g := self._parameters[n].grad) is not None}
        first = [name for name in arrived if self._masters[name].grad is None]
        later = [name for name in arrived if self._masters[name].grad is not None]
        if first:
            torch._foreach_copy_([self._gradients[n] for n in first], [arrived[n] for n in first])
        if later:
            torch._foreach_add_([self._gradients[n] for n in later], [arrived[n] for n in later])
        for name in arrived:
            self._masters[name].grad, self._parameters[name].grad = self._gradients[name], None

    def discard(self) -> None:
        """Forget the gradients of this update, those on the model and those summed."""
        for name, parameter in self._parameters.items():
            parameter.grad = self._masters[name].grad = None

    def step(self, learning_rate: float, *, divisor: float = 1.0) -> StepOutcome:
        """Update once by the gradients divided by `divisor` (the tokens of a summed loss), then discard them.

        Division and clipping are one multiplication in place. Costs one wait for the device: the norm is looked at
        before anything changes.
        """
        if not (divisor > 0 and math.isfinite(divisor)):
            raise OptionError(f"divisor ({divisor}) must be above 0: it counts what the gradients were summed over.")
        self.accumulate()
        gradients = [m.grad for m in self._masters.values() if m.grad is not None]
        norm = float(nn.utils.get_total_norm(gradients)) / divisor
        if not math.isfinite(norm):
            self.discard()
            return StepOutcome(norm, skipped=True)
        clipped = self.clip_norm / norm if 0 < self.clip_norm < norm else 1.0
        if gradients and clipped / divisor != 1:
            torch._foreach_mul_(gradients, clipped / divisor)
        for group in self._adam.param_groups:
            group["lr"] = learning_rate
        self._adam.step()
        self._round([name for name in self._halves if self._masters[name].grad is not None])
        self.discard()
        return StepOutcome(norm, skipped=False)

    def masters(self) -> dict[str, Tensor]:
        """Give every trained parameter in full precision, by its name in the model: live tensors, no copies."""
        return {name: master.detach() for name, master in self._masters.items()}

    def load_masters(self, masters: Mapping[str, Tensor]) -> None:
        """Put values into masters and model. Names and shapes must be those of `masters()`, or nothing changes."""
        _refuse_others(masters, {name: master.shape for name, master in self._masters.items()})
        with torch.no_grad():
            for name, value in masters.items():
                self._masters[name].copy_(value)
        self._round(self._halves)

    def state(self) -> dict[str, Tensor]:
        """Give `<parameter>.exp_avg`, `.exp_avg_sq` and `.step`, live tensors, of all that had a gradient so far."""
        states = {name: self._adam.state[m] for name, m in self._masters.items() if m in self._adam.state}
        return {f"{name}.{moment}": state[moment] for name, state in states.items() for moment in _MOMENTS}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state()` gave, bit for bit; whatever does not fit is refused before anything changes."""
        begun = {key.rpartition(".")[0] for key in state}
        masters = {name: master for name, master in self._masters.items() if name in begun}
        _refuse_others(
            state,
            {
                f"{name}.{moment}": torch.Size() if moment == "step" else master.shape
                for name, master in masters.items()
                for moment in _MOMENTS
            },
        )
        self._adam.state.clear()
        for name, master in masters.items():
            # torch keeps the count of a fused optimizer on the device of the parameter, as float32
            own = {moment: state[f"{name}.{moment}"].to(master.device, copy=True) for moment in _MOMENTS}
            self._adam.state[master] = own

    def _round(self, names: list[str]) -> None:
        """Bring masters back to the model."""
        if names:
            with torch.no_grad():
                torch._foreach_copy_([self._parameters[n] for n in names], [self._masters[n] for n in names])


def check_settings(betas: tuple[float, float], epsilon: float, weight_decay: float, clip_norm: float) -> None:
    """Refuse settings out of range, all at once."""
    faults = [f"beta ({beta}) must be at least 0 and below 1." for beta in betas if not 0 <= beta < 1]
    if not (0 < epsilon < math.inf):  # a weight that has had no gradient yet would be 0 / 0
        faults.append(f"epsilon ({epsilon}) must be greater than 0, such as 1e-9.")
    for name, value in (("weight_decay", weight_decay), ("clip_norm", clip_norm)):
        if not (value >= 0 and math.isfinite(value)):
            faults.append(f"{name} ({value}) must be at least 0.")
    if faults:
        raise ConfigError(faults)


def _refuse_others(given: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> None:
    """Refuse tensors that are not exactly those expected, naming every one."""
    faults = [f"'{name}' is missing." for name in shapes if name not in given]
    faults += [f"'{name}' belongs to no parameter of this model." for name in given if name not in shapes]
    faults += [
        f"'{name}' has shape {tuple(given[name].shape)}, the model's has {tuple(shape)}."
        for name, shape in shapes.items()
        if name in given and given[name].shape != shape
    ]
    if faults:
        raise ConfigError(faults)
