import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image

from regard.errors import OptionError, WorkError
from regard.inspection.pictures.colors import GOLD, PAPER
from regard.inspection.pictures.figures import DPI, TITLE_LINES, _lines, draw_png, save_png
from regard.inspection.pictures.maps import Map
from tests.inspection.hostile import HOSTILE


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def places(png: bytes, color: tuple[int, int, int]) -> np.ndarray:
    """Return (row, column) of every pixel of a color."""
    return np.argwhere(np.abs(pixels(png) - np.array(color)).max(-1) <= 2)


def one_hot(rows: int, columns: int, row: int, column: int) -> Map:
    weights = torch.zeros(rows, columns)
    weights[row, column] = 1
    return Map(weights=weights, rows=[f"r{i}" for i in range(rows)], columns=[f"c{i}" for i in range(columns)])


def words(number: int) -> list[str]:
    return [f"word{place}" for place in range(number)]


def test_a_picture_is_a_png_without_a_date(tmp_path: Path) -> None:
    save_png(tmp_path / "map.png", one_hot(3, 5, 1, 2))
    written = (tmp_path / "map.png").read_bytes()
    assert written.startswith(b"\x89PNG\r\n\x1a\n")
    assert set(Image.open(io.BytesIO(written)).info) == {"Software", "dpi"}


def test_the_strong_cell_stands_in_its_row_and_column() -> None:
    heart = {key: places(draw_png(one_hot(3, 5, *key)), PAPER[-1]) for key in [(0, 0), (0, 4), (2, 0)]}
    cells = {key: np.median(found, axis=0) for key, found in heart.items()}
    cell = 0.5 * DPI
    assert cells[0, 4] - cells[0, 0] == pytest.approx([0, 4 * cell], abs=2)
    assert cells[2, 0] - cells[0, 0] == pytest.approx([2 * cell, 0], abs=2)


def test_the_heading_of_the_scale_stands_apart_from_its_numbers() -> None:
    for one in (one_hot(3, 5, 1, 2), one_hot(1, 1, 0, 0)):
        found = pixels(draw_png(one))
        beside = found[:, -round(0.5 * DPI) :]  # right of the colors
        edges = np.diff((beside < 240).any(axis=(1, 2)).astype(int))
        begins, ends = (edges == 1).nonzero()[0], (edges == -1).nonzero()[0]
        assert len(begins) == 4  # lines: weight, 1.0, 0.5, 0.0
        assert begins[1] - ends[0] > 0.04 * DPI


def test_cells_have_sharp_edges() -> None:
    found = places(draw_png(one_hot(3, 5, 1, 2)), PAPER[-1])
    beside = found[found[:, 1] < found[:, 1].max() - 30]  # without the scale at the right edge
    assert np.ptp(beside[:, 0]) + 1 == pytest.approx(0.5 * DPI, abs=3)


def test_gold_links_are_outlined_and_only_they() -> None:
    plain = one_hot(3, 5, 1, 2)
    gold = Map(weights=plain.values, rows=plain.rows, columns=plain.columns, gold=frozenset({(4, 0)}))
    assert len(places(draw_png(plain), GOLD)) == 0
    outline = places(draw_png(gold), GOLD)
    first = places(draw_png(one_hot(3, 5, 0, 4)), PAPER[-1])
    cell = np.median(first[first[:, 1] < first[:, 1].max() - 30], axis=0)
    near = outline[np.abs(outline - cell).max(1) < 0.5 * DPI]
    assert len(near) > 4 * 0.4 * DPI


def test_the_same_maps_give_the_same_bytes() -> None:
    maps = [one_hot(3, 5, 1, 2), one_hot(7, 2, 6, 0)]
    assert draw_png(maps) == draw_png(maps)


def test_a_style_of_the_program_around_it_changes_nothing_and_stays() -> None:
    plain = draw_png(one_hot(3, 5, 1, 2))
    with mpl.rc_context({"figure.facecolor": "red", "font.size": 30, "axes.grid": True, "savefig.bbox": "tight"}):
        assert draw_png(one_hot(3, 5, 1, 2)) == plain
        assert mpl.rcParams["font.size"] == 30


def test_forty_words_are_as_large_as_four() -> None:
    few, many = (
        pixels(draw_png(Map(weights=torch.eye(number), rows=words(number), columns=words(number)))).shape
        for number in (4, 40)
    )
    cell = 0.27 * DPI
    assert many[0] > 40 * cell
    assert many[1] > 40 * cell
    assert few[1] < many[1] / 2


def test_long_words_get_room() -> None:
    short, long = (
        pixels(draw_png(Map(weights=torch.eye(3), rows=[word] * 3, columns=[word] * 3))).shape
        for word in ("word", "w" * 30)
    )
    assert long[0] > short[0] + 100
    assert long[1] > short[1] + 200


def test_hostile_words_are_drawn_as_text() -> None:
    size = len(HOSTILE)
    one = Map(
        weights=torch.zeros(size, 5), rows=HOSTILE, columns=HOSTILE[-5:], title=" ".join(HOSTILE), note="\ud800 $"
    )
    height, width, _ = pixels(draw_png(one)).shape
    assert size * 0.27 * DPI < height < 5000
    assert width < 3000


def test_math_signs_are_letters() -> None:
    dollars = Map(weights=torch.ones(1, 1), rows=["$x$"], columns=["$\\alpha$"])
    spaced = Map(weights=torch.ones(1, 1), rows=["\\$x\\$"], columns=["$\\alpha$"])
    assert draw_png(dollars) != draw_png(spaced)


def test_scripts_of_all_directions_are_drawn_without_a_warning() -> None:
    scripts = ["قدماي", "שלום", "日本語", "हिन्दी", "ไทย", "🙂", "한국"]
    draw_png(Map(weights=torch.eye(7), rows=scripts, columns=scripts, title=" ".join(scripts)))


def test_several_maps_share_a_picture_side_by_side_then_below() -> None:
    one, two, nine = (pixels(draw_png([one_hot(2, 3, 0, 0)] * number)).shape for number in (1, 2, 9))
    assert two[0] == one[0]
    assert two[1] > 1.5 * one[1]
    assert nine[0] > 1.5 * one[0]


def test_a_long_title_breaks_into_lines_and_stays_whole() -> None:
    plain, titled = (
        pixels(draw_png(Map(weights=torch.eye(3), rows="abc", columns="xyz", title=title))).shape
        for title in ("one", "many words " * 20)
    )
    assert titled[1] < 1.8 * plain[1]
    assert titled[0] > plain[0] + 4 * 40


@pytest.mark.parametrize(
    "title", ["W" * 60, "WIDE CAPITALS " * 9, "私の足が痛いので今日は早く家に帰りたい。" * 3, "🙂" * 70]
)
def test_titles_and_notes_of_wide_letters_are_not_cut_off(title: str) -> None:
    for one in (
        Map(weights=torch.eye(3), rows="abc", columns="xyz", title=title),
        Map(weights=torch.eye(3), rows="abc", columns="xyz", note=title, belief=title),
        Map(weights=torch.eye(1), rows="a", columns="x", gold=frozenset({(0, 0)}), note=title),
    ):
        drawn = pixels(draw_png(one))
        assert (drawn[:, -int(0.15 * DPI) :] == 255).all()


def test_lines_are_as_long_as_the_room_and_hold_every_letter() -> None:
    width = {"i": 1, "W": 5, "字": 7, " ": 1, "-": 1, "…": 3, "。": 7}

    def measured(text: str) -> float:
        return sum(width[letter] for letter in text)

    def lines(text: str) -> list[str]:
        return _lines(text, 20, measured)

    assert lines("WW WW  WW iiii") == ["WW", "WW", "WW iiii"]
    assert lines("W" * 9) == ["WWWW", "WWWW", "W"]
    assert lines("WW-WW-W") == ["WW-", "WW-W"]
    assert lines("字字字字 iiW") == ["字字", "字字", "iiW"]
    assert lines("字字。字") == ["字", "字。", "字"]
    assert lines("") == []
    many = lines("WWW " * 40)
    assert many == ["WWW"] * (TITLE_LINES - 1) + ["WWW …"]
    assert measured(many[-1]) <= 20


def test_no_words_are_said_so() -> None:
    assert draw_png(Map(weights=torch.zeros(0, 3), rows=[], columns="abc", title="nothing"))


def test_no_maps_are_refused() -> None:
    with pytest.raises(OptionError, match="there are 0 maps to draw; give 1 at least"):
        draw_png([])


def test_a_picture_too_large_to_draw_is_refused_with_its_size() -> None:
    huge = Map(weights=torch.eye(311), rows=["a"] * 311, columns=["b"] * 311)
    with pytest.raises(
        OptionError, match=r"a picture of these 1 maps would be 1[67]\d{3} pixels long, the most is 16000"
    ):
        draw_png(huge)


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"nowhere"):
        save_png(tmp_path / "nowhere" / "map.png", one_hot(2, 3, 0, 0))
