import io
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType

from regard.inspection.pictures.maps import Candidate, Map, Step
from regard.inspection.pictures.terminal import heat_map, step_table
from tests.inspection.hostile import HOSTILE

FEET = Map(
    weights=torch.tensor([[0.96, 0.01, 0.03], [0.004, 0.014, 0.982], [0.03, 0.97, 0.0], [0.0, 0.999, 0.001]]),
    rows=["j'ai", "mal", "aux", "pieds"],
    columns=["my", "feet", "hurt"],
    gold=frozenset({(0, 0), (2, 1), (1, 2)}),
    title="my feet hurt",
    note="layer 2, head 3",
)


def printed(shown: RenderableType, *, width: int = 80, **console: Any) -> list[str]:
    """Return the lines that a console without color prints; options give it color."""
    file = io.StringIO()
    options = {"color_system": None, "force_terminal": False, "legacy_windows": False, "_environ": {}} | console
    Console(file=file, width=width, **options).print(shown)
    return file.getvalue().split("\n")[:-1]


def diagonal(rows: list[str], columns: list[str]) -> Map:
    weights = np.full((len(rows), len(columns)), 0.001)
    for row in range(len(rows)):
        weights[row, row % len(columns)] = 0.9
    return Map(weights=weights, rows=rows, columns=columns)


def words(number: int) -> list[str]:
    return [f"word{place}" for place in range(number)]


class TestHeatMap:
    def test_a_short_sentence_is_printed_with_its_words_and_weights(self) -> None:
        assert printed(heat_map(FEET)) == [
            "my feet hurt",
            "        my   feet  hurt ",
            " j'ai ◆•.96█ .01   .03  ",
            "  mal        .01  ◆•.98█",
            "  aux  .03  ◆•.97█      ",
            "pieds       █•1.0█      ",
            "0   ··░░▒▒▓▓██ 1   • strongest of its row   ◆ gold link",
            "layer 2, head 3",
        ]

    def test_a_middle_sentence_is_written_downwards_with_the_strongest_weight(self) -> None:
        lines = printed(heat_map(diagonal(words(5), words(5)), width=30))
        assert lines == [
            "        w   w   w   w   w ",
            "        o   o   o   o   o ",
            "        r   r   r   r   r ",
            "        d   d   d   d   d ",
            "        0   1   2   3   4 ",
            "word0 █.90                ",
            "word1     █.90            ",
            "word2         █.90        ",
            "word3             █.90    ",
            "word4                 █.90",
            "0   ··░░▒▒▓▓██ 1   number strongest of its row",
        ]

    def test_a_long_sentence_goes_into_panels_of_one_size(self) -> None:
        lines = printed(heat_map(diagonal(words(40), words(40))), width=60)
        assert all(cell_len(line) <= 60 for line in lines)
        panels = [line for line in lines if " word7 " in line]
        assert len(panels) == 2
        assert cell_len(panels[0]) == cell_len(panels[1]) == len("word39 ") + 20 * 2
        assert panels[0].count("•") == 1
        assert panels[1].count("•") == 0

    @pytest.mark.parametrize("width", [20, 33, 47, 80, 131])
    def test_no_line_is_wider_than_the_terminal(self, width: int) -> None:
        longest = diagonal(["a" * 100, "b", "日本" * 40], ["c" * 100, *words(23)])
        assert all(cell_len(line) <= width for line in printed(heat_map(longest), width=width))

    def test_right_to_left_words_are_numbered_where_they_do_not_fit(self) -> None:
        arabic = ["قدماي", "تؤلمانني", "كثيرا", "اليوم", "يا", "صديقي", "العزيز"]
        lines = printed(heat_map(diagonal(["a", "b"], arabic)), width=40)
        assert lines[0].startswith("0 قدماي\u200e   1 تؤلمانني\u200e")
        assert "    0   1   2   3   4   5   6 " in lines

    @pytest.mark.parametrize("word", ["قدماي", "שלום", "(עולם)"])
    def test_a_mark_behind_right_to_left_words_keeps_the_numbers_in_place(self, word: str) -> None:
        row = printed(heat_map(diagonal([word], ["a", "b"])))[1]
        assert f"{word}\u200e " in row

    @given(st.lists(st.text(st.characters(), max_size=12) | st.sampled_from(HOSTILE), min_size=1, max_size=11))
    @settings(max_examples=60, deadline=None)
    def test_columns_stay_straight_whatever_the_words_are(self, given_words: list[str]) -> None:
        lines = printed(heat_map(diagonal(given_words, ["a", "日本", "c"])))
        table = lines[1 : 1 + len(given_words)]
        assert len({cell_len(line) for line in table}) == 1
        assert re.search("strongest of its row", lines[1 + len(given_words)])

    @given(st.lists(st.text(st.characters(), max_size=12) | st.sampled_from(HOSTILE), min_size=1, max_size=23))
    @settings(max_examples=60, deadline=None)
    def test_the_head_is_as_wide_as_the_cells(self, given_words: list[str]) -> None:
        lines = printed(heat_map(diagonal(["row"], given_words)), width=40)
        place = next(number for number, line in enumerate(lines) if line.startswith("row "))
        assert cell_len(lines[place - 1]) == cell_len(lines[place])

    @pytest.mark.parametrize("word", HOSTILE, ids=lambda word: ascii(word)[:24])
    def test_a_hostile_word_reaches_the_terminal_as_signs_only(self, word: str) -> None:
        hostile = Map(weights=torch.ones(1, 1), rows=[word], columns=[word], title=word, note=word)
        lines = printed(heat_map(hostile), color_system=None)
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", "".join(lines))

    @pytest.mark.parametrize(
        "console",
        [
            {"color_system": None},
            {"color_system": "standard", "force_terminal": True},
            {"color_system": "truecolor", "force_terminal": True, "_environ": {"NO_COLOR": "1"}},
            {"force_terminal": True, "color_system": "auto", "_environ": {"TERM": "dumb"}},
        ],
    )
    def test_without_enough_color_shades_are_characters(self, console: dict[str, Any]) -> None:
        lines = printed(heat_map(FEET), **console)
        assert any("█•1.0█" in re.sub("\x1b\\[[0-9;]*m", "", line) for line in lines)
        assert not any("48;" in line for line in lines)

    def test_with_color_shades_are_grounds(self) -> None:
        text = "\n".join(printed(heat_map(FEET), force_terminal=True, color_system="truecolor"))
        weakest, strongest = "48;2;22;28;38", "48;2;226;242;255"
        assert weakest in text
        assert strongest in text
        assert "█" not in text
        assert "◆" in text

    def test_an_ascii_terminal_gets_ascii(self) -> None:
        file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        Console(file=file, width=80, color_system=None, legacy_windows=False).print(heat_map(FEET))
        file.seek(0)
        assert "*^.96@" in file.read()

    def test_without_gold_nothing_speaks_of_it(self) -> None:
        assert "gold" not in "".join(printed(heat_map(diagonal(["a"], ["b"]))))

    def test_no_words_are_said_so(self) -> None:
        empty = Map(weights=torch.zeros(0, 3), rows=[], columns=["a", "b", "c"], title="nothing")
        assert printed(heat_map(empty)) == ["nothing", "(no words)"]

    def test_a_row_of_zeros_has_no_strongest_cell(self) -> None:
        zeros = Map(weights=torch.zeros(1, 3), rows=["a"], columns=["b", "c", "d"])
        assert "•" not in printed(heat_map(zeros))[1]


class TestStepTable:
    STEP = Step(
        token="pieds",
        columns=["my", "feet", "[x]"],
        scores=torch.tensor([1.25, 4.5, float("-inf")]),
        weights=torch.tensor([0.04, 0.96, 0.0]),
        shares=torch.tensor([0.5, 0.5, 0.0]),
        candidates=[Candidate(token="pieds", probability=0.81), Candidate(token="pied", probability=0.1)],
    )

    def test_a_step_shows_scores_weights_shares_and_candidates(self) -> None:
        lines = [line.rstrip() for line in printed(step_table(self.STEP, number=3))]
        assert lines == [
            "step 3: pieds",
            "input  score  weight                share of the context",
            "   my   1.25  .04 ▋                 .50 ████████",
            " feet   4.50  .96 ███████████████▍  .50 ████████",
            "  [x]   -inf  .00                   .00",
            "best: pieds .81   pied .10",
        ]

    def test_a_note_of_a_step_stands_below_it(self) -> None:
        step = Step(token="a", columns=["b"], scores=torch.zeros(1), weights=torch.ones(1), note="shown at \x1b a")
        *_, last = printed(step_table(step, number=1))
        assert last.rstrip() == "shown at ⟨1B⟩ a"

    def test_candidates_wider_than_the_table_stay_on_one_line(self) -> None:
        candidates = [Candidate(token=f"word{number}", probability=0.1) for number in range(5)]
        step = Step(token="a", columns=["b"], scores=torch.zeros(1), weights=torch.ones(1), candidates=candidates)
        *_, last = printed(step_table(step, number=1))
        assert last.rstrip() == "best: " + "   ".join(f"word{number} .10" for number in range(5))

    def test_a_step_without_shares_has_no_column_of_them(self) -> None:
        step = Step(token="a", columns=["b"], scores=torch.zeros(1), weights=torch.ones(1))
        assert "share" not in "".join(printed(step_table(step, number=1)))
