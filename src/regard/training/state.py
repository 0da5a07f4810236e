"""Where a training stands, and how it goes into a checkpoint and comes back."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from regard.errors import DamagedError
from regard.training.feed import Place
from regard.training.metrics import Totals
from regard.training.optimizers import Optimizer
from regard.training.randomness import RandomState
from regard.training.selection import Selection


@dataclass(kw_only=True)
class TrainingState:
    """Everything the loop remembers from one update to the next, besides parameters, moments and random numbers.

    Attributes:
        step: Updates done, those that changed nothing among them.
        place: Where in the data the next batch stands.
        seconds: How long the run has trained, over all its sessions.
        skipped_in_row: Updates that changed nothing since the last one that did.
        validated_step: The step of the last validation.
        validated_epoch: The epoch in which it was.
        totals: Sums since the last line of metrics.jsonl.
        selection: The best validation so far.
        metrics_bytes: The length of metrics.jsonl when the checkpoint was saved.
    """

    selection: Selection
    step: int = 0
    place: Place = field(default=Place(0, 0))
    seconds: float = 0.0
    skipped_in_row: int = 0
    validated_step: int = 0
    validated_epoch: int = 0
    totals: Totals = field(default_factory=Totals)
    metrics_bytes: int = 0

    @property
    def epoch(self) -> int:
        """The epoch of the last batch, from 1."""
        return max(1, self.place.epoch + (self.place.position > 0))

    def to_json(self) -> dict[str, Any]:
        """Encode all but what the configuration says."""
        return {
            "step": self.step,
            "place": list(self.place),
            "seconds": self.seconds,
            "skipped_in_row": self.skipped_in_row,
            "validated_step": self.validated_step,
            "validated_epoch": self.validated_epoch,
            "totals": asdict(self.totals),
            "selection": asdict(self.selection),
            "metrics_bytes": self.metrics_bytes,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, by: str, patience: int | None) -> "TrainingState":
        """Decode what `to_json` gave, under a configuration that may have another measure or patience.

        Under another measure the best so far is forgotten.
        """
        try:
            stored = Selection(**value["selection"])
            selection = Selection(by, patience)
            if stored.by == by and stored.step is not None and stored.score is not None:
                selection = Selection(by, patience, count(stored.step), amount(stored.score), count(stored.waited))
            elif stored.by == by:
                selection = Selection(by, patience, waited=count(stored.waited))
            epoch, position = value["place"]
            sums = Totals(**value["totals"])
            for name, start in asdict(Totals()).items():
                (count if isinstance(start, int) else amount)(getattr(sums, name))
            names = ("step", "skipped_in_row", "validated_step", "validated_epoch", "metrics_bytes")
            return cls(
                selection=selection,
                place=Place(count(epoch), count(position)),
                totals=sums,
                seconds=amount(value["seconds"]),
                **{name: count(value[name]) for name in names},
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DamagedError(f"The state of the checkpoint lacks or does not understand {error}.") from None


def count(value: Any) -> int:
    """Return a whole number as training counts, from 0; anything else is no such state."""
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError(f"{str(value)[:40]} where a count is expected")
    return value


def amount(value: Any) -> float:
    """Return a finite number; anything else is no such state."""
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{str(value)[:40]} where a number is expected")
    return float(value)


def weights_of(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Collect what a checkpoint keeps of a model: parameters, trained ones in full precision, and buffers.

    These are the live tensors. A parameter with two names (tied embeddings) comes under the first.
    """
    buffers = {name: model.get_buffer(name) for name in kept_buffers(model)}
    return {**dict(model.named_parameters()), **buffers, **optimizer.masters()}


def kept_buffers(model: nn.Module) -> list[str]:
    """Name the buffers that belong to the model's state, such as running means; tables that are rebuilt do not."""
    persistent = model.state_dict().keys()
    return [name for name, _ in model.named_buffers() if name in persistent]


class Snapshot:
    """What the forward passes of an update change: random numbers, and buffers if the model has any.

    Args:
        model: The model.
        buffers: The names of those buffers.
        device: Where the model is.
    """

    def __init__(self, model: nn.Module, buffers: Sequence[str], device: torch.device) -> None:
        self._model, self._device = model, device
        self._random = RandomState.capture(device)
        self._buffers = {name: model.get_buffer(name).clone() for name in buffers}

    def restore_buffers(self) -> None:
        """Put the buffers back: an update that changed no parameter must not leave its statistics either."""
        for name, buffer in self._buffers.items():
            self._model.get_buffer(name).copy_(buffer)

    def restore(self) -> None:
        """Put everything back, as if the update had not begun."""
        self.restore_buffers()
        self._random.restore(self._device)


def restore_weights(model: nn.Module, optimizer: Optimizer, weights: Mapping[str, Tensor]) -> None:
    """Put the weights of a checkpoint into a model and its optimizer.

    Raises:
        DamagedError: Names or shapes differ: the checkpoint is of another model.
    """
    wanted = weights_of(model, optimizer)
    faults = [f"{name} is missing" for name in wanted if name not in weights]
    faults += [f"{name} is not of this model" for name in weights if name not in wanted]
    faults += [
        f"{name} has the shape {list(weights[name].shape)}, not {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if faults:
        shown = "; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
        raise DamagedError(f"The checkpoint is of another model: {shown}.")
    masters = optimizer.masters()
    with torch.no_grad():
        for name, tensor in wanted.items():
            if name not in masters:
                tensor.copy_(weights[name])
    optimizer.load_masters({name: weights[name] for name in masters})
