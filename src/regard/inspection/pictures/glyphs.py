"""Text made fit to be shown: nothing in it moves a cursor, hides, or turns the text around it.

Tokens come from anywhere. An escape sequence in one would act on the terminal, a bidirectional override would
reorder the line, a lone surrogate cannot be written at all. All pictures show such characters as visible signs.
"""

import re
import unicodedata
from collections.abc import Iterator

_JOINERS = "\u200c\u200d"
"""Format characters that spell: Persian and Indic words and joined emoji need them."""

_FORMAT_BUT_VISIBLE = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd]")
_EMOJI_MODIFIERS = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")
_HIDING = ("Cc", "Cf", "Cs", "Zl", "Zp")


def visible(text: str) -> str:
    """Replace every character that acts instead of showing by a sign for it: escape by ⟨1B⟩, U+202E by ⟨202E⟩.

    Joiners stay, since words are spelled with them; the text is otherwise the same.
    """
    return "".join(map(_sign, text))


def label(word: str) -> str:
    """Return a word as a picture shows it: `visible`, blanks as ␣, nothing as ∅, a lone accent on a ◌."""
    if not word:
        return "∅"
    shown = "".join("␣" if unicodedata.category(character) == "Zs" else _sign(character) for character in word)
    return "◌" + shown if unicodedata.category(shown[0]).startswith("M") or shown[0] in _JOINERS else shown


def clusters(word: str) -> Iterator[str]:
    """Split a word into what a reader takes for one character: a letter with its accents, a joined emoji."""
    cluster = ""
    for character in word:
        joins = unicodedata.category(character).startswith("M") or character in _JOINERS
        if cluster and not joins and not cluster.endswith("\u200d") and not _EMOJI_MODIFIERS.match(character):
            yield cluster
            cluster = ""
        cluster += character
    if cluster:
        yield cluster


def unjoined(word: str) -> str:
    """Take emoji apart, so that every terminal gives them the same width.

    Terminals do not agree on the width of a joined or tinted emoji, and one wrong width shifts a whole row.
    """
    plain = _EMOJI_MODIFIERS.sub("", word)
    return "".join(
        character
        for place, character in enumerate(plain)
        if character != "\u200d" or place == 0 or unicodedata.category(plain[place - 1]) not in ("So", "Sk")
    )


def right_to_left(text: str) -> bool:
    """Say whether the first letter that has a direction runs from right to left."""
    strong = (unicodedata.bidirectional(character) for character in text)
    return next((kind in ("R", "AL") for kind in strong if kind in ("L", "R", "AL")), False)


def _sign(character: str) -> str:
    code = ord(character)
    hides = unicodedata.category(character) in _HIDING or code & 0xFFFE == 0xFFFE
    if not hides or character in _JOINERS or _FORMAT_BUT_VISIBLE.match(character):
        return character
    return f"⟨{code:02X}⟩"
