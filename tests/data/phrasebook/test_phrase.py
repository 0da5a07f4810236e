"""Templates: numbers become links, phrases bring their own along."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.phrasebook.phrase import EMPTY, Phrase, compose, join, word

RED_CAR = Phrase(("red", "car"), ("voiture", "rouge"), ((0, 1), (1, 0)))

phrases = st.builds(
    lambda english, french, pairs: Phrase(
        tuple(english), tuple(french), tuple((i, j) for i, j in pairs if i < len(english) and j < len(french))
    ),
    st.lists(st.sampled_from(["a", "b", "c"]), max_size=5),
    st.lists(st.sampled_from(["x", "y", "z"]), max_size=5),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=7),
)


def test_numbers_link_the_words_that_carry_them() -> None:
    phrase = compose("my¹ feet² hurt³", "je¹ ai³ mal³ à² les² pieds²")
    assert phrase.english == ("my", "feet", "hurt")
    assert phrase.french == ("je", "ai", "mal", "à", "les", "pieds")
    assert sorted(phrase.links) == [(0, 0), (1, 3), (1, 4), (1, 5), (2, 1), (2, 2)]


def test_a_word_with_two_numbers_has_both_links() -> None:
    assert compose("can't¹²", "ne² peut¹ pas²").links == ((0, 0), (0, 1), (0, 2))


def test_all_words_of_a_slot_take_its_numbers() -> None:
    assert compose("{wait}¹", "{attend}¹", wait="wait for", attend="attend").links == ((0, 0), (1, 0))


def test_an_empty_slot_leaves_no_word() -> None:
    phrase = compose("{the}¹ {big}² car³", "la¹ {grande}² voiture³", the="the", big="", grande="")
    assert phrase == Phrase(("the", "car"), ("la", "voiture"), ((0, 0), (1, 1)))


def test_a_phrase_in_a_slot_brings_its_links_along() -> None:
    phrase = compose("i¹ see² the³ {car}", "la³ {car} je¹ vois²", car=RED_CAR)
    assert phrase.english == ("i", "see", "the", "red", "car")
    assert phrase.french == ("la", "voiture", "rouge", "je", "vois")
    assert sorted(phrase.links) == [(0, 3), (1, 4), (2, 0), (3, 2), (4, 1)]


def test_a_number_without_a_word_on_the_english_side_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        compose("the¹ car", "la¹ voiture²")


def test_a_template_that_cannot_be_read_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="not a template"):
        compose("the¹x", "la")


def test_a_fixed_expression_is_linked_as_a_whole() -> None:
    assert word("tonight", "ce soir").links == ((0, 0), (0, 1))


@given(st.lists(phrases, min_size=1, max_size=4))
def test_joining_keeps_words_in_order_and_every_link(parts: list[Phrase]) -> None:
    whole = join(*parts)
    assert whole.english == tuple(word for part in parts for word in part.english)
    assert whole.french == tuple(word for part in parts for word in part.french)
    assert len(whole.links) == sum(len(part.links) for part in parts)
    assert all(i < len(whole.english) and j < len(whole.french) for i, j in whole.links)


@given(phrases)
def test_joining_nothing_changes_nothing(phrase: Phrase) -> None:
    assert join(EMPTY, phrase, EMPTY) == phrase
