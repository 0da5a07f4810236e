"""Maps for a terminal: shades of color where it has them, shades of characters where it has not.

A sentence that fits stands above its columns; a longer one is written downwards, and one that would not stay
readable so (Arabic, Hebrew) is numbered and listed. What is wider than the terminal goes into several panels.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.color import Color
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.style import Style
from rich.table import Table
from rich.text import Text

from regard.inspection.pictures.colors import GOLD, GOLD_AT_NIGHT, NIGHT, is_light, shade
from regard.inspection.pictures.glyphs import clusters, label, right_to_left, unjoined, visible
from regard.inspection.pictures.maps import Map, Step

TALLEST = 14
"""Letters of a word that is written downwards; the rest is an ellipsis."""

NARROW, NUMBERED = 2, 4
"""Cells of a column: without and with a number in it."""

_LEFT_TO_RIGHT_MARK = "\u200e"
_NUMBER = Style(bold=True)
_QUIET = Style(dim=True)


def heat_map(map: Map, *, width: int | None = None) -> RenderableType:  # noqa: A002 - the record's own name
    """Return a map for `rich`: rows are output words, columns input words, darkness or light is weight.

    The strongest cell of each row carries its weight or a •, gold links carry a ◆.

    Args:
        map: What to show.
        width: Columns to use; by default those of the console.
    """
    return _HeatMap(map, width)


def step_table(step: Step, *, number: int) -> RenderableType:
    """Return one step of a decoder for `rich`: scores, weights, shares of the context, note, candidates."""
    table = Table(title=Text(f"step {number}: {label(step.token)}"), title_justify="left", box=None, pad_edge=False)
    table.add_column("input", justify="right")
    table.add_column("score", justify="right")
    table.add_column("weight")
    if step.shares is not None:
        table.add_column("share of the context")
    for place, word in enumerate(step.columns):
        row: list[RenderableType] = [Text(_fit(_terminal_word(word), 24)), f"{step.scores[place]:.2f}"]
        row.append(_bar(float(step.weights[place])))
        if step.shares is not None:
            row.append(_bar(float(step.shares[place])))
        table.add_row(*row)
    best = "   ".join(f"{_terminal_word(c.token)} {_weight(c.probability)}" for c in step.candidates)
    below = [Text(visible(step.note), style=_QUIET)] if step.note else []
    return Group(table, *below, *([Text(f"best: {best}")] if step.candidates else []))


@dataclass(frozen=True)
class _HeatMap:
    map: Map
    width: int | None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(self.width or options.max_width, options.max_width)
        ink = _Ink.of(console, options)
        if self.map.title:
            yield Text(visible(self.map.title), style="bold")
        if not self.map.values.size:
            yield Text("(no words)", style=_QUIET)
            return
        names = [_terminal_word(word) for word in self.map.rows]
        side = min(max(map(cell_len, names)), max(width // 4, 6))
        sheet = _Sheet.fitting([_terminal_word(word) for word in self.map.columns], width - side - 1)
        yield from sheet.listing(width)
        for panel in sheet.panels():
            for line in panel.header():
                yield Text(" " * (side + 1) + line, no_wrap=True, overflow="crop")
            yield from self._rows(panel, [_right_aligned(_fit(name, side), side) for name in names], ink)
        yield ink.legend(gold=self.map.gold is not None, most="number" if sheet.widths[0] == NUMBERED else ink.most)
        for line in filter(None, (self.map.note, self.map.belief)):
            yield Text(visible(line), style=_QUIET)

    def _rows(self, panel: "_Sheet", names: list[str], ink: "_Ink") -> Iterator[Text]:
        strongest = self.map.strongest()
        for row, name in enumerate(names):
            line = Text(f"{name} ", no_wrap=True, overflow="crop")
            for column in range(panel.first, panel.last):
                gold = self.map.gold is not None and (column, row) in self.map.gold
                weight = float(self.map.values[row, column])
                cell = ink.cell(weight, panel.width_of(column), strongest=strongest[row] == column, gold=gold)
                line.append_text(cell)
            yield line


@dataclass(frozen=True)
class _Sheet:
    """The columns of a map, or some of them, and how they are headed."""

    words: Sequence[str]
    widths: Sequence[int]
    heading: str  # across, down, numbers
    room: int
    first: int = 0
    last: int = 0

    @classmethod
    def fitting(cls, words: Sequence[str], room: int) -> "_Sheet":
        """Choose the heading and the widths for the room there is."""
        wide = [max(cell_len(word) + 2, NUMBERED + 2) for word in words]
        if sum(wide) <= room:
            return cls(words, wide, "across", room, last=len(words))
        width = NUMBERED if NUMBERED * len(words) <= room else NARROW
        heading = "numbers" if any(map(right_to_left, words)) else "down"
        return cls(words, [width] * len(words), heading, max(room, width), last=len(words))

    def width_of(self, column: int) -> int:
        return self.widths[column]

    def panels(self) -> Iterator["_Sheet"]:
        """Cut the columns so that each part fits the room."""
        if self.heading == "across":
            yield self
            return
        parts = -(-len(self.words) // (self.room // self.widths[0]))
        size = -(-len(self.words) // parts)  # parts of one size, not full ones and a stump
        for first in range(0, len(self.words), size):
            last = min(first + size, len(self.words))
            yield _Sheet(self.words, self.widths, self.heading, self.room, first, last)

    def header(self) -> list[str]:
        """Return the lines above the cells."""
        shown = range(self.first, self.last)
        if self.heading == "across":
            return ["".join(_centered(self.words[column], self.widths[column]) for column in shown)]
        words = [str(column) if self.heading == "numbers" else self.words[column] for column in shown]
        letters = [_downwards(word) for word in words]
        tallest = max(map(len, letters))
        stacks = [[""] * (tallest - len(stack)) + stack for stack in letters]
        width = self.widths[self.first]
        return ["".join(_centered(stack[line], width) for stack in stacks) for line in range(tallest)]

    def listing(self, width: int) -> Iterator[Text]:
        """Yield the numbered words, where numbers stand above the columns."""
        if self.heading != "numbers":
            return
        line = ""
        for number, word in enumerate(self.words):
            entry = f"{number} {_fit(word, width - 8)}   "
            if line and cell_len(line + entry) > width:
                yield Text(line.rstrip(" "), style=_QUIET, no_wrap=True, overflow="crop")
                line = ""
            line += entry
        yield Text(line.rstrip(" "), style=_QUIET, no_wrap=True, overflow="crop")


@dataclass(frozen=True)
class _Ink:
    """What a console can draw with."""

    color: bool
    shades: str
    gold: str
    most: str

    @classmethod
    def of(cls, console: Console, options: ConsoleOptions) -> "_Ink":
        color = console.color_system in ("256", "truecolor") and not console.no_color
        if options.ascii_only:
            return cls(color, " .:+#@", "*", "^")
        return cls(color, " ·░▒▓█", "◆", "•")

    def cell(self, weight: float, width: int, *, strongest: bool, gold: bool) -> Text:
        """Draw one cell: its shade, the mark of a gold link, the weight where there is room for it."""
        character = " " if self.color else self._character(weight)
        mark = self.gold if gold else ""
        most = self.most if strongest else ""
        if width == NARROW:
            content = (mark or character) + (most or character)
        elif width > NUMBERED and (strongest or weight >= 0.005):
            content = _padded(f"{mark}{most}{_weight(weight)}", width, character if weight >= 0.2 else " ")
        elif strongest:
            content = (mark or character) + _weight(weight)
        else:
            content = _padded(mark, width, character if weight >= 0.2 else " ")
        cell = Text(content)
        if self.color:
            ground = shade(weight, NIGHT)
            front = (10, 14, 20) if is_light(ground) else (236, 242, 250)
            cell.stylize(Style(color=Color.from_rgb(*front), bgcolor=Color.from_rgb(*ground), bold=strongest))
            if mark:
                cell.highlight_regex(
                    re.escape(mark), Style(color=Color.from_rgb(*(GOLD if is_light(ground) else GOLD_AT_NIGHT)))
                )
        elif strongest:
            cell.stylize(_NUMBER)
        return cell

    def legend(self, *, gold: bool, most: str) -> Text:
        """Explain the shades and marks in one line."""
        line = Text("0 ", style=_QUIET)
        for weight in (0.0, 0.1, 0.3, 0.5, 0.7, 1.0):
            style = Style(bgcolor=Color.from_rgb(*shade(weight, NIGHT))) if self.color else Style()
            line.append((" " if self.color else self._character(weight)) * 2, style)
        line.append(" 1", _QUIET)
        line.append(f"   {most} strongest of its row", _QUIET)
        if gold:
            line.append(f"   {self.gold} gold link", _QUIET)
        return line

    def _character(self, weight: float) -> str:
        """Return the shade of a weight; a weight under 0.05 is blank."""
        if weight < 0.05:
            return self.shades[0]
        return self.shades[1 + min(int(weight * (len(self.shades) - 1)), len(self.shades) - 2)]


def _terminal_word(word: str) -> str:
    """Return a word that takes the same width in every terminal and leaves the order of its line alone."""
    shown = unjoined(unicodedata.normalize("NFC", label(word)))
    # Without the mark, a number behind an Arabic or Hebrew word jumps before it where a terminal reorders text.
    turns = any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in shown)
    return shown + _LEFT_TO_RIGHT_MARK if turns else shown


def _fit(word: str, width: int) -> str:
    """Cut a word to a width, with an ellipsis, never through a character."""
    if cell_len(word) <= width:
        return word
    kept = ""
    for cluster in clusters(word):
        if cell_len(kept + cluster) > width - 1:
            break
        kept += cluster
    turns = _LEFT_TO_RIGHT_MARK if word.endswith(_LEFT_TO_RIGHT_MARK) else ""
    return kept + "…" + turns


def _downwards(word: str) -> list[str]:
    letters = list(clusters(word))
    return letters if len(letters) <= TALLEST else [*letters[: TALLEST - 1], "…"]


def _right_aligned(text: str, width: int) -> str:
    return " " * (width - cell_len(text)) + text


def _centered(text: str, width: int) -> str:
    """Center a heading; the odd blank goes before it, so that it stands over the digits of its column."""
    return " " * ((1 + width - cell_len(text)) // 2) + text + " " * ((width - cell_len(text)) // 2)


def _padded(text: str, width: int, filler: str) -> str:
    missing = width - cell_len(text)
    return filler * (missing // 2) + text + filler * (missing - missing // 2)


def _weight(weight: float) -> str:
    """Write a weight in three characters: .93, or 1.0."""
    return "1.0" if weight >= 0.995 else f"{weight:.2f}"[1:]


def _bar(weight: float) -> Text:
    eighths = round(weight * 16 * 8)
    bar = "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8]
    return Text(f"{_weight(weight)} {bar}")
