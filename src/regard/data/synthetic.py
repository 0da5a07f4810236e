"""Made-up tasks whose right answer is known word by word: copy a sentence, or write it backwards.

They have what collected text lacks: long sentences in any number, and an exact alignment of each. So they show what
a model does with length, at lengths that it has learned and at longer ones.
"""

import random
from collections.abc import Callable, Sequence
from itertools import product
from typing import Literal, NamedTuple, get_args

from regard.data.text import Pairs
from regard.errors import OptionError

Task = Literal["copy", "reverse"]

CONSONANTS, VOWELS = "bdfgklmnprst", "aeiou"
MOST_WORDS = (len(CONSONANTS) * len(VOWELS)) ** 2
"""So many words of two syllables there are."""


class SyntheticExample(NamedTuple):
    """A pair with its alignment.

    Attributes:
        source: Words, separated by blanks.
        target: The same words in the task's order.
        alignment: Links (position of the source word, position of the target word), from 0.
    """

    source: str
    target: str
    alignment: frozenset[tuple[int, int]]


class SyntheticSplits(NamedTuple):
    """Examples to learn from, to choose by and to score; no sentence is in two of them, or twice in one."""

    train: list[SyntheticExample]
    valid: list[SyntheticExample]
    test: list[SyntheticExample]


def synthetic_splits(
    task: Task,
    *,
    max_words: int = 20,
    test_max_words: int | None = None,
    vocabulary: int = 50,
    train: int = 20_000,
    valid: int = 500,
    test: int = 500,
    seed: int = 1,
) -> SyntheticSplits:
    """Make examples whose lengths are spread evenly; they depend on the arguments alone.

    The test set is drawn first, so that it has its share of the short sentences, of which there are few.

    Args:
        task: What the target is.
        max_words: The longest sentence to learn from and to choose by.
        test_max_words: The longest sentence of the test set; None takes `max_words`.
        vocabulary: How many different words there are.
        train: Examples to learn from.
        valid: Examples to choose by.
        test: Examples to score.
        seed: Of the draw.
    """
    longest = max_words if test_max_words is None else test_max_words
    check_sizes(task, vocabulary, max_words, longest, train + valid + test)
    generator = random.Random(seed)  # noqa: S311 (no secret)
    words = made_up_words(vocabulary, generator)
    seen: set[str] = set()

    def draw(count: int, most_words: int) -> list[SyntheticExample]:
        return [example(task, fresh_words(words, most_words, seen, generator)) for _ in range(count)]

    tested = draw(test, longest)
    chosen = draw(valid, max_words)
    return SyntheticSplits(draw(train, max_words), chosen, tested)


def check_sizes(task: str, vocabulary: int, max_words: int, longest: int, wanted: int) -> None:
    """Refuse what cannot be drawn."""
    if task not in get_args(Task):
        raise OptionError(f"task {task!r} is unknown; there are {' and '.join(get_args(Task))}.")
    if not 2 <= vocabulary <= MOST_WORDS:
        raise OptionError(f"vocabulary must lie between 2 and {MOST_WORDS:,}; it is {vocabulary:,}.")
    if max_words < 1 or longest < 1:
        raise OptionError(f"max_words and test_max_words must be at least 1; they are {max_words} and {longest}.")
    there_are = vocabulary ** min(max_words, longest)
    if 2 * wanted > there_are:
        raise OptionError(
            f"{wanted:,} different sentences are more than half of the {there_are:,} that have "
            f"{min(max_words, longest)} of {vocabulary} words. Ask for fewer, or for longer ones."
        )


def made_up_words(count: int, generator: random.Random) -> list[str]:
    """Choose words of two syllables, such as "bami"."""
    syllables = ["".join(letters) for letters in product(CONSONANTS, VOWELS)]
    return generator.sample(["".join(pair) for pair in product(syllables, repeat=2)], count)


def fresh_words(words: Sequence[str], most_words: int, seen: set[str], generator: random.Random) -> list[str]:
    """Draw a length, then words, until the sentence is a new one."""
    while True:
        drawn = generator.choices(words, k=generator.randint(1, most_words))
        sentence = " ".join(drawn)
        if sentence not in seen:
            seen.add(sentence)
            return drawn


def example(task: Task, words: Sequence[str]) -> SyntheticExample:
    """Write the target, and link each of its words to the one that it repeats."""
    place: dict[Task, Callable[[int], int]] = {"copy": lambda i: i, "reverse": lambda i: len(words) - 1 - i}
    taken = [place[task](i) for i in range(len(words))]
    target = " ".join(words[source] for source in taken)
    return SyntheticExample(" ".join(words), target, frozenset((source, i) for i, source in enumerate(taken)))


def as_pairs(examples: Sequence[SyntheticExample]) -> Pairs:
    """Take the pairs without their alignments."""
    return Pairs([one.source for one in examples], [one.target for one in examples])
