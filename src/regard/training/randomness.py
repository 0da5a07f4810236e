"""The state of torch's random numbers: kept with a checkpoint, put back on resume, kept out of side work.

Only torch's generators count: nothing in regard draws from Python's or NumPy's.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from regard.errors import DamagedError


class RandomState:
    """Where torch's generators stand: the one of the CPU, and that of the device if it is a GPU."""

    def __init__(self, states: Mapping[str, Tensor]) -> None:
        self._states = dict(states)

    @classmethod
    def capture(cls, device: torch.device) -> "RandomState":
        """Read the generators' state."""
        states = {"cpu": torch.get_rng_state()}
        if device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(device)
        return cls(states)

    def restore(self, device: torch.device) -> None:
        """Put the generators back into this state. One that was not captured keeps its own."""
        torch.set_rng_state(self._states["cpu"])
        if device.type == "cuda" and "cuda" in self._states:
            torch.cuda.set_rng_state(self._states["cuda"], device)

    def to_json(self) -> dict[str, str]:
        """Encode as text."""
        return {name: b64encode(state.numpy().tobytes()).decode() for name, state in self._states.items()}

    @classmethod
    def from_json(cls, value: Mapping[str, str]) -> "RandomState":
        """Decode what `to_json` gave."""
        try:
            states = {
                name: torch.frombuffer(bytearray(b64decode(value[name], validate=True)), dtype=torch.uint8)
                for name in ("cpu", "cuda")
                if name in value
            }
            torch.Generator().set_state(states["cpu"])
        except (ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
            raise DamagedError(f"The random states of the checkpoint cannot be used: {error}.") from None
        return cls(states)


@contextmanager
def preserved(device: torch.device) -> Iterator[None]:
    """Leave the generators afterwards as they were before, whatever is drawn inside."""
    before = RandomState.capture(device)
    try:
        yield
    finally:
        before.restore(device)
