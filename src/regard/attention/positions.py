"""Positions: telling attention, which ignores order, where things stand.

Positions are always told by number: the n-th step of a decoder asks for position n, whatever it was fed.
"""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.errors import OptionError, ShapeError


def sinusoidal(positions: Int[Tensor, "N"], model_dim: int) -> Float[Tensor, "N M"]:
    """Return sin(p / 10000^(2j/M)) in column 2j and the cosine in column 2j + 1 (Vaswani et al. 2017, 3.5).

    A shift by d positions is a rotation of each such pair by the same angle everywhere.
    """
    _refuse_odd(model_dim)
    pair = torch.arange(0, model_dim, 2, device=positions.device, dtype=torch.float64)
    angle = positions.double().unsqueeze(-1) * torch.exp(pair * (-math.log(10_000.0) / model_dim))
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2).float()


class SinusoidalPositions(nn.Module):
    """The sines and cosines of Vaswani et al. 2017, 3.5, for positions of any size.

    What was computed once is kept and grows when a longer text comes; it is no parameter and is not saved.
    """

    def __init__(self, model_dim: int) -> None:
        super().__init__()
        _refuse_odd(model_dim)
        self.model_dim = model_dim
        table = torch.empty(256, model_dim)
        if not table.is_meta:  # there are no values, and the first arange takes torch 2.13 a second of imports
            table = sinusoidal(torch.arange(256), model_dim)
        self.register_buffer("table", table, persistent=False)
        self.table: Tensor

    def forward(self, start: int, length: int) -> Float[Tensor, "N M"]:
        """Return the vectors of the positions from `start` on."""
        if start + length > len(self.table):
            self._compute(2 * (start + length))
        return self.table[start : start + length]

    def _compute(self, length: int) -> None:
        with torch.inference_mode(False):  # what is kept must serve training too
            self.table = sinusoidal(torch.arange(length, device=self.table.device), self.model_dim).to(self.table)

    def _apply(self, *arguments: Any, **options: Any) -> "SinusoidalPositions":
        """Compute anew where a model moves or changes type: `to_empty` leaves no values, half precision rounded."""
        super()._apply(*arguments, **options)  # type: ignore[no-untyped-call]
        if not self.table.is_meta:
            self._compute(len(self.table))
        return self


class GridPositions(nn.Module):
    """Sines and cosines in two dimensions: half of the columns tell the row, the others the column.

    For pictures cut into patches, read row by row: position p stands in row p // columns (He et al. 2022, A.1; Parmar
    et al. 2018, 3.1). Two patches of one distance, right and down, are as alike anywhere.
    """

    def __init__(self, columns: int, model_dim: int) -> None:
        super().__init__()
        if columns < 1:
            raise OptionError(f"columns must be 1 or more; it is {columns}.")
        if model_dim % 4:
            raise OptionError(
                f"model_dim ({model_dim}) must be a multiple of 4 for positions in two dimensions: sines and cosines "
                "of rows and of columns."
            )
        self.columns = columns
        self.one = SinusoidalPositions(model_dim // 2)

    def forward(self, start: int, length: int) -> Float[Tensor, "N M"]:
        """Return the vectors of the positions from `start` on, read row by row."""
        first, end = start // self.columns, -(-(start + length) // self.columns)
        rows = self.one(first, end - first).unsqueeze(1).expand(-1, self.columns, -1)
        columns = self.one(0, self.columns).expand(end - first, -1, -1)
        grid = torch.cat((rows, columns), dim=-1).flatten(0, 1)  # [N M]
        return grid[start - first * self.columns :][:length]


class LearnedPositions(nn.Module):
    """One learned vector a position, up to `max_length` (Gehring et al. 2017, 3.1)."""

    def __init__(self, max_length: int, model_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(max_length, model_dim))
        nn.init.normal_(self.weight, std=model_dim**-0.5)

    def forward(self, start: int, length: int) -> Float[Tensor, "N M"]:
        """Return the vectors of the positions from `start` on."""
        if start + length > len(self.weight):
            raise ShapeError(
                f"There are {len(self.weight)} learned positions and {start + length} were asked for. "
                "Shorten the text, or build the model with a larger max_length or sinusoidal positions."
            )
        return self.weight[start : start + length]


def _refuse_odd(model_dim: int) -> None:
    if model_dim % 2:
        raise OptionError(f"model_dim ({model_dim}) must be even for sinusoidal positions: sines and cosines pair up.")
