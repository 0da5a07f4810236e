"""What people do in which situation: who is hungry eats, who is tired goes to bed, when it rains one stays at home."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from regard.data.phrasebook.adjuncts import AT_HOME, PLACES, TO_PLACES
from regard.data.phrasebook.clauses import Predicate, Tense, clause
from regard.data.phrasebook.idioms import RAIN, SNOW, STATES, state
from regard.data.phrasebook.lexicon import ADJECTIVES, nouns
from regard.data.phrasebook.nominals import IT, PRONOUNS, THEY, Nominal, noun_phrase
from regard.data.phrasebook.phrase import EMPTY, Phrase
from regard.data.phrasebook.scenes import person, quality
from regard.data.phrasebook.verbs import BE, DOING, GO, GO_HOME, GO_TO_BED, STAY, Verb

Condition = Callable[[Random, Nominal, Tense], Phrase]
Response = Callable[[Random, Nominal], Predicate]


class Situation(NamedTuple):
    """How somebody feels, or the weather, and what one sensibly does about it.

    Attributes:
        felt: True if it is somebody's feeling, which has a past.
    """

    condition: Condition
    felt: bool
    responses: tuple[Response, ...]


def steady(chance: Random) -> Nominal:
    """Draw a subject that a pronoun can take up again: not several women, for "they" is always ils."""
    subject = person(chance)
    while subject.is_plural and subject.gender == "f":
        subject = person(chance)
    return subject


def again(subject: Nominal) -> Nominal:
    """Give the pronoun for a subject mentioned before."""
    if subject in PRONOUNS.values():
        return subject
    return PRONOUNS["they" if subject.person == THEY else "he" if subject.gender == "m" else "she"]


def _feeling(name: str) -> Condition:
    def draw(chance: Random, subject: Nominal, tense: Tense) -> Phrase:
        if name in STATES:
            return clause(subject, state(name), tense)
        return clause(subject, Predicate(BE, quality(chance, subject, ADJECTIVES[name], degrees=0.1)), tense)

    return draw


def _weather(falls: Verb) -> Condition:
    def draw(chance: Random, subject: Nominal, tense: Tense) -> Phrase:
        return clause(IT, Predicate(falls), tense)

    return draw


def _taking(base: str, names: str, *determiners: str) -> Response:
    """Do something with one of some things; "own" stands for the possessive of the subject."""

    def draw(chance: Random, subject: Nominal) -> Predicate:
        determiner = chance.choice(determiners).replace("own", subject.possessive)
        return Predicate(DOING[base], noun_phrase(chance.choice(nouns(names)), determiner).phrase)

    return draw


def _doing(done: Verb, rest: Phrase = EMPTY) -> Response:
    def draw(chance: Random, subject: Nominal) -> Predicate:
        return Predicate(done, rest)

    return draw


_STAY_HOME = _doing(STAY, AT_HOME)
_STAY_IN_BEDROOM = _doing(STAY, PLACES["bedroom"])
_EATING = _taking("eat", "fruit snack", "a")
_DRINKING = _taking("drink", "water milk beer", "some")
_WARMING = _taking("drink", "tea coffee", "some"), _taking("make", "soup", "some")
_CALLING = _taking("call", "mother father friend brother sister", "own")
_RIDING = _taking("take", "bus train", "the"), _taking("take", "taxi", "a")

SITUATIONS = (
    Situation(
        _feeling("hungry"), True, (_EATING, _taking("make", "meal", "some"), _doing(GO, TO_PLACES["restaurant"]))
    ),
    Situation(_feeling("thirsty"), True, (_DRINKING, _taking("drink", "water milk tea", "mass"))),
    Situation(_feeling("cold"), True, _WARMING),
    Situation(_feeling("hot"), True, (_DRINKING, _doing(DOING["swim"], PLACES["river"]))),
    Situation(_feeling("sleepy"), True, (_doing(GO_TO_BED), _doing(GO_HOME), _taking("drink", "coffee", "some"))),
    Situation(_feeling("tired"), True, (_doing(GO_TO_BED), _doing(GO_HOME), _STAY_HOME, *_RIDING)),
    Situation(
        _feeling("sick"), True, (_STAY_HOME, _doing(GO, TO_PLACES["hospital"]), _taking("call", "doctor", "the"))
    ),
    Situation(_feeling("sad"), True, (_doing(DOING["cry"]), _STAY_IN_BEDROOM, _CALLING)),
    Situation(_feeling("happy"), True, (_doing(DOING["sing"]), _doing(DOING["dance"]))),
    Situation(_weather(RAIN), False, (_STAY_HOME, _doing(GO_HOME), *_RIDING)),
    Situation(_weather(SNOW), False, (_STAY_HOME, _doing(GO_HOME), *_RIDING)),
)
