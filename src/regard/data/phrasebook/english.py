"""How English words change: plurals, verb forms, comparison, a or an. Rules first, then what breaks them."""

import re

PLURALS = {
    "scarf": "scarves",
    "child": "children",
    "foot": "feet",
    "man": "men",
    "tooth": "teeth",
    "tomato": "tomatoes",
    "woman": "women",
}

PASTS = {
    "break": "broke",
    "buy": "bought",
    "come": "came",
    "do": "did",
    "drink": "drank",
    "drive": "drove",
    "eat": "ate",
    "find": "found",
    "forget": "forgot",
    "get": "got",
    "give": "gave",
    "go": "went",
    "have": "had",
    "know": "knew",
    "leave": "left",
    "lose": "lost",
    "make": "made",
    "meet": "met",
    "read": "read",
    "run": "ran",
    "say": "said",
    "see": "saw",
    "sell": "sold",
    "send": "sent",
    "sing": "sang",
    "sleep": "slept",
    "speak": "spoke",
    "swim": "swam",
    "take": "took",
    "think": "thought",
    "wear": "wore",
    "write": "wrote",
}

COMPARISONS = {"good": ("better", "best")}


def _with_s(word: str) -> str:
    """Add the s of plurals and of he, she, it."""
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + ("es" if re.search(r"(s|x|z|ch|sh|go|do)$", word) else "s")


def _before_vowel(word: str) -> str:
    """Prepare a word for -ing, -er or -ed: drop a silent e, double the end of a short word."""
    if word.endswith("e") and not word.endswith("ee"):
        return word[:-1]
    return word + word[-1] if re.fullmatch(r"[^aeiou]*[aeiou][^aeiouwxy]", word) else word


def plural(noun: str) -> str:
    """Give the plural of a noun."""
    return PLURALS.get(noun) or _with_s(noun)


def third(verb: str) -> str:
    """Give the form of he, she, it: eats, goes, has."""
    return "has" if verb == "have" else _with_s(verb)


def ing(verb: str) -> str:
    """Give the -ing form: eating, writing, swimming."""
    return _before_vowel(verb) + "ing"


def past(verb: str) -> str:
    """Give the simple past: ate, washed, cried."""
    if verb in PASTS:
        return PASTS[verb]
    return verb[:-1] + "ied" if re.search(r"[^aeiou]y$", verb) else _before_vowel(verb) + "ed"


def compare(adjective: str) -> tuple[str, str]:
    """Give comparative and superlative: (older, oldest), (more modern, most modern)."""
    if adjective in COMPARISONS:
        return COMPARISONS[adjective]
    if adjective.endswith("y"):
        return adjective[:-1] + "ier", adjective[:-1] + "iest"
    if len(re.findall(r"[aeiou]+", adjective.removesuffix("e"))) == 1:
        stem = _before_vowel(adjective)
        return stem + "er", stem + "est"
    return "more " + adjective, "most " + adjective


def article(following: str) -> str:
    """Choose between a and an by the word that follows."""
    return "an" if following[0] in "aeiou" else "a"
