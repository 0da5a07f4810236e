"""Dropout that is fast on CPUs (Srivastava et al. 2014).

PyTorch draws a CPU's random numbers one by one: at 12 ms for a batch's states (256 x 16 x 128, one core) it took more
than a quarter of a training step of Transformer-Tiny. NumPy's SFC64, seeded from PyTorch's generator so that what
a checkpoint restores is still the whole random state, takes a fiftieth of that (`benchmarks/dropout.py`).
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.errors import OptionError

STEPS = 1 << 16
"""Probabilities are multiples of 1/65536; the scale is exact for the multiple that is used."""


class Dropout(nn.Module):
    """Zero elements with probability p while training, and scale the others so that the mean stays."""

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise OptionError(f"dropout must lie between 0 and 1; it is {p}.")
        self.p = p

    def forward(self, states: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        """Drop elements."""
        if not self.training or self.p == 0:
            return states
        if states.device.type != "cpu" or torch.compiler.is_compiling() or self.p == 1:
            return nn.functional.dropout(states, self.p)
        return states * noise(tuple(states.shape), self.p, states.dtype)

    def extra_repr(self) -> str:
        """Name the probability."""
        return f"p={self.p}"


def noise(shape: tuple[int, ...], p: float, dtype: torch.dtype) -> Float[Tensor, "*B"]:
    """Return 0 with probability p, else 1 / (1 - p), for each element, on the CPU."""
    count = int(np.prod(shape, dtype=np.int64))
    dropped = min(round(p * STEPS), STEPS - 1)
    generator = np.random.SFC64(int(torch.randint(1 << 62, ())))
    kept = generator.random_raw((count + 3) // 4).view(np.uint16)[:count] >= dropped
    scale = torch.tensor(STEPS / (STEPS - dropped), dtype=dtype)
    # NumPy has no bfloat16: halves are made as integers of the same bits.
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
    pattern = kept.astype(np.dtype(f"int{8 * dtype.itemsize}"))
    pattern *= scale.view(bits).item()
    return torch.from_numpy(pattern).view(dtype).view(shape)
