import base64
import zlib
from pathlib import Path

import numpy as np
import pytest

from regard.errors import OptionError
from regard.inspection.pictures import atlas
from regard.inspection.pictures.atlas_page import build_atlas, pack, write_atlas
from regard.inspection.pictures.glyphs import label
from tests.inspection.atlases import a_panel, a_picture, a_side
from tests.inspection.hostile import HOSTILE
from tests.inspection.pictures.test_page import Parts, digest


def test_the_policy_allows_one_script_and_one_style_and_nothing_else() -> None:
    parts = Parts(build_atlas([a_panel()], title="x"))
    style = next(text for tag, text in parts.texts if tag == "style")
    script = [text for tag, text in parts.texts if tag == "script"][-1]
    assert parts.policy["default-src"] == "'none'"
    assert parts.policy["script-src"] == digest(script)
    assert parts.policy["style-src"] == digest(style)
    assert parts.policy["require-trusted-types-for"] == "'script'"


def test_nothing_in_a_page_comes_from_elsewhere() -> None:
    parts = Parts(build_atlas([a_panel()], title="x"))
    assert [value for name, value in parts.attributes if name in ("src", "href", "action", "srcset")] == ["data:,"]
    assert not any(name.startswith("on") or name == "style" for name, _ in parts.attributes)


def test_the_pieces_are_the_arrays_of_the_charts() -> None:
    panel = a_panel()
    packed = pack([panel], title="x")

    def piece(place: tuple[int, int]) -> bytes:
        return zlib.decompress(packed.pieces[place[0] : sum(place)])

    (told,) = packed.header["panels"]
    means = np.frombuffer(piece(told["means"]), np.uint8).reshape(6, *told["tiles"])
    for place, chart in enumerate(panel.charts):
        assert chart.keys is not None
        assert (means[place] == chart.means).all()
        keys = np.frombuffer(piece(told["charts"][place]["keys"]), "<u2").reshape(13, -1)
        assert (keys == chart.keys).all()


def test_the_page_holds_the_same_pieces_as_a_notebook_gets() -> None:
    parts = Parts(build_atlas([a_panel()], title="x"))
    text = [text for tag, text in parts.texts if tag == "script"][1]
    assert base64.b64decode(text) == pack([a_panel()], title="x").pieces


def test_equal_arrays_travel_once(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = a_panel()
    assert len(pack([panel, panel], title="x").pieces) == len(pack([panel], title="x").pieces)


@pytest.mark.parametrize("word", HOSTILE, ids=lambda word: ascii(word)[:24])
def test_a_hostile_word_adds_no_element_and_arrives_whole(word: str) -> None:
    side = atlas.Side(tokens=[word] * 13)
    hostile = Parts(build_atlas([a_panel(side=side, name=word)], title=word))
    tame = Parts(build_atlas([a_panel()], title="tame"))
    assert hostile.tags == tame.tags
    assert hostile.data["panels"][0]["rows"]["tokens"][0] == label(word)


def test_a_picture_travels_as_its_pixels() -> None:
    side = a_picture()
    packed = pack([a_panel(7, side=side)], title="x")
    patches = packed.header["panels"][0]["rows"]["patches"]
    start, length = patches["pixels"]
    assert side.patches is not None
    assert zlib.decompress(packed.pieces[start : start + length]) == side.patches.pixels.tobytes()
    assert (patches["grid"], patches["first"]) == ([2, 3], 1)


def test_a_text_from_right_to_left_is_known_by_its_tokens() -> None:
    side = atlas.Side(tokens=["تؤلمانني", *a_side(12).tokens])
    assert pack([a_panel(side=side)], title="x").header["panels"][0]["rows"]["rtl"]


def test_a_page_is_written_whole_and_no_panels_are_refused(tmp_path: Path) -> None:
    write_atlas(tmp_path / "page.html", [a_panel()], title="x")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == build_atlas([a_panel()], title="x")
    with pytest.raises(OptionError, match="a page needs 1 panel at least, and there are 0"):
        build_atlas([], title="x")
