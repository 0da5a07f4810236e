"""Cutting long texts."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.data.text import split_words
from regard.data.tokenizers import Tokenizer
from regard.tasks.parts import first_words, split_long, split_text
from tests.tasks import tiny


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return tiny.tokenizers().source


WRITTEN = st.text(st.sampled_from("the cat. My,  feet;é\u00a0\t😀"), max_size=120)


@settings(max_examples=100)
@given(text=WRITTEN | st.text(st.characters(codec="utf-8"), max_size=60), max_length=st.integers(5, 17))
def test_parts_are_short_enough_and_lose_nothing_but_blanks(text: str, max_length: int) -> None:
    tokenizer = tiny.tokenizers().source
    parts = split_long(text, tokenizer, max_length)
    assert "".join(parts).replace(" ", "") == text.replace(" ", "")
    assert all(len(tokenizer.encode(part).ids) <= max_length for part in parts)


@settings(max_examples=100)
@given(text=WRITTEN, max_length=st.integers(5, 17))
def test_every_part_knows_its_first_word(text: str, max_length: int) -> None:
    parts = split_long(text, tiny.tokenizers().source, max_length)
    words = split_words(text)
    for part, first in zip(parts, first_words(text, parts), strict=True):
        for number, word in enumerate(split_words(part)):
            assert word in words[first + number]


def test_a_short_text_is_one_part_with_its_blanks(tokenizer: Tokenizer) -> None:
    assert split_long(" the cat  ", tokenizer, 23) == [" the cat  "]
    assert split_long("", tokenizer, 23) == [""]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("the cat sleeps. my feet hurt, the", ["the cat sleeps.", "my feet hurt, the"]),
        ("the cat sleeps; my feet hurt, the", ["the cat sleeps;", "my feet hurt, the"]),
        ("the cat sleeps, my feet hurt the", ["the cat sleeps,", "my feet hurt the"]),
        ("the cat. sleeps here, my feet hurt", ["the cat. sleeps here,", "my feet hurt"]),
    ],
)
def test_a_cut_falls_at_the_best_place(text: str, parts: list[str], tokenizer: Tokenizer) -> None:
    most = max(len(tokenizer.encode(part).ids) for part in parts) + 1
    assert len(tokenizer.encode(text).ids) > most
    assert split_long(text, tokenizer, most) == parts


def test_a_word_that_is_too_long_is_cut_within(tokenizer: Tokenizer) -> None:
    text = "é" * 50
    parts = split_long(text, tokenizer, 7)
    assert "".join(parts) == text
    assert first_words(text, parts) == [0] * len(parts)


def test_the_work_grows_with_the_length_and_not_with_its_square(tokenizer: Tokenizer) -> None:
    def seconds(count: int) -> float:
        began = time.process_time()
        split_long("the cat sleeps here. " * count, tokenizer, 23)
        return time.process_time() - began

    assert seconds(8_000) < 6 * seconds(2_000) + 0.2


def test_a_text_longer_than_what_was_learned_from_is_cut_into_sentences(tokenizer: Tokenizer) -> None:
    text = "the cat sleeps. my feet hurt!  the cat sleeps?"
    most = len(tokenizer.encode(text).ids)
    assert split_text(text, tokenizer, 99, most - 1) == ["the cat sleeps.", "my feet hurt!", "the cat sleeps?"]
    assert split_text(text, tokenizer, 99, most) == [text]
    assert split_text(text, tokenizer, 99, 99) == [text]
    assert split_text(text, tokenizer, 99) == [text]
    assert split_text("猫。犬。", tokenizer, 99, 1) == ["猫。", "犬。"]


def test_a_sentence_longer_than_what_was_learned_from_stays_whole(tokenizer: Tokenizer) -> None:
    text = "the cat sleeps here and 3.5 feet hurt e.g. a lot, the cat sleeps"
    assert split_text(text, tokenizer, 99, 3) == ["the cat sleeps here and 3.5 feet hurt e.g.", "a lot, the cat sleeps"]
    assert split_text("the cat sleeps", tokenizer, 99, 3) == ["the cat sleeps"]


@settings(max_examples=100)
@given(text=WRITTEN, max_length=st.integers(5, 17), usual=st.integers(1, 17))
def test_cutting_into_sentences_loses_nothing_but_blanks(text: str, max_length: int, usual: int) -> None:
    tokenizer = tiny.tokenizers().source
    parts = split_text(text, tokenizer, max_length, usual)
    assert "".join(parts).replace(" ", "") == text.replace(" ", "")
    assert all(len(tokenizer.encode(part).ids) <= max_length for part in parts)
    words = split_words(text)
    for part, first in zip(parts, first_words(text, parts), strict=True):
        for number, word in enumerate(split_words(part)):
            assert word in words[first + number]
