"""An atlas as one HTML file that stands alone: all layers and heads, one of them in detail, its tokens, its picture.

The numbers travel deflated, as one piece of base64 text; the script takes apart what is looked at. It is built of
`web/` with esbuild, and its bundle is part of the package.
"""

import base64
import os
import sys
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from regard.errors import OptionError
from regard.files import write_whole
from regard.inspection.pictures.atlas import WHOLE, Chart, Panel, Side
from regard.inspection.pictures.glyphs import label, right_to_left, visible
from regard.inspection.pictures.quantized import Exact
from regard.inspection.pictures.standalone import embedded, filled, part


class Packed(NamedTuple):
    """Panels as a page or a notebook takes them.

    Attributes:
        header: Words, names and places of the pieces, as plain data.
        pieces: Deflated arrays, one after another.
    """

    header: dict[str, Any]
    pieces: bytes


def write_atlas(path: str | os.PathLike[str], panels: Sequence[Panel], *, title: str) -> None:
    """Write panels as one self-contained HTML page, whole or not at all.

    Raises:
        OptionError: There are no panels.
        WorkError: The file cannot be written.
    """
    write_whole(path, build_atlas(panels, title=title))


def build_atlas(panels: Sequence[Panel], *, title: str) -> str:
    """Return the page that `write_atlas` writes."""
    packed = pack(panels, title=title)
    return filled(
        "atlas.html",
        title=packed.header["title"],
        style=part("atlas.css"),
        script=part("atlas.js"),
        data=embedded(packed.header),
        pieces=base64.b64encode(packed.pieces).decode(),
    )


def pack(panels: Sequence[Panel], *, title: str) -> Packed:
    """Lay panels out as plain data and deflated pieces."""
    if isinstance(panels, Panel):
        raise OptionError("a page takes several panels; this is one. Give [panel].")
    if not panels:
        raise OptionError("a page needs 1 panel at least, and there are 0.")
    store = _Store()
    header = {
        "title": visible(title) or "Attention",
        "whole": WHOLE,
        "panels": [_panel(one, store) for one in panels],
    }
    return Packed(header, b"".join(store.pieces))


class _Store:
    """Deflated pieces, each kept once."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0
        self.places: dict[bytes, tuple[int, int]] = {}

    def put(self, array: np.ndarray) -> tuple[int, int]:
        """Add an array and return where it begins and how long it is; numbers are stored lowest byte first."""
        ordered = array.byteswap() if sys.byteorder == "big" else array
        piece = zlib.compress(np.ascontiguousarray(ordered).tobytes(), 6)
        if piece not in self.places:
            self.places[piece] = self.size, len(piece)
            self.pieces.append(piece)
            self.size += len(piece)
        return self.places[piece]


def _panel(one: Panel, store: _Store) -> dict[str, Any]:
    layers = list(dict.fromkeys(chart.layer for chart in one.charts))
    return {
        "name": visible(one.name),
        "rows": _side(one.rows, store),
        "columns": None if one.columns is one.rows else _side(one.columns, store),
        "block": one.block,
        "tiles": one.charts[0].means.shape,
        "means": store.put(np.stack([chart.means for chart in one.charts])),
        "layers": [visible(layer) for layer in layers],
        "charts": [_chart(chart, layers, store) for chart in one.charts],
        "refused": [visible(sentence) for sentence in one.refused],
    }


def _side(side: Side, store: _Store) -> dict[str, Any]:
    picture = side.patches
    return {
        "tokens": [label(token) for token in side.tokens],
        "words": None if side.words is None else list(side.words),
        "spelled": None if side.spelled is None else [word and label(word) for word in side.spelled],
        "rtl": right_to_left(" ".join([*(side.spelled or ())[:1000], *side.tokens[:1000]])),  # bytes have Latin letters
        "patches": None
        if picture is None
        else {
            "pixels": store.put(picture.pixels),
            "size": picture.pixels.shape[:2],
            "grid": [picture.rows, picture.columns],
            "first": picture.first,
        },
    }


def _chart(chart: Chart, layers: Sequence[str], store: _Store) -> dict[str, Any]:
    told: dict[str, Any] = {"layer": layers.index(chart.layer), "head": chart.head, "peak": _short(chart.peak)}
    if chart.keys is not None and chart.weights is not None:
        told |= {"kept": chart.keys.shape[1], "keys": store.put(chart.keys), "weights": store.put(chart.weights)}
    if chart.rests is not None and chart.dropped is not None:
        told |= {"rests": store.put(chart.rests), "dropped": [_short(amount) for amount in chart.dropped]}
    if chart.hidden is not None:
        parts = {"stretches": chart.hidden.stretches, "bits": chart.hidden.bits}
        told["hidden"] = {name: None if array is None else store.put(array) for name, array in parts.items()}
    if chart.belief:
        told["belief"] = visible(chart.belief)
    if chart.exact is not None:
        told["exact"] = _exact(chart.exact, store)
    return told


def _exact(exact: Exact, store: _Store) -> dict[str, Any]:
    names = ("query", "key", "query_scale", "key_scale", "log_sums", "distances")
    arrays = {name: getattr(exact, name) for name in names}
    return {
        "width": exact.query.shape[1],
        "cap": exact.soft_cap,
        "error": _short(exact.error),
        **{name: None if array is None else store.put(array) for name, array in arrays.items()},
    }


def _short(number: float) -> float:
    return float(f"{number:.5g}")
