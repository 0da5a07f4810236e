"""A phrase in both languages with the links between its words, and the templates that build one.

A template writes the two sides next to each other. Raised numbers say which words translate each other, a slot
in braces is named after an example of what fills it:

    compose("{my}¹ {feet}² {hurt}³", "{je}¹ {ai}³ mal³ à² {les}² {pieds}²",
            my="my", feet="feet", hurt="hurt", je="je", ai="ai", les="les", pieds="pieds")

A slot is filled by a string, whose words take the numbers behind the slot, or by another phrase, which brings its
own links along. So every link of a sentence was written down by hand, in a template, and none is guessed.
"""

import re
from functools import cache
from typing import NamedTuple

_NUMBERS = "¹²³⁴⁵⁶⁷⁸⁹"
_ITEM = re.compile(rf"(\{{)?([^{{}}{_NUMBERS}]+)\}}?([{_NUMBERS}]*)")


class Phrase(NamedTuple):
    """Words of both sides and the links (English position, French position) between them.

    The French words are whole: "je ai", "à les pieds". `french.spell` writes "j'ai" and "aux pieds" at the end.
    """

    english: tuple[str, ...] = ()
    french: tuple[str, ...] = ()
    links: tuple[tuple[int, int], ...] = ()


EMPTY = Phrase()


class _Item(NamedTuple):
    """One word or slot of a template."""

    text: str
    is_slot: bool
    numbers: str


@cache
def _items(template: str) -> tuple[_Item, ...]:
    """Split a template into its words and slots; templates are few, so each is split once."""
    matches = [_ITEM.fullmatch(part) for part in template.split()]
    assert all(matches), f"not a template: {template}"
    return tuple(_Item(match[2], bool(match[1]), match[3]) for match in matches if match)


def compose(english: str, french: str, /, **slots: Phrase | str) -> Phrase:
    """Build a phrase from a template for each side and what fills the slots.

    A number of the French side must stand on a word of the English side; an empty string in a slot leaves no word.
    """
    source: list[str] = []
    numbered: dict[str, list[int]] = {}
    starts: dict[str, int] = {}
    for text, is_slot, numbers in _items(english):
        filling = slots[text] if is_slot else text
        if isinstance(filling, Phrase):
            starts[text] = len(source)
            source += filling.english
            continue
        for word in filling.split():
            for number in numbers:
                numbered.setdefault(number, []).append(len(source))
            source.append(word)

    target: list[str] = []
    links: list[tuple[int, int]] = []
    for text, is_slot, numbers in _items(french):
        filling = slots[text] if is_slot else text
        if isinstance(filling, Phrase):
            links += [(starts[text] + i, len(target) + j) for i, j in filling.links]
            target += filling.french
            continue
        for word in filling.split():
            links += [(i, len(target)) for number in numbers for i in numbered[number]]
            target.append(word)
    return Phrase(tuple(source), tuple(target), tuple(links))


def word(english: str, french: str) -> Phrase:
    """A fixed expression in which all words translate each other: tonight, ce soir."""
    return compose("{english}¹", "{french}¹", english=english, french=french)


def join(*phrases: Phrase) -> Phrase:
    """Put phrases one after the other, in the same order on both sides."""
    slots = {f"p{number}": phrase for number, phrase in enumerate(phrases)}
    template = " ".join(f"{{{name}}}" for name in slots)
    return compose(template, template, **slots)
