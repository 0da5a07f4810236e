"""Every mechanism has a page, a picture that shows its weights as they are, and lines that run (tests/test_docs.py)."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from regard.attention import catalogue
from regard.attention.call import AttentionCall

DOCS = Path(__file__).parent.parent / "docs"
TABLES = {
    name.lower(): rows
    for name, rows in vars(catalogue).items()
    if isinstance(rows, Mapping) and all(isinstance(row, catalogue.Row) for row in rows.values())
}
ROWS = [(group, name) for group, rows in TABLES.items() for name in rows]
EVEN = {("scores", "constant")}


@pytest.fixture(scope="module")
def docs() -> SimpleNamespace:
    """The modules beside docs/write.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        names = ("pages", "pictures", "weights")
        return SimpleNamespace(**{name: importlib.import_module(f"mechanism_{name}") for name in names})


def names_in(folder: str) -> list[str]:
    return sorted(f"{folder}/{path.name}" for path in (DOCS / folder).iterdir())


def test_every_row_has_a_page_a_picture_and_lines_and_nothing_is_left_over(docs: Any) -> None:
    pages = sorted(f"{group}-{name}" for group, name in ROWS)
    assert len(pages) > 50
    assert names_in("mechanisms") == [f"mechanisms/{page}.md" for page in pages]
    assert names_in("pictures/mechanisms") == [f"pictures/mechanisms/{page}.png" for page in pages]
    assert sorted(path.stem for path in (DOCS / "examples").glob("*.py")) == sorted(TABLES)
    for group, rows in TABLES.items():
        assert list(docs.pages.examples(group)) == list(rows), f"docs/examples/{group}.py: a cell each, in this order"


@pytest.mark.parametrize(("group", "name"), ROWS)
def test_a_mechanism_has_a_caption_and_some_lines(docs: Any, group: str, name: str) -> None:
    caption, code = docs.pages.examples(group)[name]
    assert caption.endswith(".")
    assert 3 <= sum(bool(line.strip()) and "import" not in line for line in code.split("\n")) <= 8
    assert "assert" in code


@pytest.mark.parametrize(("group", "name"), ROWS)
def test_a_picture_shows_the_weights_of_now(docs: Any, group: str, name: str) -> None:
    path = DOCS / "pictures" / "mechanisms" / f"{group}-{name}.png"
    shown = docs.weights.shown(group, name)
    assert shown.weights.dtype == torch.float64
    assert docs.pictures.is_current(path, shown), f"run make docs: {path.name} is out of date"
    assert path.stat().st_size < 40_000
    found = shown.weights[~shown.weights.isnan()]
    assert group == "caches" or found.numel() == shown.weights.numel()
    assert found.ge(0).all()
    assert found.le(1).all()
    assert ((found.max() - found.min()) > 0.05) == ((group, name) not in EVEN), "all weights are the same"


def test_another_weight_or_word_makes_a_picture_out_of_date(docs: Any) -> None:
    path, shown = DOCS / "pictures" / "mechanisms" / "masks-causal.png", docs.weights.shown("masks", "causal")
    assert docs.pictures.is_current(path, shown._replace(weights=shown.weights + 1e-9))
    assert not docs.pictures.is_current(path, shown._replace(weights=shown.weights + 1e-2))
    assert not docs.pictures.is_current(path, shown._replace(rows=shown.rows[::-1]))
    assert not docs.pictures.is_current(DOCS / "no.png", shown)


def test_a_picture_holds_what_it_is_compared_by(docs: Any, tmp_path: Path) -> None:
    shown = docs.weights.shown("masks", "shifted")
    (tmp_path / "drawn.png").write_bytes(docs.pictures.draw(shown))
    assert docs.pictures.is_current(tmp_path / "drawn.png", shown)


def test_ways_that_are_named_can_run_it(docs: Any) -> None:
    assert docs.pages.ways("scores", "additive") == "`reference`, `additive`, `streamed`, `windowed`."
    assert docs.pages.ways("masks", "causal").endswith("`windowed`; on CUDA also `flex`.")
    assert "`products`" not in docs.pages.ways("heads", "grouped")
    call: AttentionCall = docs.weights.calls("masks", "causal")[0].call
    assert docs.pages.on_cuda(call).query.shape == call.query.shape


def test_no_line_of_a_paragraph_begins_a_list(docs: Any) -> None:
    text = " ".join(["word - tau + 1. and * so > on ="] * 40)
    assert not [
        line for line in docs.pages.fill(text).split("\n") if line.split()[0] in ("-", "+", "*", ">", "=", "1.")
    ]


def test_a_docstring_loses_its_sections_and_what_it_points_to(docs: Any) -> None:
    def part() -> None:
        """Do a thing (masks.py), and another (`call.hide_states`).

        Attributes:
            one: Not for the page.
        """

    assert docs.pages.described(part) == ["Do a thing, and another."]
