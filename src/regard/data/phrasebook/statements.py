"""Constructions that say what is: what things are like, where they are, whose they are, how they compare.

Each function draws one phrase of its construction; its docstring shows one.
"""

from random import Random

from regard.data.phrasebook import english, french
from regard.data.phrasebook.adjuncts import AT_HOME, PLACES, TODAY
from regard.data.phrasebook.clauses import Polarity, Predicate, clause
from regard.data.phrasebook.lexicon import ADJECTIVES, NOUNS, NUMBERS, PREDICATED, Adjective, Noun, nouns
from regard.data.phrasebook.nominals import HE, PEOPLE_BY_NAME, PRONOUNS, Nominal, belonging, noun_phrase
from regard.data.phrasebook.phrase import EMPTY, Phrase, compose, join, word
from regard.data.phrasebook.scenes import (
    MOODS,
    OWNERS,
    STRANGE,
    another,
    child,
    described,
    kin,
    named,
    other,
    person,
    pronoun,
    quality,
    several,
    stranger,
)
from regard.data.phrasebook.verbs import BE, BE_HAVING, HAVE

_PERSONS = ("person", "worker", "kin")
_DESCRIBED = tuple(noun for noun, fitting in PREDICATED.items() if fitting and noun.kind not in _PERSONS)
_UNOWNED = ("building", "town", "place")
_UNCOUNTED = ("food", "meal", "drink", "town", "place", "building", "room", "instrument")
_PASSING = {"tired", "happy", "sad", "sick", "nervous"}


def polarity(chance: Random, *, denied: float = 0.2) -> Polarity:
    """Draw whether a statement is denied."""
    return "not" if chance.random() < denied else "yes"


# --- What somebody or something is like -------------------------------------------------------------------------


def description(chance: Random) -> Phrase:
    """This car is very expensive: cette voiture est très chère."""
    noun = chance.choice(_DESCRIBED)
    determiners = ("the", "this") if noun.kind in _UNOWNED else ("the", "the", "this", *OWNERS[1:])
    is_plural = noun.kind == "pair" or (noun.kind not in _UNCOUNTED and chance.random() < 0.35)
    subject = noun_phrase(noun, chance.choice(determiners), is_plural=is_plural)
    rest = quality(chance, subject, chance.choice(PREDICATED[noun]))
    return clause(subject, Predicate(BE, rest), polarity=polarity(chance))


def feeling(chance: Random) -> Phrase:
    """My sister is tired today: ma sœur est fatiguée aujourd'hui."""
    subject, adjective = person(chance), chance.choice(MOODS)
    when = TODAY if adjective.english in _PASSING and chance.random() < 0.3 else EMPTY
    rest = join(quality(chance, subject, adjective), when)
    return clause(subject, Predicate(BE, rest), polarity=polarity(chance))


def profession(chance: Random) -> Phrase:
    """His daughter is a baker: sa fille est boulangère."""
    named = (PRONOUNS["i"], PRONOUNS["he"], PRONOUNS["she"], *PEOPLE_BY_NAME)
    subject = kin(chance) if chance.random() < 0.5 else chance.choice(named)
    noun = chance.choice(nouns("teacher doctor baker farmer singer student"))
    form = french.agree(noun.french, subject.gender, False)
    rest = compose("a {baker}¹", "{boulangère}¹", baker=noun.english, boulangère=form)
    return clause(subject, Predicate(BE, rest), polarity=polarity(chance))


def age(chance: Random) -> Phrase:
    """My son is ten years old: mon fils a dix ans."""
    numbers = list(NUMBERS.items())
    young, grown = numbers[:11], numbers[11:]
    draw = chance.random()
    if draw < 0.35:
        subject, ages = child(chance), young
    elif draw < 0.55:
        subject = noun_phrase(chance.choice(nouns("dog cat horse son daughter")), chance.choice(OWNERS))
        ages = young
    else:
        subject, ages = (pronoun if chance.random() < 0.5 else kin)(chance), grown
    twenty, vingt = chance.choice(ages)
    rest = compose("{twenty}¹ years² old²", "{vingt}¹ ans²", twenty=twenty, vingt=vingt)
    return clause(subject, Predicate(BE_HAVING, rest), polarity=polarity(chance))


def features(chance: Random) -> Phrase:
    """She has blue eyes: elle a les yeux bleus."""
    looks = (
        ("eyes", "yeux", "blue bleus, green verts, gray gris"),
        ("hair", "cheveux", "long longs, black noirs, gray gris"),
    )
    eyes, yeux, colors = chance.choice(looks)
    blue, bleus = chance.choice(colors.split(", ")).split()
    rest = compose("{blue}¹ {eyes}²", "les² {yeux}² {bleus}¹", blue=blue, eyes=eyes, yeux=yeux, bleus=bleus)
    subject = stranger(chance) if chance.random() < 0.2 else person(chance)
    return clause(subject, Predicate(HAVE, rest), polarity=polarity(chance))


# --- What there is, what somebody has ---------------------------------------------------------------------------

_HAD = nouns("animal vehicle gadget luggage instrument clothes garden")
_NOT_HAD = nouns("animal vehicle gadget instrument garden brother sister small food drink fruit")


def possession(chance: Random) -> Phrase:
    """Our neighbor has a small black dog: notre voisin a un petit chien noir."""
    subject, draw = person(chance), chance.random()
    if draw < 0.15:
        object_ = several(chance, chance.choice(nouns("brother sister son daughter")), most=4)
    elif draw < 0.3:
        object_ = several(chance, chance.choice(nouns("animal key")))
    else:
        object_ = described(chance, chance.choice(_HAD), "a", often=0.6)
    return clause(subject, Predicate(HAVE, object_.phrase))


def lack(chance: Random) -> Phrase:
    """I don't have any bread: je n'ai pas de pain."""
    subject, noun = person(chance), chance.choice(_NOT_HAD)
    if noun.kind in ("food", "drink", "fruit", "small", "kin"):
        object_ = noun_phrase(noun, "any", is_plural=noun.kind not in ("food", "drink"))
    else:
        object_ = noun_phrase(noun, "not a")
    return clause(subject, Predicate(HAVE, object_.phrase), polarity=chance.choice(("not", "not", "anymore")))


# Preposition, what can be there, where.
_RELATIONS = (
    (word("on", "sur"), nouns("small gadget dishes reading clothes"), nouns("table chair bed")),
    (word("under", "sous"), nouns("key bag shoe dog cat"), nouns("table chair bed tree")),
    (word("in", "dans"), nouns("key ticket phone umbrella ring reading scarf"), nouns("luggage")),
    (word("behind", "derrière"), nouns("vehicle animal"), nouns("house tree church")),
    (compose("next¹ to²", "à² côté¹ de²"), nouns("luggage lamp chair umbrella"), nouns("table bed door window")),
    (compose("near¹", "près¹ de¹"), nouns("hotel restaurant hospital library"), nouns("station park market bridge")),
    (word("in", "dans"), nouns("furniture luggage animal gadget"), nouns("room")),
)


_WHEREABOUTS = (AT_HOME, *(PLACES[name] for name in PLACES if name not in ("river", "street", "forest")))


def _situation(chance: Random) -> tuple[Noun, Phrase]:
    """Draw a thing and where it is: key, under the table."""
    at, things, spots = chance.choice(_RELATIONS)
    noun, spot = chance.choice(things), chance.choice(spots)
    return noun, join(at, described(chance, spot, "the", often=0.15).phrase)


def location(chance: Random) -> Phrase:
    """My keys are on the table: mes clés sont sur la table."""
    if chance.random() < 0.3:
        subject, where = other(chance), chance.choice(_WHEREABOUTS)
        return clause(subject, Predicate(BE, where), polarity=polarity(chance))
    noun, where = _situation(chance)
    is_building = noun.kind in ("building", "place")
    determiner = "the" if is_building else chance.choice(("the", "the", "my", "your", "his", "her"))
    is_plural = noun.english in ("key", "shoe") or (not is_building and chance.random() < 0.2)
    subject = noun_phrase(noun, determiner, is_plural=is_plural)
    return clause(subject, Predicate(BE, where), polarity=polarity(chance))


def existence(chance: Random) -> Phrase:
    """There is a cat under the table: il y a un chat sous la table."""
    noun, where = _situation(chance)
    if noun.english == "shoe" or (noun.kind not in _UNCOUNTED and chance.random() < 0.35):
        there, thing_ = "there¹ are² {cat} {here}", several(chance, noun)
    else:
        there, thing_ = "there¹ is² {cat} {here}", described(chance, noun, "a")
    return compose(there, "il¹ y¹ a² {cat} {here}", cat=thing_.phrase, here=where)


def absence(chance: Random) -> Phrase:
    """There is no milk in the kitchen: il n'y a pas de lait dans la cuisine."""
    if chance.random() < 0.4:
        noun, where = chance.choice(nouns("food drink")), PLACES[chance.choice(("kitchen", "store", "restaurant"))]
    else:
        noun, where = _situation(chance)
    bare = noun_phrase(noun, "bare", is_plural=noun.english == "shoe")
    is_ = "are" if bare.is_plural else "is"
    template = "there¹ {is_}² no³ {milk} {here}", "il¹ ne³ y¹ a² pas³ de³ {milk} {here}"
    return compose(*template, is_=is_, milk=bare.phrase, here=where)


_THIS = ("this¹ is² {it}", "ce¹ est² {it}"), ("these¹ are² {it}", "ce¹ sont² {it}")
_HERE = ("here¹ is¹ {it}", "voici¹ {it}"), ("here¹ are¹ {it}", "voici¹ {it}")


def presentation(chance: Random) -> Phrase:
    """This is my brother: c'est mon frère."""
    owner = chance.choice(OWNERS)
    if chance.random() < 0.3:
        subject = kin(chance, nouns("father mother brother sister son daughter uncle aunt friend"))
    else:
        noun = chance.choice(nouns("vehicle luggage gadget reading animal pair key"))
        subject = described(chance, noun, owner, is_plural=noun.kind == "pair" or chance.random() < 0.25)
    one, many = _HERE if chance.random() < 0.3 else _THIS
    return compose(*(many if subject.is_plural else one), it=subject.phrase)


# --- Whose ------------------------------------------------------------------------------------------------------

_PARTS = (
    ("door", "house church school garage hotel kitchen bedroom castle museum"),
    ("window", "house church school hotel kitchen bedroom"),
    ("garden", "house hotel castle school"),
    ("street", "village city"),
)


def possessor(chance: Random) -> Phrase:
    """My brother's car is red: la voiture de mon frère est rouge."""
    owner = chance.choice((kin, worker, named))(chance)
    noun = chance.choice(nouns("vehicle luggage gadget animal clothes instrument"))
    subject = belonging(noun, owner)
    colors = tuple(ADJECTIVES[name] for name in ("red", "blue", "green", "black", "white"))
    fitting = PREDICATED[noun] + (colors if noun.kind in ("vehicle", "luggage", "clothes") else ())
    return clause(subject, Predicate(BE, quality(chance, subject, chance.choice(fitting))), polarity=polarity(chance))


def worker(chance: Random) -> Nominal:
    """Draw the baker, the doctor, without an adjective."""
    return noun_phrase(chance.choice(nouns("worker")))


def part(chance: Random) -> Phrase:
    """The door of the old house is open: la porte de la vieille maison est ouverte."""
    name, wholes = chance.choice(_PARTS)
    whole = described(chance, chance.choice(nouns(wholes)), "the", often=0.4)
    noun = NOUNS[name]
    piece = noun_phrase(noun, "the", is_plural=name == "street" or (name == "window" and chance.random() < 0.7))
    phrase = compose("{door} of¹ {house}", "{door} de¹ {house}", door=piece.phrase, house=whole.phrase)
    subject = piece._replace(phrase=phrase)
    fitting = [adjective for adjective in PREDICATED[noun] if adjective.english not in whole.phrase.english]
    rest = quality(chance, subject, chance.choice(fitting))
    return clause(subject, Predicate(BE, rest), polarity=polarity(chance))


# --- Comparison -------------------------------------------------------------------------------------------------

_COMPARED = {
    "vehicle": "fast expensive",
    "luggage": "heavy big",
    "reading": "interesting",
    "clothes": "expensive beautiful",
    "building": "big modern",
}
# What can be the first of its kind, in what, and where.
_RANKED = (
    (nouns("house hotel school church museum castle"), "big old modern beautiful", nouns("village city")),
    (nouns("restaurant store library hospital"), "big modern", nouns("village city")),
    (nouns("car boat bicycle"), "big expensive fast old", nouns("village city")),
    (nouns("book poem novel"), "interesting old difficult", nouns("library")),
    (nouns("coat dress hat ring lamp table"), "expensive beautiful", nouns("store")),
)
_HUMAN = tuple(ADJECTIVES[name] for name in ["tall", "young", "strong", "intelligent", "kind"])
_DISJUNCTIVE = {
    "i": word("me", "moi"),
    "you": word("you", "toi"),
    "we": word("us", "nous"),
    "they": word("them", "eux"),
}


def _compared(chance: Random, adjective: Adjective, subject: Nominal) -> Phrase:
    """Draw taller than, more expensive than, as tall as."""
    form = french.agree(adjective.french, subject.gender, subject.is_plural)
    taller = english.compare(adjective.english)[0]
    if chance.random() < 0.3:
        return compose("as¹ {tall}² as³", "aussi¹ {grand}² que³", tall=adjective.english, grand=form)
    if taller.startswith("more "):
        return compose("more¹ {tall}² than³", "plus¹ {grand}² que³", tall=adjective.english, grand=form)
    return compose("{taller}¹ than²", "plus¹ {grand}¹ que²", taller=taller, grand=form)


def comparison(chance: Random) -> Phrase:
    """Paul is taller than me: paul est plus grand que moi."""
    subject = other(chance) if chance.random() < 0.7 else chance.choice((PRONOUNS["he"], PRONOUNS["she"]))
    rivals = [_DISJUNCTIVE[name] for name in STRANGE[HE]]
    rival = chance.choice(rivals) if chance.random() < 0.5 else another(chance, kin, subject).phrase
    rest = join(_compared(chance, chance.choice(_HUMAN), subject), rival)
    return clause(subject, Predicate(BE, rest), polarity=polarity(chance))


def comparison_of_things(chance: Random) -> Phrase:
    """My car is faster than your car: ma voiture est plus rapide que ta voiture."""
    kind, names = chance.choice(list(_COMPARED.items()))
    noun, adjective = chance.choice(nouns(kind)), ADJECTIVES[chance.choice(names.split())]
    owned = kind != "building" or noun.english == "house"
    # Not his and her in one sentence: French says son to both.
    owners = ("my", "your", chance.choice(("his", "her")))
    first, second = chance.sample(owners if owned else ("this", "the"), 2)
    subject, rival = noun_phrase(noun, first), noun_phrase(noun, second).phrase
    rest = join(_compared(chance, adjective, subject), rival)
    return clause(subject, Predicate(BE, rest), polarity=polarity(chance))


def _first_of_its_kind(chance: Random) -> Phrase:
    """Draw the biggest house in the village, la plus grande maison du village."""
    ranked, names, scopes = chance.choice(_RANKED)
    noun, adjective = chance.choice(ranked), ADJECTIVES[chance.choice(names.split())]
    biggest = english.compare(adjective.english)[1]
    grande = french.agree(adjective.french, noun.gender, False)
    most = "most² {biggest}³" if biggest.startswith("most ") else "{biggest}²³"
    best = "{la}¹ plus² {grande}³ {maison}⁴" if adjective.precedes else "{la}¹ {maison}⁴ {la}¹ plus² {grande}³"
    return compose(
        f"the¹ {most} {{house}}⁴ in⁵ {{village}}",
        f"{best} de⁵ {{village}}",
        biggest=biggest.removeprefix("most "),
        house=noun.english,
        la="la" if noun.gender == "f" else "le",
        grande=french.before(grande, noun.french) if adjective.precedes else grande,
        maison=noun.french,
        village=noun_phrase(chance.choice(scopes)).phrase,
    )


_BEST = (
    ("this¹ is² {it}", "ce¹ est² {it}"),
    ("here¹ is¹ {it}", "voici¹ {it}"),
    ("where¹ is² {it} ?³", "où¹ est² {it} ?³"),
)


def superlative(chance: Random) -> Phrase:
    """This is the biggest house in the village: c'est la plus grande maison du village."""
    return compose(*chance.choice(_BEST), it=_first_of_its_kind(chance))
