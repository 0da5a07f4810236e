"""How French words change: agreement, conjugation, and the spelling where two words meet.

The grammar composes whole words ("je ai mal à les pieds"); `spell` writes them as French does ("j'ai mal aux
pieds"). Rules first, then what breaks them.
"""

import re
from functools import cache
from typing import NamedTuple

# --- Agreement --------------------------------------------------------------------------------------------------

PLURALS = {"œil": "yeux"}

FEMININES = {
    "beau": "belle",
    "blanc": "blanche",
    "bon": "bonne",
    "boulanger": "boulangère",
    "chanteur": "chanteuse",
    "cher": "chère",
    "fermier": "fermière",
    "frais": "fraîche",
    "gentil": "gentille",
    "long": "longue",
    "médecin": "médecin",
    "nouveau": "nouvelle",
    "professeur": "professeur",
    "vieux": "vieille",
}

# What a few words become in the singular before a vowel: ma amie -> mon amie, un vieux ami -> un vieil ami.
BEFORE_VOWEL = {
    "beau": "bel",
    "ce": "cet",
    "ma": "mon",
    "nouveau": "nouvel",
    "sa": "son",
    "ta": "ton",
    "vieux": "vieil",
}


def plural(word: str) -> str:
    """Give the plural of a noun or adjective: pommes, bras, gâteaux, journaux."""
    if word in PLURALS:
        return PLURALS[word]
    if re.search(r"[sxz]$", word):
        return word
    if word.endswith("al"):
        return word[:-2] + "aux"
    return word + ("x" if re.search(r"(eau|nou)$", word) else "s")


def feminine(adjective: str) -> str:
    """Give the feminine of an adjective or profession: rouge, grande, heureuse, jalouse."""
    if adjective in FEMININES:
        return FEMININES[adjective]
    if adjective.endswith("e"):
        return adjective
    return re.sub(r"x$", "s", adjective) + "e"


@cache
def agree(adjective: str, gender: str, is_plural: bool) -> str:
    """Give the form of an adjective or participle for a gender, "m" or "f", and a number."""
    form = feminine(adjective) if gender == "f" else adjective
    return plural(form) if is_plural else form


def before(word: str, following: str) -> str:
    """Give the form of a singular determiner or adjective before the word that follows."""
    return BEFORE_VOWEL.get(word, word) if starts_with_vowel(following) else word


# --- Conjugation ------------------------------------------------------------------------------------------------


class Conjugation(NamedTuple):
    """The forms of a verb that the phrasebook uses; `present` and `imperfect` for je, tu, il, nous, ils."""

    infinitive: str
    present: tuple[str, ...]
    imperfect: tuple[str, ...]
    participle: str
    imperative: str


# Present of je, tu, il, nous, ils, then the past participle.
IRREGULAR = {
    "aller": "vais vas va allons vont allé",
    "avoir": "ai as a avons ont eu",
    "boire": "bois bois boit buvons boivent bu",
    "conduire": "conduis conduis conduit conduisons conduisent conduit",
    "connaître": "connais connais connaît connaissons connaissent connu",
    "courir": "cours cours court courons courent couru",
    "devoir": "dois dois doit devons doivent dû",
    "dire": "dis dis dit disons disent dit",
    "dormir": "dors dors dort dormons dorment dormi",
    "écrire": "écris écris écrit écrivons écrivent écrit",
    "être": "suis es est sommes sont été",
    "faire": "fais fais fait faisons font fait",
    "lire": "lis lis lit lisons lisent lu",
    "ouvrir": "ouvre ouvres ouvre ouvrons ouvrent ouvert",
    "partir": "pars pars part partons partent parti",
    "pleuvoir": "— — pleut — — plu",
    "pouvoir": "peux peux peut pouvons peuvent pu",
    "prendre": "prends prends prend prenons prennent pris",
    "savoir": "sais sais sait savons savent su",
    "venir": "viens viens vient venons viennent venu",
    "voir": "vois vois voit voyons voient vu",
    "vouloir": "veux veux veut voulons veulent voulu",
}

# Prefixed verbs go like the verb inside them.
PREFIXED = {"apprendre": "prendre", "comprendre": "prendre", "revenir": "venir"}


def _stems(infinitive: str) -> tuple[str, str]:
    """Give the two stems of an -er verb: of nous, and of the forms with a silent ending (achetons, achète)."""
    stem = infinitive[:-2]
    silent = {"appel": "appell"}.get(stem) or re.sub(r"[eé]([^aeiouyéè])$", r"è\1", stem)
    silent = re.sub(r"(?<=[ou])y$", "i", silent)
    return re.sub(r"g$", "ge", stem), silent


def _present(infinitive: str) -> tuple[list[str], str]:
    """Give the present and the past participle."""
    if infinitive in PREFIXED:
        inner = PREFIXED[infinitive]
        forms, participle = _present(inner)
        prefix = infinitive.removesuffix(inner)
        return [prefix + form for form in forms], prefix + participle
    if infinitive in IRREGULAR:
        *forms, participle = IRREGULAR[infinitive].split()
        return forms, participle
    if infinitive.endswith("re"):
        stem = infinitive[:-2]
        return [stem + "s", stem + "s", stem, stem + "ons", stem + "ent"], stem + "u"
    assert infinitive.endswith("er"), infinitive
    sounded, silent = _stems(infinitive)
    present = [silent + "e", silent + "es", silent + "e", sounded + "ons", silent + "ent"]
    return present, infinitive[:-2] + "é"


@cache
def conjugate(infinitive: str) -> Conjugation:
    """Give the forms of a verb from its infinitive."""
    present, participle = _present(infinitive)
    stem = "ét" if infinitive == "être" else present[3].removesuffix("ons")
    imperfect = tuple(stem + ending for ending in ("ais", "ais", "ait", "ions", "aient"))
    drops_s = infinitive.endswith("er") or infinitive == "ouvrir"
    imperative = present[1].removesuffix("s") if drops_s else present[1]
    return Conjugation(infinitive, tuple(present), imperfect, participle, imperative)


# --- Spelling where two words meet ------------------------------------------------------------------------------

ELIDED = {"ce", "de", "je", "la", "le", "me", "ne", "que", "se", "te"}
CONTRACTED = {
    ("à", "le"): "au",
    ("à", "les"): "aux",
    ("de", "le"): "du",
    ("de", "les"): "des",
    ("si", "il"): "s'il",
    ("si", "ils"): "s'ils",
}
NEVER_ELIDED_BEFORE = {"huit", "onze"}


def starts_with_vowel(word: str) -> bool:
    """Tell whether a word makes the one before it drop its vowel: ami, homme, y, but not huit."""
    return (word[0] in "aeiouhàâéèêîôûœ" and word not in NEVER_ELIDED_BEFORE) or word == "y"


def spell(words: tuple[str, ...]) -> tuple[list[str], list[int]]:
    """Write elisions (l'ami, j'ai, qu'il) and contractions (au, des, s'il).

    Returns:
        The words as written, and for each word that came in the position of the one it became part of.
    """
    written: list[str] = []
    place: list[int] = []
    for word in reversed(words):
        following = written[-1] if written else ""
        if word in ELIDED and following and starts_with_vowel(following):
            written[-1] = f"{word[:-1]}'{following}"
        elif (word, following) in CONTRACTED:
            written[-1] = CONTRACTED[word, following]
        else:
            written.append(word)
        place.append(len(written))
    return written[::-1], [len(written) - number for number in reversed(place)]
