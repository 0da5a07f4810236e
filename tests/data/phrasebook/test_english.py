"""How English words change."""

import pytest

from regard.data.phrasebook import english


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("apple", "apples"),
        ("box", "boxes"),
        ("church", "churches"),
        ("city", "cities"),
        ("day", "days"),
        ("foot", "feet"),
        ("scarf", "scarves"),
        ("tomato", "tomatoes"),
    ],
)
def test_plurals(noun: str, expected: str) -> None:
    assert english.plural(noun) == expected


@pytest.mark.parametrize(
    ("verb", "third", "ing", "past"),
    [
        ("eat", "eats", "eating", "ate"),
        ("wash", "washes", "washing", "washed"),
        ("cry", "cries", "crying", "cried"),
        ("play", "plays", "playing", "played"),
        ("swim", "swims", "swimming", "swam"),
        ("close", "closes", "closing", "closed"),
        ("visit", "visits", "visiting", "visited"),
        ("go", "goes", "going", "went"),
        ("have", "has", "having", "had"),
        ("see", "sees", "seeing", "saw"),
    ],
)
def test_verb_forms(verb: str, third: str, ing: str, past: str) -> None:
    assert (english.third(verb), english.ing(verb), english.past(verb)) == (third, ing, past)


@pytest.mark.parametrize(
    ("adjective", "expected"),
    [
        ("big", ("bigger", "biggest")),
        ("old", ("older", "oldest")),
        ("heavy", ("heavier", "heaviest")),
        ("good", ("better", "best")),
        ("modern", ("more modern", "most modern")),
        ("expensive", ("more expensive", "most expensive")),
    ],
)
def test_comparison(adjective: str, expected: tuple[str, str]) -> None:
    assert english.compare(adjective) == expected


def test_a_becomes_an_before_a_vowel() -> None:
    assert [english.article(word) for word in ("apple", "old", "umbrella", "pear")] == ["an", "an", "an", "a"]
