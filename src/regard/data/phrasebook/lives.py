"""Constructions about how people live: names, homes, journeys, games, languages, and for how long.

Each function draws one phrase of its construction; its docstring shows one.
"""

from random import Random

from regard.data.phrasebook.adjuncts import (
    AT_HOME,
    EVERY_DAY,
    EVERY_WEEK,
    FROM_CITIES,
    FROM_COUNTRIES,
    FROM_PLACES,
    FUTURE,
    IN_CITIES,
    IN_COUNTRIES,
    OFTEN,
    ON_EVERY_DAY,
    PLACES,
    RECENT,
    TO_CITIES,
    TO_COUNTRIES,
    TO_PLACES,
    VERY,
)
from regard.data.phrasebook.clauses import Predicate, clause
from regard.data.phrasebook.french import conjugate
from regard.data.phrasebook.lexicon import KINDS, NUMBERS, nouns
from regard.data.phrasebook.nominals import HE, PEOPLE_BY_NAME, PRONOUNS, having, noun_phrase
from regard.data.phrasebook.phrase import EMPTY, Phrase, compose, join, word
from regard.data.phrasebook.scenes import child, described, kin, person, thing
from regard.data.phrasebook.statements import polarity
from regard.data.phrasebook.verbs import (
    COME,
    COME_BACK,
    COMING,
    DOING,
    GO,
    GO_HOME,
    KNOW,
    LEARN,
    LIVE,
    PLAY_GAME,
    PLAY_MUSIC,
    SPEAK,
    STAY,
    TRADING,
    WORK,
)

# --- Names and homes --------------------------------------------------------------------------------------------


def naming(chance: Random) -> Phrase:
    """Her sister's name is marie: sa sœur s'appelle marie."""
    owner = kin(chance) if chance.random() < 0.8 else PRONOUNS[chance.choice(("i", "you", "he", "she"))]
    either = owner.possessive in ("my", "your")
    name = chance.choice([name for name in PEOPLE_BY_NAME if either or name.gender == owner.gender])
    return compose(
        "{my} name¹ is¹ {paul}",
        "{my} {me}¹ {appelle}¹ {paul}",
        my=having(owner),
        me=("me", "te", "se")[owner.person],
        appelle=conjugate("appeler").present[owner.person],
        paul=name.phrase,
    )


def _home(chance: Random) -> Phrase:
    draw = chance.random()
    if draw < 0.5:
        return chance.choice((*IN_CITIES, *IN_COUNTRIES))
    home = described(chance, chance.choice(nouns("house house village city castle hotel")), "a", often=0.6)
    return compose("in¹ {house}", "dans¹ {house}", house=home.phrase)


def residence(chance: Random) -> Phrase:
    """I live in paris with my aunt: j'habite à paris avec ma tante."""
    subject, company = person(chance), EMPTY
    if chance.random() < 0.3:
        owner = subject.possessive
        fellow = noun_phrase(chance.choice(nouns("mother father brother sister aunt friend")), owner)
        company = compose("with¹ {him}", "avec¹ {him}", him=fellow.phrase)
    denied = polarity(chance) if chance.random() < 0.8 else "anymore"
    return clause(subject, Predicate(LIVE, join(_home(chance), company)), polarity=denied)


def origin(chance: Random) -> Phrase:
    """We come from spain: nous venons d'espagne."""
    source = chance.choice((*FROM_CITIES, *FROM_COUNTRIES))
    return clause(person(chance), Predicate(COME, source), polarity=polarity(chance))


# --- For how long, how long ago ---------------------------------------------------------------------------------


def _span(chance: Random, names: str) -> Phrase:
    ten, dix = chance.choice(list(NUMBERS.items())[:11])
    unit = chance.choice(nouns(names))
    template = "{ten}¹ {years}²", "{dix}¹ {ans}²"
    return compose(*template, ten=ten, dix=dix, years=unit.english_plural, ans=unit.french_plural)


_WORKPLACES = tuple(PLACES[name] for name in ("hospital", "store", "restaurant", "museum", "library"))


def duration(chance: Random) -> Phrase:
    """She has lived in paris for ten years: elle habite à paris depuis dix ans."""
    subject, draw = person(chance), chance.random()
    if draw < 0.5:
        lived, doing, here = "lived", LIVE, _home(chance)
    elif draw < 0.75:
        lived, doing, here = "worked", WORK, chance.choice(_WORKPLACES)
    else:
        others = [known for known in PEOPLE_BY_NAME if known != subject]
        lived, doing, here = "known", KNOW, chance.choice(others).phrase
    return compose(
        "{she} {have} {lived}¹ {here} for² {years}",
        "{she} {habite}¹ {here} depuis² {years}",
        she=subject.phrase,
        have="has" if subject.person == HE else "have",
        lived=lived,
        habite=doing.conjugation.present[subject.person],
        here=here,
        years=_span(chance, "week month year"),
    )


def ago(chance: Random) -> Phrase:
    """She arrived two days ago: elle est arrivée il y a deux jours."""
    subject = person(chance)
    when = compose("{two} ago¹", "il¹ y¹ a¹ {two}", two=_span(chance, "minute hour day week month year"))
    if chance.random() < 0.6:
        return clause(subject, Predicate(chance.choice(COMING), when), "past")
    noun = chance.choice(nouns("vehicle animal gadget luggage"))
    doing = chance.choice(TRADING)
    determiners = ("a", "this") if doing == DOING["buy"] else ("own", "own", "the")
    return clause(subject, Predicate(doing, join(thing(chance, noun, determiners, subject).phrase, when)), "past")


# --- Journeys ---------------------------------------------------------------------------------------------------

_BY = tuple(compose("by¹ {train}²", "en¹ {train}²", train=name) for name in ("train", "bus", "taxi"))
_HABITUAL = tuple(
    TO_PLACES[name] for name in ["market", "restaurant", "office", "library", "beach", "school", "church", "store"]
)


def destination(chance: Random) -> Phrase:
    """We are going to the market tomorrow: nous allons au marché demain."""
    subject, draw = person(chance), chance.random()
    aim = chance.choice((*TO_CITIES, *TO_COUNTRIES) if chance.random() < 0.3 else tuple(TO_PLACES.values()))
    if draw < 0.4:
        rest = join(aim, chance.choice((EMPTY, EMPTY, *_BY, *FUTURE)))
        return clause(subject, Predicate(GO, rest), "progressive", polarity(chance))
    if draw < 0.7:
        rest = join(aim, chance.choice((EMPTY, *RECENT)))
        return clause(subject, Predicate(GO, rest), "past", polarity(chance))
    if draw < 0.85:
        when = chance.choice((EVERY_DAY, EVERY_WEEK, *ON_EVERY_DAY))
        return clause(subject, Predicate(GO, join(chance.choice(_HABITUAL), when)))
    return clause(subject, Predicate(GO, chance.choice(_HABITUAL)), often=chance.choice(OFTEN))


def coming(chance: Random) -> Phrase:
    """Marie came back from school: marie est revenue de l'école."""
    subject, draw = person(chance), chance.random()
    if draw < 0.6:
        returning = Predicate(COME_BACK, chance.choice(tuple(FROM_PLACES.values())))
        return clause(subject, returning, chance.choice(("progressive", "past")), polarity(chance))
    when = chance.choice((EMPTY, *RECENT))
    if draw < 0.75:
        return clause(subject, Predicate(STAY, join(AT_HOME, when)), "past", polarity(chance))
    return clause(subject, Predicate(chance.choice((*COMING, GO_HOME)), when), "past", polarity(chance))


# --- Games, music, languages ------------------------------------------------------------------------------------

_GAMES = (
    compose("{football}¹", "le¹ {football}¹", football="football"),
    compose("{tennis}¹", "le¹ {tennis}¹", tennis="tennis"),
    compose("{cards}¹", "les¹ {cartes}¹", cards="cards", cartes="cartes"),
    compose("{chess}¹", "les¹ {échecs}¹", chess="chess", échecs="échecs"),
)


def playing(chance: Random) -> Phrase:
    """The children are playing football in the park: les enfants jouent au football dans le parc."""
    subject = child(chance) if chance.random() < 0.3 else person(chance)
    if chance.random() < 0.6:
        game, where = chance.choice(_GAMES), PLACES[chance.choice(("garden", "park", "school"))]
        doing = Predicate(PLAY_GAME, join(game, where if chance.random() < 0.35 else EMPTY))
    else:
        doing = Predicate(PLAY_MUSIC, noun_phrase(chance.choice(KINDS["instrument"])).phrase)
    draw = chance.random()
    if draw < 0.4:
        return clause(subject, doing, "progressive", polarity(chance))
    if draw < 0.7:
        return clause(subject, doing, polarity=chance.choice(("not", "never", "anymore")))
    return clause(subject, doing, often=chance.choice(OFTEN))


def languages(chance: Random) -> Phrase:
    """She speaks french very well: elle parle très bien français."""
    subject = person(chance)
    first, second = (word(noun.english, noun.french) for noun in chance.sample(KINDS["language"], 2))
    draw = chance.random()
    if draw < 0.25:
        rest = noun_phrase(chance.choice(KINDS["language"]), "general").phrase
        return clause(subject, Predicate(LEARN, rest), "progressive", polarity(chance))
    if draw < 0.5:
        degree = VERY if chance.random() < 0.5 else EMPTY
        rest = compose("{french} {very} well¹", "{very} bien¹ {french}", french=first, very=degree)
        return clause(subject, Predicate(SPEAK, rest))
    if draw < 0.75:
        rest = compose("{french} and¹ {german}", "{french} et¹ {german}", french=first, german=second)
        return clause(subject, Predicate(SPEAK, rest))
    return clause(subject, Predicate(SPEAK, first), polarity=polarity(chance, denied=0.6))
