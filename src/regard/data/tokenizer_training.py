"""Training of a tokenizer's vocabulary from lines of text."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import tokenizers
from tokenizers import trainers

from regard.data.tokenizer_format import BYTE_LETTERS, SPECIALS, Form, Vocabulary, document_of
from regard.data.unigram import train_unigram
from regard.errors import DataError

SMALLEST_VOCABULARY = len(SPECIALS) + len(BYTE_LETTERS)

_MOST_LINES = 1_000_000  # a random sample beyond that: more lines change the frequent pieces little and cost memory
_MOST_CHARACTERS = 10_000  # of a line
_MOST_WORDS = 200_000  # the most frequent ones, for a unigram vocabulary
_SEEDS_PER_PIECE = 4


def train_vocabulary(lines: Iterable[str], form: Form, size: int) -> Vocabulary:
    """Find the pieces of a vocabulary of at most `size`; fewer where the text has no more that occur twice.

    The same lines give the same vocabulary. Of more than 1,000,000 lines a random million is used, of a line its
    first 10,000 characters, of a unigram's words the 200,000 most frequent: so memory is bounded.

    Raises:
        DataError: There is no text.
    """
    sample = [line[:_MOST_CHARACTERS] for line in _sample(lines, _MOST_LINES)]
    if not any(sample):
        raise DataError("There is no text to train a tokenizer on: all lines are empty.")
    if form.kind == "bpe":
        return _train_bpe(sample, form, size)
    counts = _count_parts(sample, form)
    seeds = _train_bpe(sample, form, _SEEDS_PER_PIECE * size).pieces[SMALLEST_VOCABULARY:]
    scores = train_unigram(counts, seeds, list(BYTE_LETTERS.values()), size=size - len(SPECIALS))
    return Vocabulary([*SPECIALS, *scores], scores=[*(0.0 for _ in SPECIALS), *scores.values()])


def _sample(lines: Iterable[str], count: int) -> list[str]:
    """Draw lines without replacement in one pass (Vitter 1985, algorithm R); all of them if they are few."""
    random = np.random.default_rng(0)
    kept: list[str] = []
    for number, line in enumerate(lines):
        if number < count:
            kept.append(line)
        elif (place := int(random.integers(number + 1))) < count:
            kept[place] = line
    return kept


def _train_bpe(lines: list[str], form: Form, size: int) -> Vocabulary:
    tokenizer = _untrained(form, prepend=True)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=list(SPECIALS),
        initial_alphabet=list(BYTE_LETTERS.values()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return Vocabulary(pieces, [(first, second) for first, second in model["merges"]])


def _count_parts(lines: list[str], form: Form) -> dict[str, int]:
    """Count the parts that lines are cut into, spelled in the byte alphabet; the most frequent ones."""
    tokenizer = _untrained(form, prepend=False)
    assert tokenizer.normalizer is not None
    assert tokenizer.pre_tokenizer is not None
    parts: Counter[str] = Counter()
    for word, times in Counter(_blank_words(lines)).items():
        normal = tokenizer.normalizer.normalize_str(f" {word}")
        for part, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal):
            parts[part] += times
    return dict(sorted(parts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_WORDS])


def _blank_words(lines: list[str]) -> Iterator[str]:
    """Cut lines before each ASCII blank, where every form cuts as well."""
    for line in lines:
        yield from line.split(" ")


def _untrained(form: Form, *, prepend: bool) -> tokenizers.Tokenizer:
    """Make a tokenizer that cuts lines as the form says and knows no piece yet."""
    document = document_of(form._replace(kind="bpe"), Vocabulary(SPECIALS), prepend=prepend)
    return tokenizers.Tokenizer.from_str(json.dumps(document))
