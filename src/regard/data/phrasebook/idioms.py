"""Constructions in which the two languages say it with different words, or in another order.

My feet hurt: j'ai mal aux pieds. I am hungry: j'ai faim. I miss you: tu me manques. I just arrived: je viens
d'arriver. Each function draws one phrase of its construction; its docstring shows one.
"""

from random import Random

from regard.data.phrasebook.adjuncts import (
    ALREADY,
    AT_HOURS,
    CITIES,
    DAILY,
    EARLY,
    EVERY_DAY,
    HOURS,
    IN_CITIES,
    IN_COUNTRIES,
    LATE,
    OFTEN,
    ON_EVERY_DAY,
    SEASONS,
    STILL,
    SUMMER,
    TODAY,
    TOMORROW,
    TONIGHT,
    VERY,
    WINTER,
    YESTERDAY,
)
from regard.data.phrasebook.clauses import Predicate, Tense, clause
from regard.data.phrasebook.french import conjugate
from regard.data.phrasebook.lexicon import KINDS, Noun, nouns
from regard.data.phrasebook.nominals import HE, IT, PRONOUNS, Nominal, belonging, having, noun_phrase
from regard.data.phrasebook.phrase import EMPTY, Phrase, compose, join, word
from regard.data.phrasebook.scenes import STRANGE, act, another, described, kin, known, person, pronoun, somebody
from regard.data.phrasebook.statements import polarity
from regard.data.phrasebook.verbs import BE, BE_HAVING, BE_MAKING, COMING, GET_UP, GO_TO_BED, NEED, verb

# --- The body ---------------------------------------------------------------------------------------------------

_PAINS = {
    "yes": ("{my} {feet}² {hurt}³ {today}", "{my} {ai}³ mal³ à² {les}² {pieds}² {today}"),
    "a lot": ("{my} {feet}² {hurt}³ a⁴ lot⁴ {today}", "{my} {ai}³ très⁴ mal³ à² {les}² {pieds}² {today}"),
    "not": ("{my} {feet}² {dont}⁴ hurt³ {today}", "{my} ne⁴ {ai}³ pas⁴ mal³ à² {les}² {pieds}² {today}"),
    "anymore": ("{my} {feet}² {dont}⁴ hurt³ anymore⁵", "{my} ne⁴ {ai}³ plus⁵ mal³ à² {les}² {pieds}²"),
    "asking": ("{do}⁴ {my} {feet}² hurt³ ?⁵", "est-ce⁴ que⁴ {my} {ai}³ mal³ à² {les}² {pieds}² ?⁵"),
}


def hurting(owner: Nominal, noun: Noun, *, is_plural: bool, how: str = "yes", today: Phrase = EMPTY) -> Phrase:
    """Say that a part of somebody hurts, a lot, or not."""
    return compose(
        *_PAINS[how],
        my=having(owner),
        feet=noun.english_plural if is_plural else noun.english,
        hurt="hurt" if is_plural else "hurts",
        do="do" if is_plural else "does",
        dont="don't" if is_plural else "doesn't",
        ai=BE_HAVING.conjugation.present[owner.person],
        les="les" if is_plural else {"m": "le", "f": "la"}[noun.gender],
        pieds=noun.french_plural if is_plural else noun.french,
        today=today,
    )


def _painful(chance: Random, owner: Nominal) -> tuple[Noun, bool]:
    """Draw what hurts, and whether there are several of it."""
    noun = chance.choice(KINDS["limb"] if owner.is_plural or chance.random() < 0.65 else KINDS["body"])
    many = owner.is_plural or noun.english == "tooth" or chance.random() < 0.65
    return noun, noun.kind == "limb" and many


def pain(chance: Random) -> Phrase:
    """My head hurts: j'ai mal à la tête."""
    owner = pronoun(chance) if chance.random() < 0.65 else known(chance)
    noun, is_plural = _painful(chance, owner)
    how, today = chance.choice((("yes", EMPTY), ("yes", EMPTY), ("yes", TODAY), ("a lot", EMPTY), ("a lot", TODAY)))
    return hurting(owner, noun, is_plural=is_plural, how=how, today=today)


def pain_denied(chance: Random) -> Phrase:
    """Her legs don't hurt anymore: elle n'a plus mal aux jambes."""
    owner = pronoun(chance) if chance.random() < 0.65 else known(chance)
    noun, is_plural = _painful(chance, owner)
    return hurting(owner, noun, is_plural=is_plural, how=chance.choice(("not", "anymore")))


def pain_asked(chance: Random) -> Phrase:
    """Does your head hurt ? est-ce que tu as mal à la tête ?"""
    owner = PRONOUNS[chance.choice(("you", "you", "he", "she", "they"))] if chance.random() < 0.6 else known(chance)
    noun, is_plural = _painful(chance, owner)
    return hurting(owner, noun, is_plural=is_plural, how="asking")


_CARES = ((verb("wash", "se laver"), "hand foot"), (verb("brush", "se brosser"), "tooth"))


def hygiene(chance: Random) -> Phrase:
    """She is washing her hands: elle se lave les mains."""
    subject, (care, names) = person(chance), chance.choice(_CARES)
    noun = chance.choice(nouns(names))
    template = "{my}¹ {hands}² {when}", "les¹ {mains}² {when}"
    words = {"my": subject.possessive, "hands": noun.english_plural, "mains": noun.french_plural}
    if chance.random() < 0.4:
        rest = compose(*template, **words, when=chance.choice(DAILY))
        return clause(subject, Predicate(care, rest))
    rest = compose(*template, **words, when=EMPTY)
    if chance.random() < 0.3:
        return clause(subject, Predicate(care, rest), "going")
    return clause(subject, Predicate(care, rest), "progressive", polarity(chance))


def routine(chance: Random) -> Phrase:
    """I get up at seven o'clock every day: je me lève à sept heures tous les jours."""
    subject, (habit, hours) = person(chance), chance.choice(((GET_UP, AT_HOURS[3:8]), (GO_TO_BED, AT_HOURS[6:10])))
    hour = chance.choice((EARLY, LATE, *hours))
    draw = chance.random()
    if draw < 0.25:
        return clause(subject, Predicate(habit, join(hour, chance.choice((YESTERDAY, EMPTY)))), "past")
    if draw < 0.4:
        return clause(subject, Predicate(habit, hour), polarity=chance.choice(("not", "never")))
    if draw < 0.7:
        return clause(subject, Predicate(habit, hour), often=chance.choice(OFTEN))
    when = chance.choice((EMPTY, EVERY_DAY, *ON_EVERY_DAY, *SEASONS))
    return clause(subject, Predicate(habit, join(hour, when)))


# --- To have or to make instead of to be ------------------------------------------------------------------------

_STATES = "hungry faim, thirsty soif, cold froid, hot chaud, sleepy sommeil, right raison, wrong tort"
STATES = {name: french for name, _, french in (entry.partition(" ") for entry in _STATES.split(", "))}


def state(name: str, degree: Phrase = EMPTY) -> Predicate:
    """Say how somebody feels by avoir: be hungry, avoir faim."""
    rest = compose("{very} {hungry}¹", "{very} {faim}¹", very=degree, hungry=name, faim=STATES[name])
    return Predicate(BE_HAVING, rest)


def condition(chance: Random) -> Phrase:
    """I am very hungry: j'ai très faim."""
    subject, name = person(chance), chance.choice(list(STATES))
    felt = name not in ("right", "wrong")
    degree = VERY if felt and chance.random() < 0.3 else EMPTY
    draw = chance.random()
    if draw < 0.2:
        return clause(subject, state(name, degree), "past", polarity(chance))
    if draw < 0.4:
        return clause(subject, state(name), polarity=chance.choice(("not", "never", "anymore" if felt else "not")))
    adverb = chance.choice((EMPTY, EMPTY, STILL if felt else EMPTY, *OFTEN)) if not degree.english else EMPTY
    return clause(subject, state(name, degree), often=adverb)


def fear(chance: Random) -> Phrase:
    """She is afraid of dogs: elle a peur des chiens."""
    subject = person(chance)
    draw = chance.random()
    if draw < 0.5:
        feared = noun_phrase(chance.choice(KINDS["animal"]), "general", is_plural=True)
    elif draw < 0.75:
        noun = chance.choice(nouns("dog cat horse cow forest river teacher doctor farmer"))
        feared = noun_phrase(noun, chance.choice(("the", "this")))
    else:
        feared = belonging(chance.choice(nouns("dog cat horse")), another(chance, kin, subject))
    rest = compose("afraid¹ of² {dogs}", "peur¹ de² {dogs}", dogs=feared.phrase)
    return clause(subject, Predicate(BE_HAVING, rest), polarity=polarity(chance))


def need(chance: Random) -> Phrase:
    """I need a new coat: j'ai besoin d'un nouveau manteau."""
    subject, denied = person(chance), polarity(chance)
    noun = chance.choice(nouns("food drink fruit clothes pair luggage gadget vehicle furniture key"))
    if noun.kind in ("food", "drink", "fruit"):
        needed = noun_phrase(noun, "bare", is_plural=noun.kind == "fruit")
    elif noun.kind == "pair":
        needed = noun_phrase(noun, chance.choice(("bare", subject.possessive)), is_plural=True)
    elif denied == "not":
        needed = noun_phrase(noun, chance.choice(("this", subject.possessive)))
    else:
        needed = described(chance, noun, chance.choice(("a", "a", "this", subject.possessive)))
    return clause(subject, Predicate(NEED, needed.phrase), polarity=denied)


RAIN, SNOW = verb("rain", "pleuvoir"), verb("snow", "neiger")


def weather(chance: Random) -> Phrase:
    """It is cold in paris today: il fait froid à paris aujourd'hui."""
    where, draw = chance.choice((EMPTY, *IN_CITIES, *IN_COUNTRIES)), chance.random()
    if draw < 0.5:
        cold, froid, season = chance.choice((("cold", "froid", WINTER), ("hot", "chaud", SUMMER)))
        was = chance.random() < 0.25
        when = YESTERDAY if was else chance.choice((EMPTY, TODAY, season))
        slots = {"very": VERY if chance.random() < 0.4 else EMPTY, "where": where, "when": when}
        template = "{very} {cold}¹ {where} {when}", "{very} {froid}¹ {where} {when}"
        rest = compose(*template, cold=cold, froid=froid, **slots)
        return clause(IT, Predicate(BE_MAKING, rest), "past" if was else "simple", polarity(chance))
    rain = chance.choice((RAIN, SNOW))
    if draw < 0.6:
        season = WINTER if rain == SNOW else chance.choice(SEASONS)
        return clause(IT, Predicate(rain, join(where, season)), often=chance.choice(OFTEN))
    tense: Tense
    tense, when = chance.choice((("progressive", EMPTY), ("past", YESTERDAY), ("going", TOMORROW), ("going", TONIGHT)))
    return clause(IT, Predicate(rain, join(where, when)), tense, polarity(chance))


def clock(chance: Random) -> Phrase:
    """It is already three o'clock in london: il est déjà trois heures à londres."""
    hour = chance.choice((*HOURS, word("noon", "midi"), word("midnight", "minuit")))
    rest = join(hour, chance.choice((EMPTY, *IN_CITIES)))
    return clause(IT, Predicate(BE, rest), polarity=polarity(chance), often=chance.choice((EMPTY, ALREADY)))


# --- The other way round ----------------------------------------------------------------------------------------

_MISSING = {
    "yes": ("{i} {miss}¹ {you}", "{you} {i} {manques}¹"),
    "not": ("{i} {dont}² miss¹ {you}", "{you} ne² {i} {manques}¹ pas²"),
}
_MISSING_TO = {
    "yes": ("{paul} {miss}¹ {you}", "{you} {manques}¹ à¹ {paul}"),
    "not": ("{paul} {dont}² miss¹ {you}", "{you} ne² {manques}¹ pas² à¹ {paul}"),
}
_TO_WHOM = ("me", "te", "lui", "nous", "leur")
_WHOM = {"i": "me", "you": "you", "he": "him", "she": "her", "we": "us", "they": "them"}


def _missed(chance: Random, who: Nominal) -> Nominal:
    """Draw who is missed: a pronoun, which French makes the subject, a person or a city."""
    draw = chance.random()
    if draw < 0.4:
        name = chance.choice(STRANGE[who.person])
        return PRONOUNS[name]._replace(phrase=word(_WHOM[name], " ".join(PRONOUNS[name].phrase.french)))
    if draw < 0.75:
        return noun_phrase(chance.choice(nouns("father mother brother sister friend")), who.possessive)
    city = chance.choice(CITIES)
    return PRONOUNS["he"]._replace(phrase=city)


def missing(chance: Random) -> Phrase:
    """I miss you: tu me manques. My aunt misses paris: paris manque à ma tante."""
    who = pronoun(chance) if chance.random() < 0.55 else somebody(chance)
    missed = _missed(chance, who)
    slots: dict[str, Phrase | str] = {
        "you": missed.phrase,
        "miss": "misses" if who.person == HE else "miss",
        "dont": "doesn't" if who.person == HE else "don't",
        "manques": conjugate("manquer").present[missed.person],
    }
    denied = polarity(chance)
    if who in PRONOUNS.values():
        return compose(*_MISSING[denied], i=word(who.phrase.english[0], _TO_WHOM[who.person]), **slots)
    return compose(*_MISSING_TO[denied], paul=who.phrase, **slots)


def recent(chance: Random) -> Phrase:
    """He just bought a car: il vient d'acheter une voiture."""
    subject = person(chance)
    if chance.random() < 0.4:
        return clause(subject, Predicate(chance.choice(COMING)), "just")
    return clause(subject, act(chance, subject, "step", placed=0.1), "just")
