"""Draw the weights of a mechanism: one small picture, of the same size and with the same colors for all.

The color follows the root of the weight, so that small weights differ from none; what is exactly 0 is gray.
"""

import hashlib
import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from mechanism_weights import Shown
from PIL import Image  # comes with matplotlib

from regard.inspection.pictures.colors import PAPER

DPI = 160
CELL = 38
"""Pixels of a cell: twelve times twelve of them make a picture of 640 x 520."""

LEFT, TOP, RIGHT, BOTTOM, LEAST = 58, 46, 126, 18, 6
INK, QUIET, NONE, LINE = "#1b2430", "#5b6675", "#ebebe8", "#9aa5b4"
RAMP = LinearSegmentedColormap.from_list("paper", [tuple(part / 255 for part in color) for color in PAPER])
ROOT = PowerNorm(0.5, 0, 1)
DIGEST = "Weights"
"""Where the picture says which weights it shows."""


def digest(shown: Shown) -> str:
    """Name the weights, rounded to three decimals, and the words beside them."""
    rounded = np.round(shown.weights.numpy(), 3) + 0.0  # there is no -0.0
    text = repr((rounded.tolist(), list(shown.rows), list(shown.columns)))
    return hashlib.sha256(text.encode()).hexdigest()


def is_current(path: Path, shown: Shown) -> bool:
    """Say whether a picture shows these weights; another version of matplotlib is no reason to draw it anew."""
    if not path.exists():
        return False
    with Image.open(path) as picture:
        return bool(picture.info.get(DIGEST) == digest(shown))


def draw(shown: Shown) -> bytes:
    """Return the picture as a PNG that holds the digest of its weights."""
    with mpl.rc_context(dict(mpl.rcParamsDefault) | {"font.family": "DejaVu Sans"}):
        rows, columns = shown.weights.shape
        width, height = LEFT + columns * CELL + RIGHT, TOP + max(rows, LEAST) * CELL + BOTTOM
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        axes = place(figure, LEFT, TOP, columns * CELL, rows * CELL)
        draw_cells(axes, shown)
        draw_words(axes, shown)
        draw_scale(figure, LEFT + columns * CELL + 36, min(8, max(rows, LEAST) - 1) * CELL)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": "regard", DIGEST: digest(shown)})
    return buffer.getvalue()


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Make axes at a place that is counted in pixels from the upper left corner."""
    across, down = figure.get_size_inches() * DPI
    return figure.add_axes((left / across, (down - top - height) / down, width / across, height / down))


def draw_cells(axes: Axes, shown: Shown) -> None:
    """Draw a cell a weight; where there is none, nothing."""
    weights = shown.weights.numpy()
    rows, columns = weights.shape
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    for row, column in zip(*np.nonzero(~np.isnan(weights)), strict=True):
        weight = float(weights[row, column])
        corner = (column - 0.47, row - 0.47)
        color = RAMP(ROOT(weight)) if weight else NONE
        edge = {"edgecolor": "#d9e0e8", "linewidth": 0.4} if weight else {"linewidth": 0}
        axes.add_patch(mpl.patches.Rectangle(corner, 0.94, 0.94, facecolor=color, **edge))


def draw_words(axes: Axes, shown: Shown) -> None:
    """Write keys above, queries at the left, and which is which."""
    common: dict[str, Any] = {"size": 7.2, "color": INK, "clip_on": False}
    for row, word in enumerate(shown.rows):
        axes.text(-0.68, row, word, ha="right", va="center_baseline", **common)
    for column, word in enumerate(shown.columns):
        axes.text(column, -0.72, word, ha="center", va="baseline", **common)


def draw_scale(figure: Figure, left: float, height: float) -> None:
    """Draw the colors from 0 to 1 at the right, and the gray of what is exactly 0."""
    axes = place(figure, left, TOP, 16, height)
    bar = figure.colorbar(ScalarMappable(ROOT, RAMP), cax=axes, ticks=[0.01, 0.1, 0.25, 0.5, 1])
    bar.ax.set_yticklabels(["0.01", "0.1", "0.25", "0.5", "1"])
    bar.ax.tick_params(labelsize=7, length=2, width=0.5, color=LINE, labelcolor=QUIET)
    bar.ax.minorticks_off()
    bar.outline.set(linewidth=0.5, edgecolor=LINE)
    none = place(figure, left, TOP + height + 12, 16, 16)
    none.set(xticks=[], yticks=[], facecolor=NONE)
    none.spines[:].set(linewidth=0.5, color=LINE)
    none.text(1.35, 0.5, "0", size=7, color=QUIET, va="center_baseline", transform=none.transAxes)
