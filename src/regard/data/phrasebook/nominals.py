"""Noun phrases: pronouns, determiners, nouns with their adjectives.

Here stands what French asks of a noun phrase: agreement, adjectives behind the noun, mon amie, un vieil ami.
"""

from functools import cache
from typing import NamedTuple

from regard.data.phrasebook import english, french
from regard.data.phrasebook.lexicon import NAMES, Adjective, Noun
from regard.data.phrasebook.phrase import Phrase, compose, join, word

# The persons of the phrasebook, as positions in conjugation tables. "you" is tu, "they" is ils.
PERSONS = ME, YOU, HE, WE, THEY = range(5)


class Nominal(NamedTuple):
    """A noun phrase and what other words must know to agree with it.

    Attributes:
        possessive: The English determiner for what belongs to it: my, his, their.
    """

    phrase: Phrase
    person: int
    gender: str
    possessive: str

    @property
    def is_plural(self) -> bool:
        """Tell whether adjectives and participles that agree with it are plural."""
        return self.person in (WE, THEY)


class Determiner(NamedTuple):
    """A determiner in both languages: English singular and plural, French masculine, feminine and plural."""

    singular: str
    plural: str
    masculine: str
    feminine: str
    plurals: str


DETERMINERS = {
    "the": Determiner("the", "the", "le", "la", "les"),
    "a": Determiner("a", "", "un", "une", "des"),
    "this": Determiner("this", "these", "ce", "cette", "ces"),
    "my": Determiner("my", "my", "mon", "ma", "mes"),
    "your": Determiner("your", "your", "ton", "ta", "tes"),
    "his": Determiner("his", "his", "son", "sa", "ses"),
    "her": Determiner("her", "her", "son", "sa", "ses"),
    "its": Determiner("its", "its", "son", "sa", "ses"),
    "our": Determiner("our", "our", "notre", "notre", "nos"),
    "their": Determiner("their", "their", "leur", "leur", "leurs"),
    "some": Determiner("some", "some", "de le", "de la", "des"),
    "any": Determiner("any", "any", "de", "de", "de"),
    # "any" in a question: do you have any milk ? du lait
    "any?": Determiner("any", "any", "de le", "de la", "des"),
    # Without a word in English: she drinks milk, she likes milk, she has no need of milk, she does not drink milk.
    "mass": Determiner("", "", "de le", "de la", "des"),
    "general": Determiner("", "", "le", "la", "les"),
    "bare": Determiner("", "", "", "", ""),
    "of": Determiner("", "", "de", "de", "de"),
    # "a" after a negation: she does not have a car.
    "not a": Determiner("a", "", "de", "de", "de"),
}
POSSESSIVES = ("my", "your", "his", "her", "our", "their")

# The English determiner, where there is one, translates the French; else the French one belongs to its noun.
_WITH_DETERMINER = "{the}¹ {big}³ {red}⁴ {car}²", "{la}¹ {grande}³ {voiture}² {rouge}⁴"
_WITHOUT_DETERMINER = "{big}³ {red}⁴ {car}²", "{la}² {grande}³ {voiture}² {rouge}⁴"


def _french_determiner(determiner: Determiner, noun: Noun, *, is_plural: bool, following: str) -> str:
    """Choose the French determiner: la, les, mon (amie), cet (homme), de (belles fleurs)."""
    if is_plural:
        return "de" if determiner.plurals == "des" and following != noun.french_plural else determiner.plurals
    return french.before(determiner.feminine if noun.gender == "f" else determiner.masculine, following)


@cache
def noun_phrase(
    noun: Noun, determiner: str = "the", *, is_plural: bool = False, adjectives: tuple[Adjective, ...] = ()
) -> Nominal:
    """Build a noun phrase from its determiner (a key of DETERMINERS or a number), noun and adjectives.

    English adjectives stand as given; in French some precede the noun and the rest follows it.
    """
    # One adjective at the most on each side of the French noun, and English says first what precedes in French.
    preceding = next((adjective for adjective in adjectives if adjective.precedes), None)
    following = next((adjective for adjective in adjectives if not adjective.precedes), None)
    name = noun.english_plural if is_plural else noun.english
    translation = noun.french_plural if is_plural else noun.french
    grande = french.agree(preceding.french, noun.gender, is_plural) if preceding else ""
    grande = grande if is_plural else french.before(grande, translation)
    rouge = french.agree(following.french, noun.gender, is_plural) if following else ""

    entry = DETERMINERS[determiner]
    the = entry.plural if is_plural else entry.singular
    if the == "a":
        the = english.article(adjectives[0].english if adjectives else name)
    la = _french_determiner(entry, noun, is_plural=is_plural, following=grande or translation)
    phrase = compose(
        *(_WITH_DETERMINER if the else _WITHOUT_DETERMINER),
        the=the,
        big=preceding.english if preceding else "",
        red=following.english if following else "",
        car=name,
        la=la,
        grande=grande,
        voiture=translation,
        rouge=rouge,
    )
    possessive = "their" if is_plural else {"m": "his", "f": "her"}[noun.gender]
    return Nominal(phrase, THEY if is_plural else HE, noun.gender, possessive)


def counted(number: Phrase, noun: Noun, *, adjectives: tuple[Adjective, ...] = ()) -> Nominal:
    """Build a noun phrase with a number or an amount before a plural: two apples, a lot of apples."""
    bare = noun_phrase(noun, "bare", is_plural=True, adjectives=adjectives)
    return bare._replace(phrase=join(number, bare.phrase))


def belonging(noun: Noun, owner: Nominal, *, adjectives: tuple[Adjective, ...] = ()) -> Nominal:
    """Build what belongs to one owner: my brother's red car, la voiture rouge de mon frère.

    The 's is French de; the French article, which English has no word for, belongs to its noun.
    """
    *words, last = owner.phrase.english
    links = ((len(words), 0), *((i, j + 1) for i, j in owner.phrase.links))
    of_owner = Phrase((*words, f"{last}'s"), ("de", *owner.phrase.french), links)
    owned = noun_phrase(noun, "general", adjectives=adjectives)
    phrase = compose("{pauls} {car}", "{car} {pauls}", pauls=of_owner, car=owned.phrase)
    return owned._replace(phrase=phrase)


def both(first: Nominal, second: Nominal) -> Nominal:
    """Join two persons by and: they agree in the plural, feminine only if both are."""
    phrase = compose("{paul} and¹ {anne}", "{paul} et¹ {anne}", paul=first.phrase, anne=second.phrase)
    gender = "f" if first.gender == second.gender == "f" else "m"
    return Nominal(phrase, THEY, gender, "their")


# Speaker and hearer are masculine where French has to know; no sentence says their sex in English.
PRONOUNS = {
    "i": Nominal(word("i", "je"), ME, "m", "my"),
    "you": Nominal(word("you", "tu"), YOU, "m", "your"),
    "he": Nominal(word("he", "il"), HE, "m", "his"),
    "she": Nominal(word("she", "elle"), HE, "f", "her"),
    "we": Nominal(word("we", "nous"), WE, "m", "our"),
    "they": Nominal(word("they", "ils"), THEY, "m", "their"),
}
# The same persons as objects, which French puts before the verb: she sees him, elle le voit; gives him, lui donne.
OBJECTS = {
    "i": word("me", "me"),
    "you": word("you", "te"),
    "he": word("him", "le"),
    "she": word("her", "la"),
    "we": word("us", "nous"),
    "they": word("them", "les"),
}
RECIPIENTS = OBJECTS | {"he": word("him", "lui"), "she": word("her", "lui"), "they": word("them", "leur")}
IT = Nominal(word("it", "il"), HE, "m", "its")

PEOPLE_BY_NAME = tuple(
    Nominal(word(name, name), HE, gender, "his" if gender == "m" else "her") for name, gender in NAMES.items()
)


def having(owner: Nominal) -> Phrase:
    """Turn the English owner into the French subject: my, je; paul's, paul. For my feet hurt: j'ai mal aux pieds."""
    if owner in PRONOUNS.values():
        return word(owner.possessive, " ".join(owner.phrase.french))
    *words, last = owner.phrase.english
    return owner.phrase._replace(english=(*words, f"{last}'s"))
