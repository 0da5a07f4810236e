"""Noun phrases: agreement, sides and shapes of adjectives, owners."""

import pytest

from regard.data.phrasebook.lexicon import ADJECTIVES, NOUNS, Noun
from regard.data.phrasebook.nominals import HE, PEOPLE_BY_NAME, PRONOUNS, THEY, belonging, both, having, noun_phrase


def written(english: str, determiner: str, *adjectives: str, is_plural: bool = False) -> tuple[str, str]:
    chosen = tuple(ADJECTIVES[name] for name in adjectives)
    phrase = noun_phrase(NOUNS[english], determiner, is_plural=is_plural, adjectives=chosen).phrase
    return " ".join(phrase.english), " ".join(phrase.french)


@pytest.mark.parametrize(
    ("noun", "determiner", "adjectives", "is_plural", "expected"),
    [
        ("car", "a", "red", False, ("a red car", "une voiture rouge")),
        ("car", "a", "beautiful", False, ("a beautiful car", "une belle voiture")),
        ("car", "the", "beautiful red", False, ("the beautiful red car", "la belle voiture rouge")),
        ("house", "a", "small", False, ("a small house", "une petite maison")),
        ("friend", "a", "old", False, ("an old friend", "un vieil ami")),
        ("hotel", "a", "new", False, ("a new hotel", "un nouvel hôtel")),
        ("tree", "this", "", False, ("this tree", "cet arbre")),
        ("tree", "this", "beautiful", False, ("this beautiful tree", "ce bel arbre")),
        ("scarf", "my", "", False, ("my scarf", "mon écharpe")),
        ("scarf", "my", "beautiful", False, ("my beautiful scarf", "ma belle écharpe")),
        ("flower", "some", "", True, ("some flowers", "des fleurs")),
        ("flower", "some", "pretty", True, ("some pretty flowers", "de jolies fleurs")),
        ("flower", "some", "red", True, ("some red flowers", "des fleurs rouges")),
        ("bread", "some", "", False, ("some bread", "de le pain")),
        ("bread", "any", "", False, ("any bread", "de pain")),
        ("bread", "mass", "", False, ("bread", "de le pain")),
        ("orange", "a", "", False, ("an orange", "une orange")),
        ("newspaper", "these", "", True, ("these newspapers", "ces journaux")),
    ],
)
def test_noun_phrases(noun: str, determiner: str, adjectives: str, is_plural: bool, expected: tuple[str, str]) -> None:
    key = "this" if determiner == "these" else determiner
    assert written(noun, key, *adjectives.split(), is_plural=is_plural) == expected


@pytest.mark.parametrize("is_plural", [False, True])
@pytest.mark.parametrize("noun", NOUNS.values(), ids=lambda noun: noun.english)
def test_every_determiner_and_adjective_agrees_with_every_noun(noun: Noun, is_plural: bool) -> None:
    adjectives = (ADJECTIVES["young"], ADJECTIVES["white"])
    the, young, name, white = noun_phrase(noun, "the", is_plural=is_plural, adjectives=adjectives).phrase.french
    assert the == ("les" if is_plural else {"m": "le", "f": "la"}[noun.gender])
    assert young == ("jeunes" if is_plural else "jeune")
    assert name == (noun.french_plural if is_plural else noun.french)
    assert white == {"m": "blanc", "f": "blanche"}[noun.gender] + ("s" if is_plural else "")


def test_links_follow_the_adjective_to_its_side() -> None:
    adjectives = (ADJECTIVES["beautiful"], ADJECTIVES["red"])
    phrase = noun_phrase(NOUNS["car"], "the", adjectives=adjectives).phrase
    assert phrase.french == ("la", "belle", "voiture", "rouge")
    assert sorted(phrase.links) == [(0, 0), (1, 1), (2, 3), (3, 2)]


def test_an_article_that_english_leaves_out_belongs_to_the_noun() -> None:
    assert sorted(noun_phrase(NOUNS["bread"], "mass").phrase.links) == [(0, 0), (0, 1), (0, 2)]


def test_what_belongs_to_somebody_comes_first_in_french() -> None:
    phrase = belonging(NOUNS["car"], noun_phrase(NOUNS["baker"]), adjectives=(ADJECTIVES["red"],)).phrase
    assert phrase.english == ("the", "baker's", "red", "car")
    assert phrase.french == ("la", "voiture", "rouge", "de", "le", "boulanger")
    assert sorted(phrase.links) == [(0, 4), (1, 3), (1, 5), (2, 2), (3, 0), (3, 1)]


def test_two_women_are_feminine_and_one_man_makes_it_masculine() -> None:
    paul, *_ = PEOPLE_BY_NAME
    anne, alice = PEOPLE_BY_NAME[-2:]
    assert (both(anne, alice).gender, both(anne, alice).person) == ("f", THEY)
    assert both(anne, paul).gender == "m"


def test_the_owner_of_a_body_becomes_the_subject() -> None:
    assert having(PRONOUNS["i"])[:2] == (("my",), ("je",))
    assert having(noun_phrase(NOUNS["brother"], "my"))[:2] == (("my", "brother's"), ("mon", "frère"))


def test_persons_carry_what_others_need_to_agree() -> None:
    she = PRONOUNS["she"]
    assert (she.person, she.gender, she.possessive, she.is_plural) == (HE, "f", "her", False)
