import base64
import hashlib
import html.parser
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regard.errors import OptionError, ShapeError, WorkError
from regard.inspection.pictures.glyphs import label, visible
from regard.inspection.pictures.maps import Candidate, Heads, Map, Step
from regard.inspection.pictures.page import build_page, write_page
from tests.inspection.hostile import HOSTILE

ROWS, COLUMNS = ["j'ai", "mal", "aux", "pieds", "."], ["my", "feet", "hurt"]


def example(**given: Any) -> Map:
    weights = torch.rand(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.5
    parts: dict[str, Any] = {"weights": weights, "rows": ROWS, "columns": COLUMNS}
    return Map(**parts | given)


class Parts(html.parser.HTMLParser):
    """Takes a page apart as a browser would: the elements that it names, and the text of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.tags[-1], data))

    @property
    def policy(self) -> dict[str, str]:
        content = next(value for name, value in self.attributes if name == "content" and "default-src" in (value or ""))
        return dict(rule.split(" ", 1) for rule in (content or "").split("; "))

    @property
    def data(self) -> dict[str, Any]:
        scripts = [text for tag, text in self.texts if tag == "script"]
        loaded = json.loads(scripts[0])
        assert isinstance(loaded, dict)
        return loaded


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_policy_allows_one_script_and_one_style_by_digest_and_nothing_else() -> None:
    parts = Parts(build_page([example()], title="feet"))
    style = next(text for tag, text in parts.texts if tag == "style")
    script = [text for tag, text in parts.texts if tag == "script"][-1]
    assert parts.policy == {
        "default-src": "'none'",
        "script-src": digest(script),
        "style-src": digest(style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }


def test_the_policy_stands_before_whatever_it_rules() -> None:
    page = build_page([example()], title="feet")
    assert page.index("Content-Security-Policy") < page.index("<style") < page.index("<script")


def test_nothing_in_a_page_comes_from_elsewhere() -> None:
    parts = Parts(build_page([example()], title="feet"))
    links = [value for name, value in parts.attributes if name in ("src", "href", "action", "srcset", "data")]
    assert links == ["data:,"]
    assert not any(name.startswith("on") or name == "style" for name, _ in parts.attributes)


def test_the_script_never_parses_markup() -> None:
    script = [text for tag, text in Parts(build_page([example()], title="feet")).texts if tag == "script"][-1]
    forbidden = "innerHTML|outerHTML|insertAdjacent|document.write|eval|Function\\(|DOMParser|fetch|XMLHttp|import"
    assert not re.search(forbidden, script)


def test_the_data_are_those_of_the_maps() -> None:
    gold = frozenset({(2, 1), (0, 0)})
    step = Step(
        token="pieds",
        columns=COLUMNS,
        scores=torch.tensor([0.12345, -2.0, float("-inf")]),
        weights=torch.tensor([0.25, 0.75, 0.0]),
        shares=torch.tensor([0.5, 0.5, 0.0]),
        candidates=[Candidate(token="pieds", probability=0.875)],
        note="at feet",
    )
    one = example(gold=gold, title="feet", note="layer 2", steps=[step, step])
    heads = Heads(weights=torch.full((2, 7, 5, 3), 0.3336))
    data = Parts(build_page([one], title="pictures", heads=[heads])).data
    (sentence,) = data.pop("sentences")
    assert data == {"title": "pictures", "scale": 1000}
    assert sentence["weights"] == np.rint(one.values * 1000).tolist()
    assert sentence["gold"] == [[0, 0], [2, 1]]
    assert (sentence["rows"], sentence["columns"]) == (ROWS, COLUMNS)
    assert (sentence["title"], sentence["note"]) == ("feet", "layer 2")
    assert sentence["heads"]["weights"][1][6][4] == [334, 334, 334]
    assert sentence["heads"]["layers"] == ["layer 0", "layer 1"]
    told = {"token": "pieds", "scores": [0.123, -2.0, None], "weights": [250, 750, 0], "shares": [500, 500, 0]}
    told["note"] = "at feet"
    candidates = {"candidates": [["pieds", 875]]}
    assert sentence["steps"] == [told | candidates | {"columns": COLUMNS}, told | candidates | {"columns": None}]


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        (["قدماي", "."], ["my", "."], {"rows": True, "columns": False}),
        (["my", "."], ["1", "שלום"], {"rows": False, "columns": True}),
        (["足", "。"], ["…", "."], {"rows": False, "columns": False}),
    ],
)
def test_each_side_knows_its_direction(rows: list[str], columns: list[str], expected: dict[str, bool]) -> None:
    one = Map(weights=torch.eye(2), rows=rows, columns=columns)
    assert Parts(build_page([one], title="x")).data["sentences"][0]["rtl"] == expected


@pytest.mark.parametrize("word", HOSTILE, ids=lambda word: ascii(word)[:24])
def test_a_hostile_word_adds_no_element_and_arrives_whole(word: str) -> None:
    one = Map(weights=torch.ones(1, 1), rows=[word], columns=[word], title=word, note=word)
    heads = Heads(weights=torch.ones(1, 1, 1, 1), layers=[word], heads=[word])
    hostile = Parts(build_page([one], title=word, heads=[heads]))
    tame = Parts(build_page([one], title="tame", heads=[heads]))
    assert hostile.tags == tame.tags
    assert [name for name, _ in hostile.attributes] == [name for name, _ in tame.attributes]
    sentence = hostile.data["sentences"][0]
    assert sentence["rows"] == sentence["columns"] == [label(word)]
    assert sentence["title"] == sentence["heads"]["layers"][0] == visible(word)


@given(st.lists(st.text(st.characters(), max_size=12), min_size=3, max_size=3))
def test_any_words_give_a_page_of_plain_text_that_can_be_written(words: list[str]) -> None:
    one = example(columns=words, title=words[0])
    page = build_page([one], title=words[1])
    data = page[page.index('id="data">') : page.rindex("<script>")]
    assert page.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", page)
    assert data.count("<") == 1  # the end of the data


def test_the_same_maps_give_the_same_page() -> None:
    assert build_page([example()], title="x") == build_page([example()], title="x")


def test_a_map_of_forty_words_takes_few_bytes() -> None:
    weights = torch.randn(40, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).mul(4).softmax(-1)
    words = [f"word{place}" for place in range(40)]
    forty = Map(weights=weights, rows=words, columns=words)
    bare = len(build_page([example()], title="x"))
    assert len(build_page([forty], title="x")) - bare < 6_000
    assert len(build_page([forty] * 100, title="x")) - bare < 600_000


def test_line_ends_are_lf_so_that_a_browser_finds_the_digests() -> None:
    assert "\r" not in build_page([example()], title="x")


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", [example()], title="x")
    assert (tmp_path / "page.html").read_bytes().decode() == build_page([example()], title="x")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(WorkError, match="nowhere"):
        write_page(tmp_path / "nowhere" / "page.html", [example()], title="x")


def test_no_maps_are_refused() -> None:
    with pytest.raises(OptionError, match="a page needs 1 map at least, and there are 0"):
        build_page([], title="x")


def test_heads_for_another_number_of_maps_are_refused() -> None:
    with pytest.raises(OptionError, match="there are 1 heads for 2 maps; give one for each map, or None"):
        build_page([example(), example()], title="x", heads=[None])


def test_heads_of_other_words_are_refused_with_both_sizes() -> None:
    with pytest.raises(ShapeError) as caught:
        build_page([example(), example()], title="x", heads=[None, Heads(weights=torch.zeros(2, 7, 3, 5))])
    assert str(caught.value) == (
        "the heads of map 1 have maps of 3x5, the map has 5 rows and 3 columns: they must be 5x3 too."
    )
