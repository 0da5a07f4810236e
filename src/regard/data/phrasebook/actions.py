"""Constructions about what people do, did, will do, want to do, never do, and to whom.

Each function draws one phrase of its construction; its docstring shows one.
"""

from random import Random

from regard.data.phrasebook.adjuncts import (
    OFTEN,
    RECENT,
    STILL,
)
from regard.data.phrasebook.clauses import Predicate, Tense, clause, infinitive
from regard.data.phrasebook.lexicon import nouns
from regard.data.phrasebook.nominals import OBJECTS, PRONOUNS, RECIPIENTS, noun_phrase
from regard.data.phrasebook.phrase import EMPTY, Phrase, compose, join
from regard.data.phrasebook.scenes import STRANGE, act, another, named, other, person, place, somebody, stranger, thing
from regard.data.phrasebook.statements import polarity
from regard.data.phrasebook.verbs import (
    ACTIVITIES,
    CAN,
    GIVING,
    HAVE_TO,
    HELPING,
    KNOWING,
    LIKE,
    MUST,
    SEEING,
    WANT,
    WOULD_LIKE,
)

# --- Now, often, never, in the past, in the future --------------------------------------------------------------


def ongoing(chance: Random) -> Phrase:
    """The baker is reading a book in the garden: le boulanger lit un livre dans le jardin."""
    subject = person(chance)
    still = STILL if chance.random() < 0.1 else EMPTY
    return clause(subject, act(chance, subject, "now"), "progressive", often=still)


def habit(chance: Random) -> Phrase:
    """She often drinks coffee: elle boit souvent du café. She works on mondays: elle travaille le lundi."""
    subject = person(chance)
    if chance.random() < 0.6:
        return clause(subject, act(chance, subject, "often", alone=0.35), often=chance.choice((EMPTY, *OFTEN)))
    return clause(subject, act(chance, subject, "often", dated=1.0))


def refusal(chance: Random) -> Phrase:
    """She doesn't eat any meat: elle ne mange pas de viande."""
    subject = person(chance)
    return clause(subject, act(chance, subject, "often", denied=True), "simple", "not")


def never(chance: Random) -> Phrase:
    """He never drinks wine: il ne boit jamais de vin."""
    subject = person(chance)
    return clause(subject, act(chance, subject, "often", denied=True), "simple", "never")


def anymore(chance: Random) -> Phrase:
    """They don't eat meat anymore: ils ne mangent plus de viande."""
    subject = person(chance)
    return clause(subject, act(chance, subject, "often", denied=True, placed=0.0), "simple", "anymore")


def past(chance: Random) -> Phrase:
    """We sold our car last year: nous avons vendu notre voiture l'année dernière."""
    subject = person(chance)
    return clause(subject, act(chance, subject, "did", dated=0.4), "past")


def past_denied(chance: Random) -> Phrase:
    """I didn't find my keys: je n'ai pas trouvé mes clés."""
    subject = person(chance)
    return clause(subject, act(chance, subject, "did", denied=True, dated=0.3), "past", "not")


def plan(chance: Random) -> Phrase:
    """Marie is going to buy a dress tomorrow: marie va acheter une robe demain."""
    subject, denied = person(chance), polarity(chance)
    doing = act(chance, subject, "will", denied=denied == "not", dated=0.6)
    return clause(subject, doing, "going", denied)


# --- Wishes and duties ------------------------------------------------------------------------------------------


def wish(chance: Random) -> Phrase:
    """He wants to eat an apple: il veut manger une pomme."""
    subject, denied = person(chance), polarity(chance)
    willing = WANT if denied == "not" else chance.choice((WANT, WANT, WOULD_LIKE))
    doing = act(chance, subject, "will", denied=denied == "not", dated=0.2)
    return clause(subject, Predicate(willing, infinitive(subject, doing)), "simple", denied)


def duty(chance: Random) -> Phrase:
    """You must close the door: tu dois fermer la porte."""
    subject = person(chance)
    done = infinitive(subject, act(chance, subject, "must", placed=0.1, dated=0.3), to="")
    return clause(subject, Predicate(chance.choice((MUST, MUST, HAVE_TO)), done))


def ability(chance: Random) -> Phrase:
    """We can't open the window: nous ne pouvons pas ouvrir la fenêtre."""
    subject, denied = person(chance), polarity(chance, denied=0.5)
    done = infinitive(subject, act(chance, subject, "can", denied=denied == "not", placed=0.1), to="")
    return clause(subject, Predicate(CAN, done), "simple", denied)


# --- Likes ------------------------------------------------------------------------------------------------------

_DRINKS_AND_FOOD = nouns("food drink")
_LIKED = nouns("fruit animal flower book poem song film egg cake castle")


def liking(chance: Random) -> Phrase:
    """Our aunt likes coffee: notre tante aime le café."""
    subject = person(chance)
    if chance.random() < 0.5:
        liked = noun_phrase(chance.choice(_DRINKS_AND_FOOD), "general")
    else:
        liked = noun_phrase(chance.choice(_LIKED), chance.choice(("general", "general", "this")), is_plural=True)
    return clause(subject, Predicate(LIKE, liked.phrase), polarity=polarity(chance, denied=0.35))


_PASTIMES = tuple(
    item for item in ACTIVITIES.values() if item.verb.base in ["read", "sing", "dance", "swim", "run", "sleep", "work"]
)


def pastime(chance: Random) -> Phrase:
    """I like to read in the garden: j'aime lire dans le jardin."""
    subject, denied = person(chance), polarity(chance)
    doing = chance.choice(_PASTIMES)
    where = place(chance, doing, 0.4)
    done = infinitive(subject, Predicate(doing.verb, where))
    return clause(subject, Predicate(LIKE, done), "simple", denied)


# --- To whom ----------------------------------------------------------------------------------------------------


def acquaintance(chance: Random) -> Phrase:
    """She is waiting for him: elle l'attend. I don't know them: je ne les connais pas."""
    subject = person(chance)
    pronoun = OBJECTS[chance.choice(STRANGE[subject.person])]
    if chance.random() < 0.5:
        return clause(subject, Predicate(chance.choice(KNOWING), EMPTY, pronoun), "simple", polarity(chance))
    return clause(subject, Predicate(chance.choice(HELPING), EMPTY, pronoun), "progressive", polarity(chance))


def encounter(chance: Random) -> Phrase:
    """I saw her yesterday: je l'ai vue hier."""
    subject = person(chance)
    name = chance.choice(STRANGE[subject.person])
    whom = PRONOUNS[name]
    when = chance.choice((EMPTY, EMPTY, *RECENT))
    doing = Predicate(chance.choice(SEEING), when, OBJECTS[name], (whom.gender, whom.is_plural))
    return clause(subject, doing, "past", polarity(chance))


def company(chance: Random) -> Phrase:
    """My son is waiting for his friend: mon fils attend son ami."""
    subject, draw = person(chance), chance.random()
    if draw < 0.4:
        whom = another(chance, chance.choice((stranger, named)), subject).phrase
        return clause(subject, Predicate(chance.choice(KNOWING[:3]), whom), "simple", polarity(chance))
    whom = another(chance, other, subject).phrase
    if draw < 0.7:
        return clause(subject, Predicate(chance.choice(HELPING), whom), "progressive", polarity(chance))
    rest = join(whom, chance.choice((EMPTY, *RECENT)))
    return clause(subject, Predicate(chance.choice(SEEING), rest), "past", polarity(chance))


_GIVEN = ("a", "a", "the", "this", "own")
_GIVEN_WHEN: tuple[Tense, ...] = ("past", "past", "going", "progressive")


def giving(chance: Random) -> Phrase:
    """Paul gave a book to the children: paul a donné un livre aux enfants."""
    subject, (give, gifts) = person(chance), chance.choice(GIVING)
    book = thing(chance, chance.choice(gifts), _GIVEN, subject).phrase
    rest = compose("{book} to¹ {her}", "{book} à¹ {her}", book=book, her=another(chance, somebody, subject).phrase)
    return clause(subject, Predicate(give, rest), chance.choice(_GIVEN_WHEN))


def giving_them(chance: Random) -> Phrase:
    """I gave her a flower: je lui ai donné une fleur."""
    subject, (give, gifts) = person(chance), chance.choice(GIVING)
    book = thing(chance, chance.choice(gifts), _GIVEN, subject).phrase
    recipient = RECIPIENTS[chance.choice(STRANGE[subject.person])]
    return clause(subject, Predicate(give, book, recipient), chance.choice(_GIVEN_WHEN))
