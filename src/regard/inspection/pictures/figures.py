"""Maps as a picture for print: the figure of Bahdanau et al. 2015 (3), drawn with matplotlib's objects.

Every length is in inches and follows from the words, so forty words give a larger picture, not smaller names.
The settings of the surrounding program are set aside while drawing: the same maps give the same bytes anywhere
with the same fonts and libraries.
"""

import io
import math
import os
import unicodedata
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, islice
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from regard.errors import OptionError
from regard.files import write_whole
from regard.inspection.pictures.colors import GOLD, PAPER, Color, is_light, shade
from regard.inspection.pictures.glyphs import clusters, label, visible
from regard.inspection.pictures.maps import Map

DPI = 200
LARGEST = 16_000
"""Pixels of the longer side of a picture; above it, drawing takes gigabytes."""

WIDEST = 14.0
"""Inches that several maps share before the next goes below them."""

THINNEST = 0.01
"""Inches of a letter at least; so many are measured for a line."""

LONGEST = 32
"""Letters of a word; the rest is an ellipsis."""

TITLE_LINES = 12
"""Lines of a title or a note; the rest is an ellipsis."""

TITLE, NOTE = 11, 8
"""Points of a title, in bold, and of a note."""

LEGEND = "gold link"

FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Source Han Sans",
    "IPAexGothic",
    "WenQuanYi Zen Hei",
    "Hiragino Sans",
    "PingFang SC",
    "Yu Gothic",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Nirmala UI",
    "Arial Unicode MS",
    "Symbola",
)
"""Asked in this order for each letter; the first comes with matplotlib, the others where a system has them."""

_INK, _QUIET, _GRID = "#1b2430", "#5b6675", "#e3e8ef"
_SLANT = math.radians(45)
_GAP, _MARGIN, _BAR = 0.45, 0.2, 0.7
_SETTINGS_KEPT = ("backend", "interactive", "toolbar", "webagg")


def save_png(path: str | os.PathLike[str], maps: Map | Sequence[Map]) -> None:
    """Write one map or several as one PNG, whole or not at all.

    Input words stand on top, output words at the left, gold links are outlined. A letter that no installed font
    has becomes a box. Arabic letters join from matplotlib 3.11 on.

    Raises:
        OptionError: There is nothing to draw, or too much for one picture.
        WorkError: The file cannot be written.
    """
    write_whole(path, draw_png(maps))


def draw_png(maps: Map | Sequence[Map]) -> bytes:
    """Return what `save_png` writes."""
    given = [maps] if isinstance(maps, Map) else list(maps)
    if not given:
        raise OptionError("there are 0 maps to draw; give 1 at least.")
    with _own_settings():
        ruler = _Ruler()
        sheets = [_Sheet.of(one, ruler) for one in given]
        return _draw(sheets)


@contextmanager
def _own_settings() -> Iterator[None]:
    """Draw with matplotlib's defaults and the fonts there are, not with a user's style; put that back after."""
    installed = set(font_manager.get_font_names())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a missing letter is drawn as a box, which says it
        defaults = {k: v for k, v in mpl.rcParamsDefault.items() if not k.startswith(_SETTINGS_KEPT)}
        with mpl.rc_context(defaults | {"font.family": [name for name in FONTS if name in installed]}):
            yield


class _Ruler:
    """Measures text in inches."""

    def __init__(self) -> None:
        figure = Figure(dpi=DPI)
        self.renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
        self.text = figure.text(0, 0, "", parse_math=False)

    def width(self, text: str, size: float, weight: str = "normal") -> float:
        self.text.set(text=text, fontsize=size, fontweight=weight)
        return float(self.text.get_window_extent(self.renderer).width) / DPI


@dataclass(frozen=True, kw_only=True)
class _Sheet:
    """One map and all its lengths, in inches."""

    map: Map
    rows: list[str]
    columns: list[str]
    title: list[str]
    note: list[str]
    cell: float
    size: float  # of the words, in points
    side: float  # left of the cells
    head: float  # above the cells, without the title
    overhang: float  # of slanted words, right of the cells
    texts: float  # the longest line of title, note and legend

    @classmethod
    def of(cls, map: Map, ruler: _Ruler) -> "_Sheet":  # noqa: A002 - the record's own name
        """Measure the words and settle all lengths."""
        most = max(map.values.shape)
        cell = next(inches for words, inches in ((8, 0.5), (14, 0.4), (24, 0.32), (1000000, 0.27)) if most <= words)
        size = min(cell * 30, 11)
        rows, columns = ([_shortened(label(word)) for word in words] for words in (map.rows, map.columns))
        wide = [ruler.width(word, size) for word in columns]
        ends = [(place + 0.5 - len(wide)) * cell + width * math.cos(_SLANT) for place, width in enumerate(wide)]
        side = max((ruler.width(word, size) for word in rows), default=0) + 0.12
        overhang = max(0.0, *ends, 0.0) + 0.1
        room = max(side + len(columns) * cell + overhang, 4.0)
        heading, small = partial(ruler.width, size=TITLE, weight="bold"), partial(ruler.width, size=NOTE)
        title = _lines(map.title, room, heading)
        note = [*_lines(map.note, room, small), *_lines(map.belief, room, small)]
        legend = 0.0 if map.gold is None else side + 0.16 + small(LEGEND)
        return cls(
            map=map,
            rows=rows,
            columns=columns,
            title=title,
            note=note,
            cell=cell,
            size=size,
            side=side,
            head=max(wide, default=0) * math.sin(_SLANT) + size / 72,
            overhang=overhang,
            texts=max([legend, *(heading(line) for line in title), *(small(line) for line in note)]),
        )

    @property
    def above(self) -> float:
        return _pixels(len(self.title) * 0.22 + (0.1 if self.title else 0) + self.head)

    @property
    def below(self) -> float:
        return _pixels(0.12 + (len(self.note) + (self.map.gold is not None)) * 0.18)

    @property
    def matrix(self) -> tuple[float, float]:
        """Width and height of the cells."""
        rows, columns = self.map.values.shape
        return columns * self.cell, rows * self.cell

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height of all of it."""
        width, height = self.matrix
        return max(self.side + width + self.overhang, self.texts, 1.0), self.above + height + self.below


def _draw(sheets: Sequence[_Sheet]) -> bytes:
    places, (width, height) = _arrange(sheets)
    longest = math.ceil(max(width, height) * DPI)
    if longest > LARGEST:
        raise OptionError(
            f"a picture of these {len(sheets)} maps would be {longest} pixels long, the most is {LARGEST}: "
            "give fewer maps or shorter sentences, or write a page."
        )
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    for sheet, (left, top) in zip(sheets, places, strict=True):
        _draw_sheet(figure, sheet, left, height - top)
    _draw_scale(figure, sheets[0].above + _MARGIN)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": "regard"})
    return buffer.getvalue()


def _arrange(sheets: Sequence[_Sheet]) -> tuple[list[tuple[float, float]], tuple[float, float]]:
    """Place sheets side by side while they fit, then below; return places (left, top) and the whole size."""
    places: list[tuple[float, float]] = []
    left, top, lowest, widest = _MARGIN, _MARGIN, _MARGIN, 0.0
    for sheet in sheets:
        width, height = sheet.extent
        if left > _MARGIN and left + width > WIDEST:
            left, top = _MARGIN, lowest + _GAP
        places.append((_pixels(left), _pixels(top)))
        lowest, widest = max(lowest, top + height), max(widest, left + width)
        left += width + _GAP
    return places, (_pixels(widest + _BAR + _MARGIN), _pixels(max(lowest, 2.2) + _MARGIN))


def _draw_sheet(figure: Figure, sheet: _Sheet, left: float, top: float) -> None:
    """Draw a sheet whose upper left corner lies at (left, top) inches from the lower left of the figure."""
    whole_width, whole_height = figure.get_size_inches()
    for number, line in enumerate(sheet.title):
        _write(figure, line, left, top - 0.17 - number * 0.22, size=TITLE, weight="bold")
    width, height = sheet.matrix
    bottom = top - sheet.above - height
    if sheet.map.values.size:
        box = (_pixels(left + sheet.side), bottom, width, height)
        axes = figure.add_axes(
            tuple(part / whole for part, whole in zip(box, (whole_width, whole_height) * 2, strict=True))
        )
        _draw_cells(axes, sheet)
        _draw_words(axes, sheet)
    else:
        _write(figure, "no words", left, bottom + 0.02, size=9, color=_QUIET)
    below = bottom - 0.28
    if sheet.map.gold is not None:
        _write(figure, "□", left + sheet.side, below, size=10, color=_hex(GOLD), weight="bold")
        _write(figure, LEGEND, left + sheet.side + 0.16, below, size=NOTE, color=_QUIET)
        below -= 0.18
    for text in sheet.note:
        _write(figure, text, left, below, size=NOTE, color=_QUIET)
        below -= 0.18


def _draw_cells(axes: Axes, sheet: _Sheet) -> None:
    rows, columns = sheet.map.values.shape
    axes.imshow(sheet.map.values, cmap=_ramp(), vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.set_xticks([column - 0.5 for column in range(1, columns)], minor=True)
    axes.set_yticks([row - 0.5 for row in range(1, rows)], minor=True)
    axes.grid(which="minor", color=_GRID, linewidth=0.5)
    axes.tick_params(which="both", length=0)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color="#9aa5b4", linewidth=0.6)
    for source, target in sorted(sheet.map.gold or ()):
        corner, inset = (source - 0.5 + 0.05, target - 0.5 + 0.05), 0.9
        axes.add_patch(Rectangle(corner, inset, inset, fill=False, edgecolor=_hex(GOLD), linewidth=1.6))
    if sheet.cell < 0.4:
        return
    for row, column in zip(*(sheet.map.values >= 0.05).nonzero(), strict=True):
        weight = float(sheet.map.values[row, column])
        color = _INK if is_light(shade(weight, PAPER)) else "white"
        axes.text(column, row, f"{weight:.2f}", size=sheet.cell * 17, color=color, ha="center", va="center_baseline")


def _draw_words(axes: Axes, sheet: _Sheet) -> None:
    common: dict[str, Any] = {"size": sheet.size, "color": _INK, "parse_math": False, "clip_on": False}
    gap = 0.07 / sheet.cell
    for row, word in enumerate(sheet.rows):
        axes.text(-0.5 - gap, row, word, ha="right", va="center_baseline", **common)
    for column, word in enumerate(sheet.columns):
        axes.text(column, -0.5 - gap, word, rotation=45, rotation_mode="anchor", ha="left", va="baseline", **common)


def _draw_scale(figure: Figure, top: float) -> None:
    """Draw the colors from 0 to 1 at the right edge, beside the first row of maps."""
    width, height = figure.get_size_inches()
    tall = min(1.6, height - top - 0.3)
    box = ((width - _BAR - 0.05) / width, (height - top - tall) / height, 0.13 / width, tall / height)
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), _ramp()), cax=figure.add_axes(box), ticks=[0, 0.5, 1])
    bar.ax.tick_params(labelsize=8, length=2, width=0.6, color="#9aa5b4", labelcolor=_QUIET)
    bar.outline.set(linewidth=0.6, edgecolor="#9aa5b4")
    bar.ax.set_title("weight", fontsize=8, color=_QUIET, loc="left", pad=9)


def _write(
    figure: Figure, text: str, left: float, bottom: float, *, size: float, color: str = _INK, weight: str = "normal"
) -> None:
    width, height = figure.get_size_inches()
    figure.text(left / width, bottom / height, text, size=size, color=color, weight=weight, parse_math=False)


def _lines(text: str, room: float, width: Callable[[str], float]) -> list[str]:
    """Break a title into lines that are no wider than the room, in inches."""
    rest = " ".join(visible(text).split())
    lines: list[str] = []
    while rest and len(lines) < TITLE_LINES:
        lines.append(_beginning(rest, room, width))
        rest = rest[len(lines[-1]) :].lstrip(" ")
    if rest:
        lines[-1] = _beginning(f"{lines[-1]} {rest}", room, lambda line: width(f"{line} …")) + " …"
    return lines


def _beginning(text: str, room: float, width: Callable[[str], float]) -> str:
    """Return as much of a text as fits, to the end of a word; a part of a word that does not fit alone."""
    ends = list(accumulate(map(len, islice(clusters(text), math.ceil(room / THINNEST)))))
    fitting = max(1, bisect_right(ends, room, key=lambda end: width(text[:end])))
    if ends[fitting - 1] == len(text):
        return text
    ended = (end for end in reversed(ends[:fitting]) if _ends_word(text, end))
    return text[: next(ended, ends[fitting - 1])].rstrip(" ")


def _ends_word(text: str, place: int) -> bool:
    """Say whether a line may end there: before a blank, after a hyphen, beside a letter of Chinese or Japanese."""
    before, after = text[place - 1], text[place]
    if after == " " or before == "-":
        return True
    wide = any(unicodedata.east_asian_width(one) in "WF" for one in (before, after))
    return wide and unicodedata.category(after) not in ("Pe", "Pf", "Po")  # no line begins with 。 or 」


def _shortened(word: str) -> str:
    letters = list(clusters(word))
    return word if len(letters) <= LONGEST else "".join(letters[: LONGEST - 1]) + "…"


def _ramp() -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list("paper", [_hex(color) for color in PAPER])


def _hex(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _pixels(inches: float) -> float:
    """Round a length up to whole pixels, so that cells have sharp edges."""
    return math.ceil(inches * DPI - 1e-6) / DPI
