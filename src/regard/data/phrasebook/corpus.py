"""Draws the phrasebook: distinct sentences, balanced over the constructions, split so that no side is shared."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random
from typing import NamedTuple

from regard.data.phrasebook.french import spell
from regard.data.phrasebook.grammar import CONSTRUCTIONS
from regard.data.phrasebook.idioms import hurting
from regard.data.phrasebook.lexicon import NOUNS
from regard.data.phrasebook.nominals import PRONOUNS
from regard.data.phrasebook.phrase import Phrase
from regard.errors import OptionError

LONGEST = 40
_ATTEMPTS = 3
_SELDOM = 4


class Example(NamedTuple):
    """A sentence pair with its gold alignment.

    Attributes:
        source: English words, separated by blanks.
        target: French words, separated by blanks.
        alignment: Links (position of the English word, position of the French word), from 0.
    """

    source: str
    target: str
    alignment: frozenset[tuple[int, int]]


class Splits(NamedTuple):
    """Three lists of examples that share no English and no French sentence."""

    train: list[Example]
    valid: list[Example]
    test: list[Example]


def write(phrase: Phrase) -> Example:
    """Write a phrase as a sentence: whole French words become j'ai, l'ami, aux, and keep all their links."""
    words, place = spell(phrase.french)
    links = frozenset([(i, place[j]) for i, j in phrase.links])
    return Example(" ".join(phrase.english), " ".join(words), links)


# "my feet hurt" is for the test alone: nothing else that is drawn contains it, on either side.
HELD_OUT = write(hurting(PRONOUNS["i"], NOUNS["foot"], is_plural=True))


def _is_admitted(example: Example) -> bool:
    is_short = example.source.count(" ") < LONGEST and example.target.count(" ") < LONGEST
    return is_short and HELD_OUT.source not in example.source and HELD_OUT.target not in example.target


def draw(chance: Random) -> Iterator[tuple[str, Example]]:
    """Draw sentences, new on both sides, one of each construction in turn, with the name of the construction.

    A construction that has nothing new to say in a few attempts is passed over. When none has, the stream ends.
    """
    seen = {HELD_OUT.source, HELD_OUT.target}
    is_fresh = True
    while is_fresh:
        is_fresh = False
        for name, construction in CONSTRUCTIONS.items():
            for _ in range(_ATTEMPTS):
                example = write(construction(chance))
                if example.source in seen or example.target in seen or not _is_admitted(example):
                    continue
                seen |= {example.source, example.target}
                is_fresh = True
                yield name, example
                break


def splits(*, seed: int = 1, train: int = 20_000, valid: int = 500, test: int = 500) -> Splits:
    """Draw a training, a validation and a test set that share no English and no French sentence.

    The same seed gives the same sentences on every machine. The test set opens with "my feet hurt". Sentences with a
    very rare word are all for training: the others ask to put known words together in a new way.
    """
    sizes = {"train": train, "valid": valid, "test": test}
    for name, size in sizes.items():
        if size < 0:
            raise OptionError(f"{name} ({size}) is a number of sentence pairs: it must be 0 or more.")
    wanted = sum(sizes.values())
    chance = Random(seed)  # noqa: S311 (nothing here is secret)
    examples = [example for _, example in islice(draw(chance), wanted)]
    if len(examples) < wanted:
        raise OptionError(
            f"train + valid + test ({wanted}) is more than the phrasebook has to say: it ended after {len(examples)}."
        )
    chance.shuffle(examples)
    examples.sort(key=_seldomness(examples))
    held_out, rest = [HELD_OUT, *examples][:test], examples[max(test - 1, 0) :]
    return Splits(train=rest[valid : valid + train], valid=rest[:valid], test=held_out)


def _seldomness(examples: list[Example]) -> Callable[[Example], bool]:
    """Tell the sentences with a word that hardly any other sentence has."""
    frequency = Counter(word for example in examples for word in example.source.split() + example.target.split())
    seldom = {word for word, count in frequency.items() if count < _SELDOM}
    return lambda example: not seldom.isdisjoint(example.source.split() + example.target.split())
