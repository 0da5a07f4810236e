"""Constructions that ask and that tell somebody what to do.

Each function draws one phrase of its construction; its docstring shows one.
"""

from random import Random

from regard.data.phrasebook.adjuncts import AT_HOME, FUTURE, PLACES, RECENT, TODAY, YESTERDAY
from regard.data.phrasebook.clauses import Predicate, Tense, clause, command, infinitive, question
from regard.data.phrasebook.french import conjugate
from regard.data.phrasebook.idioms import STATES, state
from regard.data.phrasebook.lexicon import NUMBERS, PREDICATED, Noun, nouns
from regard.data.phrasebook.nominals import HE, OBJECTS, PRONOUNS, Nominal, noun_phrase
from regard.data.phrasebook.phrase import EMPTY, Phrase, compose, join, word
from regard.data.phrasebook.scenes import MOODS, act, described, known, other, place, quality, thing
from regard.data.phrasebook.verbs import (
    ACTIVITIES,
    BE,
    CAN,
    COMING,
    COST,
    DOING,
    GIVING,
    HAVE,
    HELPING,
    LIKE,
    LIVE,
    WANT,
    WORK,
)

_ASKED = tuple(PRONOUNS[name] for name in ("you", "you", "you", "he", "she", "they"))


def _asked(chance: Random) -> Nominal:
    """Draw whom a question is about: mostly you."""
    return chance.choice(_ASKED) if chance.random() < 0.7 else other(chance)


# --- Yes or no --------------------------------------------------------------------------------------------------


def _had(chance: Random) -> Nominal:
    noun = chance.choice(nouns("animal vehicle gadget instrument garden food drink"))
    if noun.kind in ("food", "drink"):
        return noun_phrase(noun, "any?")
    return described(chance, noun, "a", often=0.2)


def asking(chance: Random) -> Phrase:
    """Do you like coffee ? est-ce que tu aimes le café ?"""
    subject, noun, draw = _asked(chance), chance.choice(nouns("food drink fruit")), chance.random()
    is_plural = noun.kind == "fruit"
    if draw < 0.3:
        return question(subject, Predicate(LIKE, noun_phrase(noun, "general", is_plural=is_plural).phrase))
    if draw < 0.5:
        return question(subject, Predicate(WANT, noun_phrase(noun, "some", is_plural=is_plural).phrase))
    if draw < 0.7:
        return question(subject, Predicate(HAVE, _had(chance).phrase))
    return question(subject, act(chance, subject, "now"), "progressive")


def asking_being(chance: Random) -> Phrase:
    """Are you hungry ? est-ce que tu as faim ?"""
    draw = chance.random()
    if draw < 0.35:
        return question(_asked(chance), state(chance.choice(list(STATES))))
    if draw < 0.65:
        subject = _asked(chance)
        mood = chance.choice(MOODS)
        return question(subject, Predicate(BE, quality(chance, subject, mood, degrees=0.1)))
    if draw < 0.85:
        noun = chance.choice(nouns("meal vehicle luggage opening reading gadget show"))
        subject = noun_phrase(noun, chance.choice(("the", "this", "your")))
        return question(subject, Predicate(BE, quality(chance, subject, chance.choice(PREDICATED[noun]), degrees=0.1)))
    return question(known(chance), Predicate(BE, chance.choice((AT_HOME, *PLACES.values()))))


def asking_past(chance: Random) -> Phrase:
    """Did you find your keys ? est-ce que tu as trouvé tes clés ?"""
    subject = _asked(chance)
    if chance.random() < 0.3:
        return question(subject, Predicate(chance.choice(COMING), chance.choice((EMPTY, *RECENT))), "past")
    return question(subject, act(chance, subject, "did", placed=0.1, dated=0.4), "past")


_THERE = "is¹ there² {hotel} {near} ?³", "est-ce¹ que¹ il² y² a¹ {hotel} {near} ?³"


def asking_there(chance: Random) -> Phrase:
    """Is there a hotel near the station ? est-ce qu'il y a un hôtel près de la gare ?"""
    if chance.random() < 0.4:
        milk = noun_phrase(chance.choice(nouns("food drink")), "any?")
        return compose(*_THERE, hotel=milk.phrase, near=PLACES[chance.choice(("kitchen", "store", "restaurant"))])
    hotel, near = chance.sample(nouns("hotel restaurant hospital library park museum market station church school"), 2)
    where = compose("near¹ {station}", "près¹ de¹ {station}", station=noun_phrase(near).phrase)
    return compose(*_THERE, hotel=described(chance, hotel, "a", often=0.3).phrase, near=where)


# --- Where, what, who, why, when, how much ----------------------------------------------------------------------

_LOST = nouns("small gadget luggage clothes pair animal")
_SOUGHT = nouns("station hotel market restaurant hospital library museum beach church school park office")


def whereabouts(chance: Random) -> Phrase:
    """Where are my keys ? où sont mes clés ?"""
    draw = chance.random()
    if draw < 0.3:
        subject = described(chance, chance.choice(_SOUGHT), "the", often=0.2)
    elif draw < 0.5:
        subject = known(chance)
    else:
        noun = chance.choice(_LOST)
        is_plural = noun.kind in ("small", "pair") or chance.random() < 0.2
        subject = described(
            chance, noun, chance.choice(("the", "my", "my", "your", "his", "her")), is_plural=is_plural, often=0.2
        )
    are, sont = ("are", "sont") if subject.is_plural else ("is", "est")
    return compose("where¹ {are}² {keys} ?³", "où¹ {sont}² {keys} ?³", are=are, sont=sont, keys=subject.phrase)


_WHERE = word("where", "où")
_WHAT = word("what", "que")
_WHY = word("why", "pourquoi")
_WHEN = word("when", "quand")


def asking_where(chance: Random) -> Phrase:
    """Where do you work ? où est-ce que tu travailles ?"""
    subject, draw = _asked(chance), chance.random()
    if draw < 0.3:
        return question(subject, Predicate(chance.choice((LIVE, WORK))), where=_WHERE)
    base, noun = chance.choice(("buy", "find", "lose", "forget")), chance.choice(nouns("coat hat scarf luggage gadget"))
    what = described(chance, noun, "this" if base == "buy" else subject.possessive, often=0.4)
    return question(subject, Predicate(DOING[base], what.phrase), "past", where=_WHERE)


_WHATS = {
    "progressive": ("eat", "drink", "read", "write", "buy", "look for", "make", "wash"),
    "past": ("eat", "drink", "buy", "sell", "find", "lose", "forget", "break"),
}


def asking_what(chance: Random) -> Phrase:
    """What are you eating ? qu'est-ce que tu manges ?"""
    subject, draw = _asked(chance), chance.random()
    if draw < 0.15:
        return question(subject, Predicate(WANT), where=_WHAT)
    tense: Tense = "progressive" if draw < 0.6 else "past"
    doing = ACTIVITIES[chance.choice(_WHATS[tense])]
    last = EMPTY
    if tense == "past" and chance.random() < 0.4:
        last = chance.choice(RECENT)
    elif doing.places and chance.random() < 0.5:
        last = PLACES[chance.choice(doing.places)]
    return question(subject, Predicate(doing.verb, last), tense, where=_WHAT)


_WHO = Nominal(word("who", "qui"), HE, "m", "my")


def asking_who(chance: Random) -> Phrase:
    """Who is reading the newspaper ? qui lit le journal ?"""
    draw = chance.random()
    if draw < 0.4:
        asked = clause(_WHO, act(chance, _WHO, "now"), "progressive")
    elif draw < 0.7:
        asked = clause(_WHO, act(chance, _WHO, "did", alone=0.0, placed=0.1), "past")
    else:
        noun = chance.choice(nouns("food drink"))
        asked = clause(_WHO, Predicate(chance.choice((WANT, HAVE)), noun_phrase(noun, "some").phrase))
    return compose("{asked} ?¹", "{asked} ?¹", asked=asked)


_STRANGE = ("cry", "run", "sing", "sleep", "work", "dance")
_SURPRISING = ("buy", "sell", "open", "close", "break", "forget")


def asking_why(chance: Random) -> Phrase:
    """Why are you crying ? pourquoi est-ce que tu pleures ?"""
    subject, draw = _asked(chance), chance.random()
    if draw < 0.4:
        doing = ACTIVITIES[chance.choice(_STRANGE)]
        where = place(chance, doing, 0.4)
        return question(subject, Predicate(doing.verb, where), "progressive", where=_WHY)
    if draw < 0.7:
        mood = chance.choice(
            [mood for mood in MOODS if mood.english in ("sad", "happy", "tired", "nervous", "jealous")]
        )
        return question(subject, Predicate(BE, quality(chance, subject, mood, degrees=0.0)), where=_WHY)
    doing = ACTIVITIES[chance.choice(_SURPRISING)]
    what = thing(chance, chance.choice(doing.objects), doing.determiners, subject)
    return question(subject, Predicate(doing.verb, what.phrase), "past", where=_WHY)


def asking_when(chance: Random) -> Phrase:
    """When are they going to sell their house ? quand est-ce qu'ils vont vendre leur maison ?"""
    subject, draw = _asked(chance), chance.random()
    if draw < 0.4:
        return question(subject, Predicate(chance.choice(COMING)), "past" if draw < 0.2 else "going", where=_WHEN)
    return question(subject, act(chance, subject, "day", placed=0.0), "going", where=_WHEN)


def asking_how_many(chance: Random) -> Phrase:
    """How many apples did you buy ? combien de pommes est-ce que tu as achetées ?"""
    subject, noun = _asked(chance), chance.choice(nouns("fruit egg cake animal brother sister flower key"))
    counted_ = noun_phrase(noun, "bare", is_plural=True)
    how_many = compose("how¹ many¹ {apples}", "combien¹ de¹ {apples}", apples=counted_.phrase)
    if noun.kind in ("animal", "kin", "small"):
        return question(subject, Predicate(HAVE), where=how_many)
    if chance.random() < 0.5:
        return question(subject, Predicate(WANT), where=how_many)
    bought = Predicate(DOING["buy"], chance.choice((EMPTY, YESTERDAY)), agreement=(noun.gender, True))
    return question(subject, bought, "past", where=how_many)


def asking_age(chance: Random) -> Phrase:
    """How old is your brother ? quel âge a ton frère ?"""
    subject = other(chance)
    are, ont = ("are", "ont") if subject.is_plural else ("is", "a")
    return compose("how¹ old¹ {are}² {he} ?³", "quel¹ âge¹ {ont}² {he} ?³", are=are, ont=ont, he=subject.phrase)


_PRICED = nouns("clothes pair vehicle luggage furniture gadget plant book cake")
_CHEAP = nouns("flower cake snack fruit cup plate newspaper")
_DEARER = nouns("clothes pair bag lamp chair umbrella book")


def asking_price(chance: Random) -> Phrase:
    """How much does this hat cost ? combien coûte ce chapeau ?"""
    hat = _priced(chance, chance.choice(_PRICED))
    slots = {"does": "do" if hat.is_plural else "does", "coûte": conjugate("coûter").present[hat.person]}
    return compose("how¹ much¹ {does} {hat} cost² ?³", "combien¹ {coûte}² {hat} ?³", hat=hat.phrase, **slots)


def price(chance: Random) -> Phrase:
    """These shoes cost forty euros: ces chaussures coûtent quarante euros."""
    is_cheap, numbers = chance.random() < 0.5, list(NUMBERS.items())
    hat = _priced(chance, chance.choice(_CHEAP if is_cheap else _DEARER))
    ten, dix = chance.choice(numbers[:9] if is_cheap else numbers[8:])
    rest = compose("{ten}¹ euros²", "{dix}¹ euros²", ten=ten, dix=dix)
    return clause(hat, Predicate(COST, rest), polarity="not" if chance.random() < 0.2 else "yes")


def _priced(chance: Random, noun: Noun) -> Nominal:
    is_plural = noun.kind == "pair" or chance.random() < 0.3
    return described(chance, noun, chance.choice(("this", "this", "the")), is_plural=is_plural, often=0.25)


# --- Requests and commands --------------------------------------------------------------------------------------

PLEASE = word("please", "s'il te plaît")
_ORDERED = tuple(
    ACTIVITIES[name] for name in ("open", "close", "wash", "eat", "drink", "make", "clean", "read", "take")
)


def _with_please(chance: Random, phrase: Phrase) -> Phrase:
    return join(phrase, PLEASE) if chance.random() < 0.35 else phrase


def order(chance: Random) -> Phrase:
    """Close the window please: ferme la fenêtre s'il te plaît. Don't eat this cake: ne mange pas ce gâteau."""
    doing, negated = chance.choice(_ORDERED), chance.random() < 0.4
    noun = chance.choice(doing.objects)
    determiners = ("the", "this") if noun.kind in ("food", "meal", "drink") else ("the", "the", "my", "your", "this")
    what = described(chance, noun, chance.choice(determiners), is_plural=noun.kind == "pair", often=0.2)
    return _with_please(chance, command(Predicate(doing.verb, what.phrase), negated=negated))


_WHOM = (("me", "moi"), ("me", "moi"), ("us", "nous"), ("him", "lui"), ("them", "leur"))


def request(chance: Random) -> Phrase:
    """Give me the key please: donne-moi la clé s'il te plaît. Can you help me ? est-ce que tu peux m'aider ?"""
    if chance.random() < 0.4:
        you = PRONOUNS["you"]
        who = chance.choice(("i", "we", "he", "she", "they"))
        doing = Predicate(chance.choice(HELPING), chance.choice((EMPTY, TODAY, *FUTURE)), OBJECTS[who])
        return question(you, Predicate(CAN, infinitive(you, doing, to="")))
    (give, gifts), (me, moi) = chance.choice(GIVING), chance.choice(_WHOM)
    noun, determiner = chance.choice(gifts), chance.choice(("the", "a", "this", "my", "your"))
    phrase = compose(
        "{give}¹ {me}² {key}",
        "{donne_moi}¹² {key}",
        give=give.base,
        me=me,
        donne_moi=f"{give.conjugation.imperative}-{moi}",
        key=described(chance, noun, determiner, often=0.2).phrase,
    )
    return _with_please(chance, phrase)
