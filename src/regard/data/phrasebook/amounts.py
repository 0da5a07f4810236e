"""Constructions about how much: measures, only, nothing and nobody.

Each function draws one phrase of its construction; its docstring shows one.
"""

from random import Random

from regard.data.phrasebook.adjuncts import EVERY_DAY, TODAY, YESTERDAY
from regard.data.phrasebook.clauses import Predicate, Tense, clause
from regard.data.phrasebook.french import conjugate
from regard.data.phrasebook.lexicon import nouns
from regard.data.phrasebook.nominals import HE, noun_phrase
from regard.data.phrasebook.phrase import EMPTY, Phrase, compose, join
from regard.data.phrasebook.scenes import person
from regard.data.phrasebook.verbs import DOING, WANT, WOULD_LIKE, verb

_A_LOT = compose("a¹ lot¹ of²", "beaucoup¹ de²")

# A measure, what it measures, and how one takes it.
_MEASURES = (
    (compose("a¹ glass² of³", "un¹ verre² de³"), nouns("water milk wine beer"), "drink"),
    (compose("a¹ cup² of³", "une¹ tasse² de³"), nouns("coffee tea"), "drink"),
    (compose("a¹ bottle² of³", "une¹ bouteille² de³"), nouns("water milk wine beer"), "buy"),
    (compose("a¹ kilo² of³", "un¹ kilo² de³"), nouns("fruit meat fish rice"), "buy"),
    (compose("a¹ piece² of³", "un¹ morceau² de³"), nouns("bread cheese cake chocolate meat"), "eat"),
    (_A_LOT, nouns("bread cheese apple tomato meat fish"), "eat"),
    (_A_LOT, nouns("drink"), "drink"),
    (_A_LOT, nouns("reading"), "read"),
)
_TENSES: dict[str, tuple[Tense, ...]] = {
    "drink": ("progressive", "past", "going"),
    "eat": ("progressive", "past", "going"),
    "buy": ("past", "going"),
}


def quantity(chance: Random) -> Phrase:
    """She would like a glass of water: elle voudrait un verre d'eau."""
    subject, (measure, measured, base) = person(chance), chance.choice(_MEASURES)
    noun = chance.choice(measured)
    amount = join(measure, noun_phrase(noun, "bare", is_plural=noun.kind in ("fruit", "reading")).phrase)
    draw = chance.random()
    if measure == _A_LOT or draw < 0.2:
        return clause(subject, Predicate(DOING[base], join(amount, chance.choice((EMPTY, EVERY_DAY)))))
    if draw < 0.5:
        return clause(subject, Predicate(chance.choice((WANT, WOULD_LIKE)), amount))
    return clause(subject, Predicate(DOING[base], amount), chance.choice(_TENSES[base]))


_TASTES = (("drink", nouns("drink")), ("eat", nouns("food fruit")), ("read", nouns("newspaper novel poem letter")))


def only(chance: Random) -> Phrase:
    """He only drinks water: il ne boit que de l'eau."""
    subject, (base, taken) = person(chance), chance.choice(_TASTES)
    noun, drink = chance.choice(taken), DOING[base]
    return compose(
        "{she} only² {drinks}¹ {water}",
        "{she} ne² {boit}¹ que² {water}",
        she=subject.phrase,
        drinks=drink.third if subject.person == HE else drink.base,
        boit=drink.conjugation.present[subject.person],
        water=noun_phrase(noun, "mass", is_plural=noun.kind not in ("food", "drink")).phrase,
    )


_SEE = verb("see", "voir")
_NOBODY = tuple(
    verb(*pair) for pair in (("know", "connaître"), ("help", "aider"), ("call", "appeler"), ("meet", "rencontrer"))
)
_NOTHING = tuple(verb(*pair) for pair in (("want", "vouloir"), ("eat", "manger"), ("say", "dire"), ("buy", "acheter")))
# What one meets or knows nobody or nothing by, now and in the past.
_KNOWN = (_SEE, *_NOBODY[:3]), (_SEE, *_NOBODY[1:])
_WANTED = (_SEE, *_NOTHING), (_SEE, *_NOTHING[1:])
_PRESENT = "{she} {dont}¹ {see}² {anyone}³ {today}", "{she} ne¹ {vois}² {personne}³ {today}"
_NOBODY_PAST = "{she} didn't¹ {see}² anyone³ {today}", "{she} ne¹ {a}² {vu}² personne³ {today}"
_NOTHING_PAST = "{she} didn't¹ {see}² anything³ {today}", "{she} ne¹ {a}² rien³ {vu}² {today}"


def nothing(chance: Random) -> Phrase:
    """I don't see anyone: je ne vois personne. She didn't buy anything: elle n'a rien acheté."""
    subject, is_person, is_past = person(chance), chance.random() < 0.5, chance.random() < 0.5
    see = chance.choice((_KNOWN if is_person else _WANTED)[is_past])
    slots = {
        "dont": "doesn't" if subject.person == HE else "don't",
        "see": see.base,
        "vois": see.conjugation.present[subject.person],
        "a": conjugate("avoir").present[subject.person],
        "vu": see.conjugation.participle,
        "anyone": "anyone" if is_person else "anything",
        "personne": "personne" if is_person else "rien",
    }
    past = _NOBODY_PAST if is_person else _NOTHING_PAST
    when = chance.choice((EMPTY, TODAY, YESTERDAY)) if is_past else EMPTY
    return compose(*(past if is_past else _PRESENT), she=subject.phrase, today=when, **slots)
