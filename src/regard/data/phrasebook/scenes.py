"""Who does what: draws persons, things and activities that make sense together.

Every function takes the source of chance first, so that the same seed gives the same phrasebook everywhere.
"""

from collections.abc import Callable, Sequence
from random import Random

from regard.data.phrasebook.adjuncts import FUTURE, LONG_AGO, PLACES, RECENT, REGULAR, SOON, TOO, VERY
from regard.data.phrasebook.clauses import Predicate
from regard.data.phrasebook.french import agree
from regard.data.phrasebook.lexicon import (
    BESIDE,
    COLORED,
    COLORS,
    KINDS,
    NOUNS,
    NUMBERS,
    PREDICATED,
    Adjective,
    Noun,
    nouns,
)
from regard.data.phrasebook.nominals import (
    PEOPLE_BY_NAME,
    PRONOUNS,
    Nominal,
    both,
    counted,
    noun_phrase,
)
from regard.data.phrasebook.phrase import EMPTY, Phrase, compose, join, word
from regard.data.phrasebook.verbs import ACTIVITIES, Activity

# --- Persons ----------------------------------------------------------------------------------------------------

_SHARES = {"i": 4, "you": 2, "he": 3, "she": 3, "we": 2, "they": 2}
_PRONOUNS = tuple(PRONOUNS[name] for name, share in _SHARES.items() for _ in range(share))
# Who can be the object of an action of i, you, he, we, they without being part of the subject.
STRANGE = (
    ("you", "he", "she", "they"),
    ("i", "he", "she", "we", "they"),
    ("i", "you", "we", "they"),
    ("you", "he", "she", "they"),
    ("i", "you", "he", "she", "we"),
)
_ADULTS = nouns("man woman worker")
_CHILDREN = nouns("boy girl child")
_SEVERAL = nouns("brother sister son daughter friend neighbor")
OWNERS = ("my", "my", "your", "his", "her", "our")
_OWNERS = {"husband": ("my", "your", "her"), "wife": ("my", "your", "his")}


def pronoun(chance: Random) -> Nominal:
    """Draw i, you, he, she, we or they, the first persons more often."""
    return chance.choice(_PRONOUNS)


def kin(chance: Random, relatives: Sequence[Noun] = KINDS["kin"]) -> Nominal:
    """Draw one of the family: my sister, her uncle, our old friend."""
    noun = chance.choice(relatives)
    return described(chance, noun, chance.choice(_OWNERS.get(noun.english, OWNERS)))


def named(chance: Random) -> Nominal:
    """Draw somebody by name."""
    return chance.choice(PEOPLE_BY_NAME)


def known(chance: Random) -> Nominal:
    """Draw one of the family or somebody by name."""
    return named(chance) if chance.random() < 0.4 else kin(chance)


def crowd(chance: Random) -> Nominal:
    """Draw several people by one noun: my brothers, the children."""
    if chance.random() < 0.5:
        return noun_phrase(chance.choice(_SEVERAL), chance.choice(("my", "your", "our")), is_plural=True)
    return noun_phrase(chance.choice(_CHILDREN + _ADULTS), "the", is_plural=True)


def stranger(chance: Random) -> Nominal:
    """Draw somebody known by work or looks: the baker, this young woman."""
    return described(chance, chance.choice(_ADULTS), chance.choice(("the", "the", "this")), often=0.2)


def somebody(chance: Random) -> Nominal:
    """Draw anybody by one name or noun, so that à and de stand only once."""
    draw = chance.random()
    if draw < 0.3:
        return named(chance)
    if draw < 0.65:
        return kin(chance)
    return stranger(chance) if draw < 0.85 else crowd(chance)


def other(chance: Random) -> Nominal:
    """Draw anybody but a pronoun, or two people: paul and marie."""
    return both(*chance.sample(PEOPLE_BY_NAME, 2)) if chance.random() < 0.06 else somebody(chance)


def person(chance: Random) -> Nominal:
    """Draw anybody who may do things."""
    return pronoun(chance) if chance.random() < 0.55 else other(chance)


def child(chance: Random) -> Nominal:
    """Draw a child, or children."""
    return noun_phrase(chance.choice(_CHILDREN), "the", is_plural=chance.random() < 0.3)


def another(chance: Random, draw: Callable[[Random], Nominal], *taken: Nominal) -> Nominal:
    """Draw somebody else than those who are in the sentence already."""
    drawn = draw(chance)
    while drawn in taken:
        drawn = draw(chance)
    return drawn


# --- Things -----------------------------------------------------------------------------------------------------

_MASS = ("food", "meal", "drink")


def adjectives(chance: Random, noun: Noun, *, often: float) -> tuple[Adjective, ...]:
    """Draw the adjectives beside a noun: none, one, or one and a color."""
    if chance.random() >= often:
        return ()
    fitting = BESIDE[noun]
    color = (chance.choice(COLORS),) if noun in COLORED else ()
    if not fitting or (color and chance.random() < 0.5):
        return color
    chosen = chance.choice(fitting)
    return (chosen, *color) if chosen.precedes and chance.random() < 0.15 else (chosen,)


def described(chance: Random, noun: Noun, determiner: str, *, is_plural: bool = False, often: float = 0.3) -> Nominal:
    """Build a noun phrase with adjectives that fit, now and then."""
    return noun_phrase(noun, determiner, is_plural=is_plural, adjectives=adjectives(chance, noun, often=often))


def several(chance: Random, noun: Noun, *, most: int = 5) -> Nominal:
    """Build a counted noun phrase: three red apples."""
    number, nombre = list(NUMBERS.items())[chance.randrange(most)]
    return counted(word(number, nombre), noun, adjectives=adjectives(chance, noun, often=0.2))


def thing(chance: Random, noun: Noun, determiners: Sequence[str], subject: Nominal) -> Nominal:
    """Build the object of a statement from one of the determiners: she reads a book, her book, some books."""
    if noun.kind in _MASS:
        return noun_phrase(noun, chance.choice(("some", "mass", "the")))
    determiner = chance.choice(determiners)
    if determiner == "several":
        return several(chance, noun, most=3) if chance.random() < 0.4 else noun_phrase(noun, "some", is_plural=True)
    is_plural = noun.kind == "pair" or determiner == "all" or (noun.kind == "clothes" and subject.is_plural)
    if is_plural and determiner == "a":
        determiner = "mass"
    determiner = {"own": subject.possessive, "all": "the"}.get(determiner, determiner)
    return described(chance, noun, determiner, is_plural=is_plural)


def usual(chance: Random, noun: Noun, determiners: Sequence[str], subject: Nominal) -> Nominal:
    """Build the object of a habit: she drinks coffee, reads novels, drives her car."""
    if noun.kind in _MASS:
        return noun_phrase(noun, "mass")
    return (
        described(chance, noun, "mass", is_plural=True)
        if "a" in determiners
        else thing(chance, noun, determiners, subject)
    )


def lacking(chance: Random, noun: Noun, determiners: Sequence[str], subject: Nominal) -> Nominal:
    """Build an object behind a negation, where French says de for "a": she does not eat any meat."""
    if noun.kind in _MASS:
        return noun_phrase(noun, chance.choice(("any", "of", "of")))
    if "a" in determiners:
        return noun_phrase(noun, chance.choice(("any", "of")), is_plural=True)
    return thing(chance, noun, determiners, subject)


# --- Activities -------------------------------------------------------------------------------------------------

USES = ("now", "often", "did", "will", "must", "can", "step", "day")
_IN_USE = {use: tuple(item for item in ACTIVITIES.values() if use in item.uses) for use in USES}
_WITH_OBJECT = {use: tuple(item for item in items if item.objects) for use, items in _IN_USE.items()}
_ALONE = {
    use: tuple(item for item in items if not item.objects or item.verb.base in ("eat", "read", "write", "sing"))
    for use, items in _IN_USE.items()
}
_FOR_WOMEN = frozenset(nouns("dress skirt"))


def act(
    chance: Random,
    subject: Nominal,
    use: str,
    *,
    denied: bool = False,
    alone: float = 0.15,
    placed: float = 0.2,
    dated: float = 0.0,
) -> Predicate:
    """Draw something to do: reading a book in the garden.

    The activity goes with `use`, one of USES; `denied` says that it stands behind a negation. The other numbers say
    how often it has no object, says where, says when.
    """
    is_alone, object_ = chance.random() < alone, EMPTY
    activity = chance.choice((_ALONE if is_alone else _WITH_OBJECT)[use])
    if not is_alone:
        noun = chance.choice(activity.objects)
        while noun in _FOR_WOMEN and subject.gender == "m":
            noun = chance.choice(activity.objects)
        build = lacking if denied else usual if use == "often" else thing
        object_ = build(chance, noun, activity.determiners, subject).phrase
    when = date(chance, activity, use) if chance.random() < dated else EMPTY
    where = place(chance, activity, 0.0 if when.english else placed)
    return Predicate(activity.verb, join(object_, where, when))


def another_act(chance: Random, subject: Nominal, use: str, taken: Sequence[Predicate]) -> Predicate:
    """Draw something else to do than what is done in the sentence already."""
    bases = {doing.verb.base for doing in taken}
    drawn = act(chance, subject, use)
    while drawn.verb.base in bases:
        drawn = act(chance, subject, use)
    return drawn


def place(chance: Random, activity: Activity, often: float) -> Phrase:
    """Draw where an activity takes place, or nothing."""
    return PLACES[chance.choice(activity.places)] if activity.places and chance.random() < often else EMPTY


def date(chance: Random, activity: Activity, use: str) -> Phrase:
    """Draw when it happens, or nothing: yesterday, next week, every day."""
    if use == "often":
        return chance.choice(REGULAR)
    if use in ("did", "step"):
        return chance.choice(LONG_AGO if "year" in activity.uses else RECENT)
    if "day" not in activity.uses:
        return EMPTY
    return chance.choice(FUTURE if "year" in activity.uses else SOON)


# What anybody may be.
MOODS = PREDICATED[NOUNS["brother"]]
_EXCESSIVE = {"big", "small", "long", "expensive", "heavy", "cold", "hot", "difficult", "tired", "young"}


def quality(chance: Random, subject: Nominal, adjective: Adjective, *, degrees: float = 0.35) -> Phrase:
    """Say what somebody or something is like, in agreement: very tired, too expensive."""
    degree = EMPTY
    if adjective.graded and chance.random() < degrees:
        degree = TOO if adjective.english in _EXCESSIVE and chance.random() < 0.4 else VERY
    form = agree(adjective.french, subject.gender, subject.is_plural)
    return compose("{very} {tired}¹", "{very} {fatigué}¹", very=degree, tired=adjective.english, fatigué=form)
