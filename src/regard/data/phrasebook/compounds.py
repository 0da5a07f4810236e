"""Constructions of several clauses: relative clauses, because, when, if, while, but, lists, and whole stories.

Each function draws one phrase of its construction; its docstring shows one.
"""

from random import Random

from regard.data.phrasebook.adjuncts import PLACES
from regard.data.phrasebook.clauses import Predicate, Tense, clause
from regard.data.phrasebook.idioms import condition, weather
from regard.data.phrasebook.lexicon import KINDS, PREDICATED, nouns
from regard.data.phrasebook.nominals import ME, PRONOUNS, WE, Nominal, noun_phrase
from regard.data.phrasebook.phrase import Phrase, compose, word
from regard.data.phrasebook.scenes import (
    MOODS,
    act,
    another,
    another_act,
    described,
    kin,
    other,
    person,
    pronoun,
    quality,
)
from regard.data.phrasebook.situations import SITUATIONS, again, steady
from regard.data.phrasebook.statements import age, description, feeling, polarity
from regard.data.phrasebook.verbs import BE, DOING, KNOW, KNOW_THAT, LIKE, PREFER, SAY, SPEAK, THINK, TRADING

# --- Relative clauses -------------------------------------------------------------------------------------------


def relative_subject(chance: Random) -> Phrase:
    """The man who is reading a book is my uncle: l'homme qui lit un livre est mon oncle."""
    head = noun_phrase(chance.choice(nouns("man woman worker")), is_plural=chance.random() < 0.15)
    who = head._replace(phrase=word("who", "qui"))
    doing = clause(who, act(chance, who, "now", placed=0.15), "progressive")
    subject = head._replace(phrase=compose("{man} {who}", "{man} {who}", man=head.phrase, who=doing))
    draw = chance.random()
    if draw < 0.4 or subject.is_plural:
        return clause(subject, Predicate(BE, quality(chance, subject, chance.choice(MOODS))), polarity=polarity(chance))
    if draw < 0.7:
        relatives = [noun for noun in nouns("brother sister uncle aunt father mother") if noun.gender == head.gender]
        return clause(subject, Predicate(BE, kin(chance, relatives).phrase))
    return clause(pronoun(chance), Predicate(KNOW, subject.phrase), polarity=polarity(chance))


def relative_object(chance: Random) -> Phrase:
    """The car that my father bought is red: la voiture que mon père a achetée est rouge."""
    noun = chance.choice(nouns("vehicle clothes pair gadget luggage reading"))
    head = described(chance, noun, "the", is_plural=noun.kind == "pair" or chance.random() < 0.25, often=0.15)
    buyer = person(chance)
    if noun.kind == "reading" and chance.random() < 0.5:
        done = clause(buyer, Predicate(DOING["read"]), "progressive")
    else:
        done = clause(buyer, Predicate(chance.choice(TRADING), agreement=(noun.gender, head.is_plural)), "past")
    phrase = compose("{car} that¹ {he_bought}", "{car} que¹ {he_bought}", car=head.phrase, he_bought=done)
    subject = head._replace(phrase=phrase)
    return clause(
        subject, Predicate(BE, quality(chance, subject, chance.choice(PREDICATED[noun]))), polarity=polarity(chance)
    )


# --- Because, when, if, while -----------------------------------------------------------------------------------


def because(chance: Random) -> Phrase:
    """We are staying at home because it is raining: nous restons à la maison parce qu'il pleut."""
    subject, situation = steady(chance), chance.choice(SITUATIONS)
    doing, is_past = chance.choice(situation.responses)(chance, subject), situation.felt and chance.random() < 0.3
    present: Tense = "simple" if situation.felt else "progressive"
    reason = situation.condition(chance, again(subject), "past" if is_past else present)
    template = "{effect} because¹ {reason}", "{effect} parce¹ que¹ {reason}"
    return compose(*template, effect=clause(subject, doing, "past" if is_past else "progressive"), reason=reason)


_CONJUNCTIONS = (("when", "quand"), ("when", "quand"), ("if", "si"))


def whenever(chance: Random) -> Phrase:
    """When she is tired , she goes to bed: quand elle est fatiguée , elle se couche."""
    subject, situation = steady(chance), chance.choice(SITUATIONS)
    when, quand = chance.choice(_CONJUNCTIONS)
    doing = chance.choice(situation.responses)(chance, subject)
    words = {"when": when, "quand": quand}
    if chance.random() < 0.5:
        template = "{when}¹ {first} ,² {second}", "{quand}¹ {first} ,² {second}"
        first, second = situation.condition(chance, subject, "simple"), clause(again(subject), doing)
    else:
        template = "{first} {when}¹ {second}", "{first} {quand}¹ {second}"
        first, second = clause(subject, doing), situation.condition(chance, again(subject), "simple")
    return compose(*template, first=first, second=second, **words)


def meanwhile(chance: Random) -> Phrase:
    """I am working while the children are sleeping: je travaille pendant que les enfants dorment."""
    first = person(chance)
    second = another(chance, other, first)
    template = "{first} while¹ {second}", "{first} pendant¹ que¹ {second}"
    reading = act(chance, first, "now")
    singing = another_act(chance, second, "now", [reading])
    clauses = {"first": clause(first, reading, "progressive"), "second": clause(second, singing, "progressive")}
    return compose(*template, **clauses)


# --- But, and, lists, stories -----------------------------------------------------------------------------------


def contrast(chance: Random) -> Phrase:
    """He likes tea but he doesn't like coffee: il aime le thé mais il n'aime pas le café."""
    subject, draw = pronoun(chance), chance.random()
    if draw < 0.7:
        kind = chance.choice(("drink", "food", "animal", "fruit"))
        liked, disliked = (
            noun_phrase(noun, "general", is_plural=kind in ("animal", "fruit")).phrase
            for noun in chance.sample(KINDS[kind], 2)
        )
        second = clause(subject, Predicate(LIKE, disliked), "simple", "not")
        if draw < 0.35:
            rival = chance.choice([PRONOUNS[name] for name in PRONOUNS if PRONOUNS[name] != subject])
            second = clause(rival, Predicate(PREFER, disliked))
        first = clause(subject, Predicate(LIKE, liked))
    else:
        spoken, unknown = (word(noun.english, noun.french) for noun in chance.sample(KINDS["language"], 2))
        first = clause(subject, Predicate(SPEAK, spoken))
        second = clause(subject, Predicate(SPEAK, unknown), "simple", "not")
    return compose("{first} but¹ {second}", "{first} mais¹ {second}", first=first, second=second)


_CLAIMS = (feeling, description, age, condition, weather)


def opinion(chance: Random) -> Phrase:
    """I think that she is right: je pense qu'elle a raison."""
    claim = chance.choice(_CLAIMS)(chance)
    subject = person(chance)
    while subject not in PRONOUNS.values() and claim.english[: len(subject.phrase.english)] == subject.phrase.english:
        subject = person(chance)
    that = compose("that¹ {claim}", "que¹ {claim}", claim=claim)
    verbs = (THINK, KNOW_THAT) if subject.person in (ME, WE) else (THINK, KNOW_THAT, SAY)
    return clause(subject, Predicate(chance.choice(verbs), that))


def wondering(chance: Random) -> Phrase:
    """I don't know where my keys are: je ne sais pas où sont mes clés."""
    noun = chance.choice(nouns("small gadget luggage dog cat station market library museum hospital"))
    owner = "the" if noun.kind in ("place", "building") else chance.choice(("my", "your", "his", "her", "the"))
    keys = noun_phrase(noun, owner, is_plural=noun.english == "key")
    are, sont = ("are", "sont") if keys.is_plural else ("is", "est")
    template = "where¹ {keys} {are}²", "où¹ {sont}² {keys}"
    where = compose(*template, keys=keys.phrase, are=are, sont=sont)
    return clause(person(chance), Predicate(KNOW_THAT, where), polarity=polarity(chance, denied=0.7))


def enumeration(chance: Random, *, most: int = 5) -> Phrase:
    """Bread , cheese and two apples: du pain , du fromage et deux pommes."""
    first = chance.choice(nouns("food drink"))
    others = [noun for noun in nouns("food drink fruit egg") if noun != first]
    chosen = [first, *chance.sample(others, chance.randint(1, most - 1))]
    items = [noun_phrase(noun, "mass", is_plural=noun.kind in ("fruit", "snack")).phrase for noun in chosen]
    return chain(items)


def chain(phrases: list[Phrase]) -> Phrase:
    """Join phrases by commas and a last and."""
    whole = phrases[0]
    for phrase in phrases[1:-1]:
        whole = compose("{whole} ,¹ {next}", "{whole} ,¹ {next}", whole=whole, next=phrase)
    return compose("{whole} and¹ {last}", "{whole} et¹ {last}", whole=whole, last=phrases[-1])


def listing(chance: Random) -> Phrase:
    """We bought bread , cheese and wine: nous avons acheté du pain , du fromage et du vin."""
    items, draw = enumeration(chance), chance.random()
    if draw < 0.2:
        where = PLACES[chance.choice(("kitchen", "store"))]
        return compose("there¹ is² {bread} {here}", "il¹ y¹ a² {bread} {here}", bread=items, here=where)
    tense: Tense = chance.choice(("past", "going", "progressive"))
    return clause(person(chance), Predicate(DOING["buy"], items), tense)


def sequence(chance: Random) -> Phrase:
    """She closed the door and then she went home: elle a fermé la porte et puis elle est rentrée."""
    subject = steady(chance)
    first = act(chance, subject, "step")
    second = another_act(chance, subject, "step", [first])
    template = "{first} and¹ then² {second}", "{first} et¹ puis² {second}"
    return compose(*template, first=clause(subject, first, "past"), second=clause(again(subject), second, "past"))


def story(chance: Random) -> Phrase:
    """Paul is reading , anne is dancing and you are singing: paul lit , anne danse et tu chantes."""
    return chain(_scene(chance) if chance.random() < 0.6 else _deeds(chance))


# How many words a story has at the least. One that gets too long in the end is drawn again.
_FEW, _MANY = 10, 38


def _scene(chance: Random) -> list[Phrase]:
    """Draw what several people are doing."""
    subjects: list[Nominal] = []
    acts: list[Predicate] = []
    clauses: list[Phrase] = []
    length = chance.randint(_FEW, _MANY)
    while len(clauses) < 3 or _words(clauses) < length:
        subjects.append(another(chance, other, *subjects))
        acts.append(another_act(chance, subjects[-1], "now", acts))
        clauses.append(clause(subjects[-1], acts[-1], "progressive"))
    return clauses


def _deeds(chance: Random) -> list[Phrase]:
    """Draw what one person did, one after the other."""
    subject, length = pronoun(chance), chance.randint(_FEW, _MANY)
    acts: list[Predicate] = []
    clauses: list[Phrase] = []
    while len(clauses) < 3 or _words(clauses) < length:
        acts.append(another_act(chance, subject, "step", acts))
        clauses.append(clause(subject, acts[-1], "past"))
    return clauses


def _words(clauses: list[Phrase]) -> int:
    return sum(len(phrase.english) + 1 for phrase in clauses) - 1
