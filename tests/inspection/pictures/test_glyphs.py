import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.inspection.pictures.glyphs import clusters, label, right_to_left, unjoined, visible

anything = st.text(st.characters(), max_size=30)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "⟨1B⟩[31m"),
        ("a\x00b", "a⟨00⟩b"),
        ("\u202eabc", "⟨202E⟩abc"),
        ("\u2028", "⟨2028⟩"),
        ("\ud800", "⟨D800⟩"),
        ("\ufeff", "⟨FEFF⟩"),
        ("\U000e0041", "⟨E0041⟩"),
        ("\x9b", "⟨9B⟩"),
        ("\uffff", "⟨FFFF⟩"),
        ("l'été 日本 قدم", "l'été 日本 قدم"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("<b>&amp;", "<b>&amp;"),
    ],
)
def test_what_acts_becomes_a_sign_and_what_shows_stays(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(anything)
def test_what_is_visible_can_be_written_and_stays_in_its_line(text: str) -> None:
    shown = visible(text)
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in shown)
    assert not any(unicodedata.bidirectional(c) in ("RLO", "LRO", "RLE", "LRE", "RLI", "LRI", "FSI") for c in shown)


@given(anything)
def test_showing_twice_changes_nothing(text: str) -> None:
    assert visible(visible(text)) == visible(text)


@given(anything)
def test_a_label_is_never_blank_and_begins_with_its_own_letter(word: str) -> None:
    shown = label(word)
    assert shown.strip() == shown != ""
    assert not unicodedata.category(shown[0]).startswith("M")


def test_blanks_of_a_word_are_seen() -> None:
    assert label(" the") == "␣the"
    assert label("\u00a0") == "␣"
    assert label("") == "∅"
    assert label("\u0301x") == "◌\u0301x"


@pytest.mark.parametrize(
    ("word", "letters"),
    [
        ("feet", ["f", "e", "e", "t"]),
        ("e\u0301te\u0301", ["e\u0301", "t", "e\u0301"]),
        ("हिन्दी", ["हि", "न्", "दी"]),
        ("👨\u200d👩\u200d👧!", ["👨\u200d👩\u200d👧", "!"]),
        ("👍🏽a", ["👍🏽", "a"]),
        ("", []),
    ],
)
def test_a_letter_keeps_its_marks(word: str, letters: list[str]) -> None:
    assert list(clusters(word)) == letters


@given(anything)
def test_clusters_are_a_split(word: str) -> None:
    assert "".join(clusters(word)) == word


def test_emoji_come_apart_and_persian_does_not() -> None:
    assert unjoined("👨\u200d👩\u200d👧") == "👨👩👧"
    assert unjoined("❤\ufe0f👍🏽") == "❤👍"
    assert unjoined("می\u200cخواهم") == "می\u200cخواهم"
    assert unjoined("क्\u200dष") == "क्\u200dष"


def test_the_first_letter_with_a_direction_decides() -> None:
    assert right_to_left("١٢ قدماي my feet")
    assert right_to_left("שלום")
    assert not right_to_left("my قدماي")
    assert not right_to_left("123 !")
