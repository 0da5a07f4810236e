"""Maps as one HTML file that stands alone: no server, no network, no library, forty words and their lines."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from regard.errors import OptionError, ShapeError
from regard.files import write_whole
from regard.inspection.pictures.glyphs import label, right_to_left, visible
from regard.inspection.pictures.maps import Heads, Map, Step
from regard.inspection.pictures.standalone import embedded, filled, part

SCALE = 1000
"""Weights travel as whole thousandths: 40 x 40 of them take about 4 kB."""

SCRIPTS = ("elements.js", "words.js", "matrix.js", "heads.js", "steps.js", "page.js")
"""Joined in this order to one script; the last starts it."""


def write_page(
    path: str | os.PathLike[str], maps: Sequence[Map], *, title: str, heads: Sequence[Heads | None] | None = None
) -> None:
    """Write one self-contained HTML page, whole or not at all.

    A map is a sentence of the page; its steps, where it has them, become a view to step through. Weights are
    rounded to three decimals, and the page says so. A link to `page.html#3` opens its third sentence.

    Args:
        path: Where the page goes.
        maps: The sentences, at least one.
        title: What stands above them.
        heads: For each map its layers and heads, or None; they become small pictures to choose from.

    Raises:
        OptionError: There are no maps, or not as many heads as maps.
        ShapeError: Heads are not of the size of their map.
        WorkError: The file cannot be written.
    """
    write_whole(path, build_page(maps, title=title, heads=heads))


def build_page(maps: Sequence[Map], *, title: str, heads: Sequence[Heads | None] | None = None) -> str:
    """Return the page that `write_page` writes."""
    if not maps:
        raise OptionError("a page needs 1 map at least, and there are 0.")
    several = [None] * len(maps) if heads is None else list(heads)
    if len(several) != len(maps):
        raise OptionError(f"there are {len(several)} heads for {len(maps)} maps; give one for each map, or None.")
    shown = visible(title) or "Attention"
    sentences = [_sentence(place, one, its) for place, (one, its) in enumerate(zip(maps, several, strict=True))]
    return filled(
        "page.html",
        title=shown,
        style=part("page.css"),
        script="\n".join(map(part, SCRIPTS)),
        data=embedded({"title": shown, "scale": SCALE, "sentences": sentences}),
    )


def _sentence(place: int, one: Map, heads: Heads | None) -> dict[str, Any]:
    rows, columns = len(one.rows), len(one.columns)
    if heads is not None and heads.values.shape[2:] != (rows, columns):
        size = "x".join(map(str, heads.values.shape[2:]))
        raise ShapeError(
            f"the heads of map {place} have maps of {size}, the map has {rows} rows and {columns} columns: "
            f"they must be {rows}x{columns} too."
        )
    return {
        "title": visible(one.title),
        "note": visible(one.note),
        "belief": visible(one.belief),
        "rows": [label(word) for word in one.rows],
        "columns": [label(word) for word in one.columns],
        "rtl": {"rows": right_to_left(" ".join(one.rows)), "columns": right_to_left(" ".join(one.columns))},
        "weights": _thousandths(one.values),
        "gold": None if one.gold is None else sorted(one.gold),
        "heads": None if heads is None else _heads(heads),
        "steps": _steps(one.steps),
    }


def _heads(heads: Heads) -> dict[str, Any]:
    return {
        "layers": [visible(name) for name in heads.layers],
        "heads": [visible(name) for name in heads.heads],
        "weights": _thousandths(heads.values),
    }


def _steps(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Return the steps; one that looks at the same tokens as the one before does not repeat them."""
    before: Sequence[str] | None = None
    told = []
    for step in steps:
        told.append(
            {
                "token": label(step.token),
                "columns": None if step.columns == before else [label(word) for word in step.columns],
                "scores": [None if np.isinf(score) else round(float(score), 3) for score in step.scores],
                "weights": _thousandths(step.weights),
                "shares": None if step.shares is None else _thousandths(step.shares),
                "candidates": [[label(c.token), round(c.probability * SCALE)] for c in step.candidates],
                "note": visible(step.note),
            }
        )
        before = step.columns
    return told


def _thousandths(weights: Any) -> Any:
    return np.rint(np.asarray(weights) * SCALE).astype(int).tolist()
