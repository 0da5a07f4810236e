"""The verbs of the phrasebook, and what each one sensibly takes: one eats food, reads books, drives vehicles."""

from typing import NamedTuple

from regard.data.phrasebook import english
from regard.data.phrasebook.french import Conjugation, conjugate
from regard.data.phrasebook.lexicon import Noun, nouns


class Verb(NamedTuple):
    """A verb in both languages.

    Attributes:
        base: The English form of "to eat"; what follows the verb proper stays with it: "look for".
        third: eats. Then eating and ate.
        conjugation: The French verb.
        particle: What the French verb drags behind it, not conjugated: jouer "à", avoir "besoin de".
        by_being: True if its past is formed with être and agrees: elle est arrivée.
        reflexive: True if it takes me, te, se: je me lève.
    """

    base: str
    third: str
    ing: str
    past: str
    conjugation: Conjugation
    particle: str = ""
    by_being: bool = False
    reflexive: bool = False


MOVING = {"aller", "arriver", "partir", "rentrer", "rester", "revenir", "tomber", "venir"}


def verb(base: str, translation: str) -> Verb:
    """Make a verb from its two infinitives: ("look for", "chercher"), ("need", "avoir besoin de")."""
    head, *tail = base.split()
    infinitive, *particle = translation.removeprefix("se ").split()
    reflexive = translation.startswith("se ")
    return Verb(
        base,
        third=" ".join([english.third(head), *tail]),
        ing=" ".join([english.ing(head), *tail]),
        past=" ".join([english.past(head), *tail]),
        conjugation=conjugate(infinitive),
        particle=" ".join(particle),
        by_being=infinitive in MOVING or reflexive,
        reflexive=reflexive,
    )


# "be" in English is être, avoir or faire in French: she is tired, she is cold, it is cold.
BE = Verb("be", "is", "being", "was", conjugate("être"))
BE_HAVING = BE._replace(conjugation=conjugate("avoir"))
BE_MAKING = BE._replace(conjugation=conjugate("faire"))

HAVE = verb("have", "avoir")
GO = verb("go", "aller")
COME = verb("come", "venir")
COME_BACK = verb("come back", "revenir")
GO_HOME = verb("go home", "rentrer")
STAY = verb("stay", "rester")
LIVE = verb("live", "habiter")
NEED = verb("need", "avoir besoin de")
LIKE = verb("like", "aimer")
PREFER = verb("prefer", "préférer")
KNOW = verb("know", "connaître")
WORK = verb("work", "travailler")
WANT = verb("want", "vouloir")
THINK = verb("think", "penser")
KNOW_THAT = verb("know", "savoir")
SAY = verb("say", "dire")
SEE = verb("see", "voir")
PLAY_GAME = verb("play", "jouer à")
PLAY_MUSIC = verb("play", "jouer de")
COST = verb("cost", "coûter")
SPEAK = verb("speak", "parler")
LEARN = verb("learn", "apprendre")
GET_UP = verb("get up", "se lever")
GO_TO_BED = verb("go to bed", "se coucher")

# Before another verb: {rest} is the infinitive.
HAVE_TO = verb("have to", "devoir")
CAN = Verb("can", "can", "", "", conjugate("pouvoir"))
MUST = Verb("must", "must", "", "", conjugate("devoir"))
_WISHING = conjugate("vouloir")._replace(present=("voudrais", "voudrais", "voudrait", "voudrions", "voudraient"))
WOULD_LIKE = Verb("would like", "would like", "", "", _WISHING)


class Activity(NamedTuple):
    """Something that people do: a verb, what it takes, where one does it, and how one sensibly speaks of it.

    Attributes:
        objects: Nouns that it takes; none for sleeping.
        determiners: How its objects are introduced when they can be counted: "own" is the subject's possessive,
            "several" some or a number, "all" the plural with "the".
        places: Names of places, keys of `adjuncts.PLACES`.
        uses: now (she is reading), often (she reads), did (she read), will (she is going to read), must, can, and
            step for what stands well beside other things done; day and year if a date sounds right with it.
    """

    verb: Verb
    objects: tuple[Noun, ...]
    determiners: tuple[str, ...]
    places: tuple[str, ...]
    uses: frozenset[str]


_GOODS = "food fruit snack clothes pair luggage gadget book flower car bicycle table lamp"
_THINGS = "luggage gadget small"

# English | French | objects | determiners | uses
_ACTIVITIES = f"""
eat      | manger     | food fruit snack          | a the several      | now often did will can step
drink    | boire      | drink                     |                    | now often did will can step
read     | lire       | reading                   | a the this         | now often will must day
write    | écrire     | letter poem novel         | a the              | now did will must day
wear     | porter     | clothes pair              | a own              | now often
drive    | conduire   | car truck bus             | the own            | now often
buy      | acheter    | {_GOODS}                  | a the this several | now often did will must can step day year
sell     | vendre     | vehicle table lamp guitar piano house | the own this       | did will must can day year
look for | chercher   | {_THINGS} clothes animal  | a the own          | now
wash     | laver      | car bicycle clothes cup plate | the own all        | now did will must can step day
open     | ouvrir     | opening luggage bottle    | the this all       | now did must can step
close    | fermer     | opening luggage           | the this all       | now did must can step
make     | préparer   | meal cake sandwich                | a the              | now often did will must can step
watch    | regarder   | film                      | a the this         | now often did will step day
clean    | nettoyer   | room                      | the own            | now often did will must can step day
sing     | chanter    | song                      | a the this         | now did step
find     | trouver    | {_THINGS}                 | the own            | did
lose     | perdre     | {_THINGS}                 | the own            | did year
forget   | oublier    | {_THINGS}                 | the own            | did
break    | casser     | cup plate glass bottle    | a own several      | did
visit    | visiter    | castle museum church      | a the this         | now did will can day year
take     | prendre    | train bus                 | the                | now often did will must can day
sleep    | dormir     |                           |                    | now did must can step
work     | travailler |                           |                    | now often did will must can step day
dance    | danser     |                           |                    | now often did step
swim     | nager      |                           |                    | now often did
run      | courir     |                           |                    | now often did
cry      | pleurer    |                           |                    | now often did
"""

_WHERE = {
    "eat": "kitchen garden restaurant",
    "drink": "kitchen garden restaurant",
    "read": "garden bedroom library train",
    "write": "bedroom library",
    "buy": "store market",
    "make": "kitchen",
    "watch": "bedroom",
    "sing": "garden church",
    "find": "street park",
    "lose": "street park",
    "break": "kitchen",
    "sleep": "bedroom garden train",
    "work": "garden office hospital store",
    "dance": "street garden",
    "swim": "river",
    "run": "park street forest",
    "cry": "bedroom",
}


def _activity(line: str) -> Activity:
    base, translation, *lists = (cell.strip() for cell in line.split("|"))
    objects, determiners, uses = (cell.split() for cell in lists)
    taken, places = nouns(" ".join(objects)), tuple(_WHERE.get(base, "").split())
    return Activity(verb(base, translation), taken, tuple(determiners), places, frozenset(uses))


ACTIVITIES = {item.verb.base: item for item in (_activity(line) for line in _ACTIVITIES.strip().splitlines())}
DOING = {base: item.verb for base, item in ACTIVITIES.items()} | {"call": verb("call", "appeler")}
TRADING = tuple(DOING[base] for base in ("buy", "sell", "lose", "find"))

# Verbs whose object is a person: what lasts, and what happens.
_PERSONAL = (("know", "connaître"), ("understand", "comprendre"), ("see", "voir"), ("love", "aimer"))
KNOWING = tuple(verb(*pair) for pair in _PERSONAL)
_HAPPENING = (("see", "voir"), ("meet", "rencontrer"), ("help", "aider"), ("call", "appeler"), ("invite", "inviter"))
SEEING = tuple(verb(*pair) for pair in _HAPPENING)
HELPING = tuple(verb(*pair) for pair in (("help", "aider"), ("call", "appeler"), ("wait for", "attendre")))

# Verbs of giving: something to somebody, and what.
GIVING = (
    (verb("give", "donner"), nouns("book small phone umbrella flower gift luggage")),
    (verb("show", "montrer"), nouns("letter photo ring book poem key clothes")),
    (verb("send", "envoyer"), nouns("letter photo gift book ticket")),
)

# Verbs of moving, which end in themselves.
COMING = tuple(verb(*pair) for pair in (("arrive", "arriver"), ("leave", "partir"), ("come back", "revenir")))
