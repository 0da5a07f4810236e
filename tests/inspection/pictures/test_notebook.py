import html
import re
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from regard.inspection.pictures import notebook
from regard.inspection.pictures.atlas_page import build_atlas, pack
from regard.inspection.pictures.notebook import show_atlas
from tests.inspection.atlases import a_panel


def test_without_a_widget_the_page_stands_in_a_frame_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "find_spec", lambda name: None)
    shown = show_atlas([a_panel()], title="</iframe>\"'<b>")._repr_html_()
    assert len(re.findall("<", shown)) == 2  # the frame and its end
    framed = re.search('srcdoc="([^"]*)"', shown)
    assert framed
    assert html.unescape(framed[1]) == build_atlas([a_panel()], title="</iframe>\"'<b>")
    assert 'sandbox="allow-scripts"' in shown


def test_a_widget_gets_the_script_the_style_and_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    class AnyWidget(SimpleNamespace):
        pass

    class Trait:
        def tag(self, *, sync: bool) -> str:
            assert sync
            return "synced"

    fakes: dict[str, Any] = {"anywidget": ModuleType("anywidget"), "traitlets": ModuleType("traitlets")}
    fakes["anywidget"].AnyWidget = AnyWidget
    fakes["traitlets"].Dict = fakes["traitlets"].Bytes = Trait
    for name, fake in fakes.items():
        monkeypatch.setitem(sys.modules, name, fake)
    monkeypatch.setattr(notebook, "find_spec", lambda name: object())
    widget = show_atlas([a_panel()], title="x")
    packed = pack([a_panel()], title="x")
    assert (widget.header, widget.pieces) == (packed.header, packed.pieces)
    assert "export" in widget._esm
    assert ".regard-atlas" in widget._css


def test_anywidget_takes_it_where_it_is_installed() -> None:
    pytest.importorskip("anywidget", reason="anywidget is not installed: pip install '.[notebook]'")
    widget = show_atlas([a_panel()], title="x")
    assert widget.get_state(["pieces"])["pieces"] == pack([a_panel()], title="x").pieces
