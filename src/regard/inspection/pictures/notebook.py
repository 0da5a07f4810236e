"""The atlas in a notebook: a widget where anywidget is installed, and else the page itself in a frame."""

import html
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from regard.inspection.pictures.atlas import Panel
from regard.inspection.pictures.atlas_page import build_atlas, pack
from regard.inspection.pictures.standalone import part

HEIGHT = 1100
"""Pixels of the frame around a page; it scrolls inside."""


class Framed:
    """A page that a notebook shows in a frame of its own: its script cannot reach the notebook, nor its styles ours."""

    def __init__(self, page: str) -> None:
        self.page = page

    def _repr_html_(self) -> str:
        shown = html.escape(self.page, quote=True)
        return (
            f'<iframe sandbox="allow-scripts" srcdoc="{shown}" width="100%" height="{HEIGHT}" frameborder="0"></iframe>'
        )


def show_atlas(panels: Sequence[Panel], *, title: str) -> Any:
    """Return what a notebook shows as the atlas when a cell ends with it.

    It is an anywidget (`pip install 'regard[notebook]'`) where there is one: numbers travel as bytes. Otherwise it is
    the page of `write_atlas` in a frame, which also survives in a saved notebook that nobody runs.
    """
    if find_spec("anywidget") is None:
        return Framed(build_atlas(panels, title=title))
    return _widget(panels, title)


def _widget(panels: Sequence[Panel], title: str) -> Any:
    import anywidget
    import traitlets

    class Atlas(anywidget.AnyWidget):  # type: ignore[misc]
        """The atlas as a widget."""

        _esm = part("atlas-widget.js")
        _css = part("atlas.css")
        header = traitlets.Dict().tag(sync=True)
        pieces = traitlets.Bytes().tag(sync=True)

    packed = pack(panels, title=title)
    return Atlas(header=packed.header, pieces=packed.pieces)
