"""Rotary positions: queries and keys are turned, so that their products depend on how far apart they stand.

Dimensions are turned in pairs, each at a frequency of its own (scalings.py), by an angle of frequency times position.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.attention.scalings import UNSCALED, Scaling
from regard.errors import OptionError, ShapeError

Pairing = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Turns vectors [... N R] by cosines and sines [... N P] of each pair's angle; R is twice P."""


def neighbors(
    vectors: Float[Tensor, "*B N R"], cosine: Float[Tensor, "*C N P"], sine: Float[Tensor, "*C N P"]
) -> Float[Tensor, "*B N R"]:
    """Turn dimensions 2j and 2j + 1 together: the paper's pairs, and those of GPT-J (Su et al. 2021, eq. 34)."""
    one, other = vectors[..., 0::2], vectors[..., 1::2]
    return torch.stack((one * cosine - other * sine, other * cosine + one * sine), dim=-1).flatten(-2)


def halves(
    vectors: Float[Tensor, "*B N R"], cosine: Float[Tensor, "*C N P"], sine: Float[Tensor, "*C N P"]
) -> Float[Tensor, "*B N R"]:
    """Turn dimensions j and j + R/2 together: the pairs of GPT-NeoX and Llama.

    The same as `neighbors` for a model whose projections have their rows in another order.
    """
    one, other = vectors.chunk(2, dim=-1)
    return torch.cat((one * cosine - other * sine, other * cosine + one * sine), dim=-1)


class Rotary(nn.Module):
    """Turn the first `rotary_dim` dimensions of queries or keys by their position (Su et al. 2021, 3.2.2).

    The rest of the width stays as it is. One serves all heads and layers; it has no parameters, and what was computed
    once is kept. Half precision is turned in float32.
    """

    def __init__(
        self, rotary_dim: int, *, base: float = 10_000.0, scaling: Scaling = UNSCALED, pairing: Pairing = halves
    ) -> None:
        super().__init__()
        if rotary_dim < 2 or rotary_dim % 2:
            raise OptionError(
                f"rotary_dim must be even and 2 or more, for dimensions turn in pairs; it is {rotary_dim}."
            )
        if not 1 < base < math.inf:
            raise OptionError(f"base of rotary positions must be more than 1; it is {base}.")
        self.rotary_dim = rotary_dim
        self.base = base
        self.scaling = scaling
        self.pairing = pairing
        self.table: Tensor | None = None  # no buffer: it keeps its precision when a model is cast
        scaling.frequencies(base, rotary_dim, 1)  # refuses what does not fit, now

    @property
    def varies(self) -> bool:
        """Whether keys must be turned anew when a text grows."""
        return self.scaling.varies

    def forward(
        self, vectors: Float[Tensor, "B H N D"], start: int = 0, *, length: int | None = None
    ) -> Float[Tensor, "B H N D"]:
        """Turn vectors that stand one after the other from `start` on, in a text of `length` (up to their end)."""
        end = start + vectors.shape[2]
        wide = torch.promote_types(vectors.dtype, torch.float32)
        if self.varies or start < 0 or torch.compiler.is_compiling():
            positions = torch.arange(start, end, device=vectors.device)
            return self.turned(vectors, self.waves(positions, end if length is None else length, wide))
        return self.turned(vectors, self.kept(end, wide, vectors.device)[:, start:end])

    def at(
        self, vectors: Float[Tensor, "B H N D"], positions: Int[Tensor, "*B N"], *, length: int | None = None
    ) -> Float[Tensor, "B H N D"]:
        """Turn vectors that stand at these positions, [N] or [B N], in a text of `length` (up to the last of them)."""
        if positions.shape not in (vectors.shape[2:3], (len(vectors), vectors.shape[2])):
            raise ShapeError(
                f"positions must be [{vectors.shape[2]}] or [{len(vectors)}, {vectors.shape[2]}], one a vector; they "
                f"are {list(positions.shape)}."
            )
        if length is None:
            length = int(positions.max()) + 1 if self.varies and positions.numel() else 1
        waves = self.waves(positions, length, torch.promote_types(vectors.dtype, torch.float32))
        return self.turned(vectors, waves if positions.dim() == 1 else waves.unsqueeze(2))

    def turned(self, vectors: Tensor, waves: Float[Tensor, "2 *B N P"]) -> Tensor:
        """Turn vectors by cosines and sines."""
        width = vectors.shape[-1]
        if width < self.rotary_dim:
            raise ShapeError(
                f"vectors have width {width} and {self.rotary_dim} of their dimensions are to be turned; build Rotary "
                f"with rotary_dim={width // 2 * 2} or less."
            )
        cosine, sine = waves
        turned = self.pairing(vectors[..., : self.rotary_dim].to(waves.dtype), cosine, sine).to(vectors.dtype)
        return turned if width == self.rotary_dim else torch.cat((turned, vectors[..., self.rotary_dim :]), dim=-1)

    def waves(self, positions: Int[Tensor, "*B N"], length: int, dtype: torch.dtype) -> Float[Tensor, "2 *B N P"]:
        """Return cosines and sines of all angles, times the amplitude."""
        frequencies = self.scaling.frequencies(self.base, self.rotary_dim, length).to(positions.device)
        angles = positions.double().unsqueeze(-1) * frequencies
        return (torch.stack((angles.cos(), angles.sin())) * self.scaling.amplitude).to(dtype)

    def kept(self, end: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "2 L P"]:
        """Return cosines and sines of the positions from 0 to `end` and more."""
        table = self.table
        if table is None or table.shape[1] < end or table.dtype != dtype or table.device != device:
            with torch.inference_mode(False):  # what is kept must serve training too
                table = self.table = self.waves(torch.arange(max(256, 2 * end), device=device), 1, dtype)
        return table

    def extra_repr(self) -> str:
        """Name the parts that are no modules."""
        return (
            f"rotary_dim={self.rotary_dim}, base={self.base}, scaling={self.scaling}, pairing={self.pairing.__name__}"
        )
