"""Clauses: a subject, a verb in some tense, negation around it, and what follows.

The tables below are the grammar of the verb in both languages, one line a tense and polarity, on the example of
"eat": {eats} agrees with the subject, {eat} is the plain form, {ate} the past; {mange} agrees, {manger} is the
infinitive, {mangé} the participle, {a} the auxiliary. {it} is a pronoun, which French puts before the verb.
"""

from typing import Literal, NamedTuple

from regard.data.phrasebook import french
from regard.data.phrasebook.french import conjugate
from regard.data.phrasebook.nominals import HE, Nominal
from regard.data.phrasebook.phrase import EMPTY, Phrase, compose
from regard.data.phrasebook.verbs import Verb

Tense = Literal["simple", "progressive", "past", "going", "just"]
Polarity = Literal["yes", "not", "never", "anymore"]

# Verbs that do without do in questions and after not, and do not change with the person.
AUXILIARIES = {"can", "must"}


class Predicate(NamedTuple):
    """A verb and what depends on it.

    Attributes:
        pronoun: An object that French puts before the verb: him, le.
        rest: All that follows the verb on both sides.
        agreement: Gender and number of an object before the participle, which then agrees with it: je l'ai vue.
    """

    verb: Verb
    rest: Phrase = EMPTY
    pronoun: Phrase = EMPTY
    agreement: tuple[str, bool] | None = None


_ACTIONS: dict[tuple[Tense, Polarity], tuple[str, str]] = {
    ("simple", "yes"): (
        "{she} {often} {eats}¹ {it} {rest}",
        "{she} {se}¹ {it} {mange}¹ {often} {de}¹ {rest}",
    ),
    ("simple", "not"): (
        "{she} {does_not}² {eat}¹ {it} {rest}",
        "{she} ne² {se}¹ {it} {mange}¹ pas² {de}¹ {rest}",
    ),
    ("simple", "never"): (
        "{she} never² {eats}¹ {it} {rest}",
        "{she} ne² {se}¹ {it} {mange}¹ jamais² {de}¹ {rest}",
    ),
    ("simple", "anymore"): (
        "{she} {does_not}² {eat}¹ {it} {rest} anymore³",
        "{she} ne² {se}¹ {it} {mange}¹ plus³ {de}¹ {rest}",
    ),
    ("progressive", "yes"): (
        "{she} {is} {often} {eating}¹ {it} {rest}",
        "{she} {se}¹ {it} {mange}¹ {often} {de}¹ {rest}",
    ),
    ("progressive", "not"): (
        "{she} {is} not² {eating}¹ {it} {rest}",
        "{she} ne² {se}¹ {it} {mange}¹ pas² {de}¹ {rest}",
    ),
    ("past", "yes"): (
        "{she} {often} {ate}¹ {it} {rest}",
        "{she} {se}¹ {it} {a}¹ {often} {mangé}¹ {de}¹ {rest}",
    ),
    ("past", "not"): (
        "{she} didn't² {eat}¹ {it} {rest}",
        "{she} ne² {se}¹ {it} {a}¹ pas² {mangé}¹ {de}¹ {rest}",
    ),
    ("past", "never"): (
        "{she} never² {ate}¹ {it} {rest}",
        "{she} ne² {se}¹ {it} {a}¹ jamais² {mangé}¹ {de}¹ {rest}",
    ),
    ("going", "yes"): (
        "{she} {is} going³ to {eat}¹ {it} {rest}",
        "{she} {va}³ {se}¹ {it} {manger}¹ {de}¹ {rest}",
    ),
    ("going", "not"): (
        "{she} {is} not² going³ to {eat}¹ {it} {rest}",
        "{she} ne² {va}³ pas² {se}¹ {it} {manger}¹ {de}¹ {rest}",
    ),
    ("just", "yes"): (
        "{she} just³ {ate}¹ {it} {rest}",
        "{she} {vient}³ de³ {se}¹ {it} {manger}¹ {de}¹ {rest}",
    ),
}

# "be" and "must" do without do. Their {rest} is all that follows: hungry, to the left, eat an apple.
_BEING: dict[tuple[Tense, Polarity], tuple[str, str]] = {
    ("simple", "yes"): ("{she} {is}¹ {often} {rest}", "{she} {est}¹ {often} {rest}"),
    ("simple", "not"): ("{she} {is}¹ not² {rest}", "{she} ne² {est}¹ pas² {rest}"),
    ("simple", "never"): ("{she} {is}¹ never² {rest}", "{she} ne² {est}¹ jamais² {rest}"),
    ("simple", "anymore"): ("{she} {is}¹ not² {rest} anymore³", "{she} ne² {est}¹ plus³ {rest}"),
    ("past", "yes"): ("{she} {was}¹ {often} {rest}", "{she} {était}¹ {often} {rest}"),
    ("past", "not"): ("{she} {was}¹ not² {rest}", "{she} ne² {était}¹ pas² {rest}"),
    ("going", "yes"): ("{she} {is} going³ to be¹ {rest}", "{she} {va}³ {être}¹ {rest}"),
}

# A question word ({where}) may open the question.
_ASKING: dict[Tense, tuple[str, str]] = {
    "simple": (
        "{where} {does}² {she} {eat}¹ {it} {rest} ?³",
        "{where} est-ce² que² {she} {se}¹ {it} {mange}¹ {de}¹ {rest} ?³",
    ),
    "progressive": (
        "{where} {is}² {she} {eating}¹ {it} {rest} ?³",
        "{where} est-ce² que² {she} {se}¹ {it} {mange}¹ {de}¹ {rest} ?³",
    ),
    "past": (
        "{where} did² {she} {eat}¹ {it} {rest} ?³",
        "{where} est-ce² que² {she} {se}¹ {it} {a}¹ {mangé}¹ {de}¹ {rest} ?³",
    ),
    "going": (
        "{where} {is}² {she} going⁴ to {eat}¹ {it} {rest} ?³",
        "{where} est-ce² que² {she} {va}⁴ {se}¹ {it} {manger}¹ {de}¹ {rest} ?³",
    ),
}
_ASKING_BEING = "{where} {is}¹ {she} {rest} ?³", "{where} est-ce¹ que¹ {she} {est}¹ {rest} ?³"
_CANNOT = "{she} can't¹² {rest}", "{she} ne² {est}¹ pas² {rest}"

_COMMAND = "{eat}¹ {rest}", "{mange}¹ {rest}"
_PROHIBITION = "don't² {eat}¹ {rest}", "ne² {mange}¹ pas² {rest}"

_AM = ("am", "are", "is", "are", "are")
_WAS = ("was", "were", "was", "were", "were")
_SE = ("me", "te", "se", "nous", "se")


def _english_forms(verb: Verb, person: int) -> dict[str, str]:
    does = "does" if person == HE else "do"
    forms = {"eat": verb.base, "eating": verb.ing, "ate": verb.past, "does": does, "does_not": does + "n't"}
    forms["eats"] = verb.third if person == HE else verb.base
    forms["is"] = verb.base if verb.base in AUXILIARIES else _AM[person]
    forms["was"] = _WAS[person]
    return forms


def _french_forms(verb: Verb, subject: Nominal, agreement: tuple[str, bool] | None) -> dict[str, str]:
    person, conjugation = subject.person, verb.conjugation
    participle = conjugation.participle
    if verb.by_being:
        participle = french.agree(participle, subject.gender, subject.is_plural)
    elif agreement:
        participle = french.agree(participle, *agreement)
    return {
        "mange": conjugation.present[person],
        "manger": conjugation.infinitive,
        "mangé": participle,
        "a": conjugate("être" if verb.by_being else "avoir").present[person],
        "va": conjugate("aller").present[person],
        "vient": conjugate("venir").present[person],
        "est": conjugation.present[person],
        "était": conjugation.imperfect[person],
        "être": conjugation.infinitive,
        "se": _SE[person] if verb.reflexive else "",
        "de": verb.particle,
    }


def _fill(template: tuple[str, str], subject: Nominal, predicate: Predicate, **more: Phrase) -> Phrase:
    verb = predicate.verb
    forms = _english_forms(verb, subject.person) | _french_forms(verb, subject, predicate.agreement)
    return compose(*template, she=subject.phrase, it=predicate.pronoun, rest=predicate.rest, **forms, **more)


def clause(
    subject: Nominal,
    predicate: Predicate,
    tense: Tense = "simple",
    polarity: Polarity = "yes",
    *,
    often: Phrase = EMPTY,
) -> Phrase:
    """State something: she is not reading the newspaper; `often` is an adverb inside it: often, already, still."""
    table = _BEING if predicate.verb.base in AUXILIARIES | {"be"} else _ACTIONS
    template = table[tense, polarity]
    if predicate.verb.base == "can" and polarity == "not":
        template = _CANNOT
    return _fill(template, subject, predicate, often=often)


def question(subject: Nominal, predicate: Predicate, tense: Tense = "simple", *, where: Phrase = EMPTY) -> Phrase:
    """Ask by est-ce que, behind a question word or without one: do you like coffee ?"""
    being = predicate.verb.base in AUXILIARIES | {"be"}
    return _fill(_ASKING_BEING if being else _ASKING[tense], subject, predicate, where=where)


def infinitive(subject: Nominal, predicate: Predicate, *, to: str = "to") -> Phrase:
    """Say what the subject wants, can or must do: to eat an apple."""
    template = "{to} {eat}¹ {it} {rest}", "{se}¹ {it} {manger}¹ {de}¹ {rest}"
    return _fill(template, subject, predicate, to=Phrase((to,)) if to else EMPTY)


def command(predicate: Predicate, *, negated: bool = False) -> Phrase:
    """Tell somebody to do something, or not to: close the door."""
    return compose(
        *(_PROHIBITION if negated else _COMMAND),
        eat=predicate.verb.base,
        mange=predicate.verb.conjugation.imperative,
        rest=predicate.rest,
    )
