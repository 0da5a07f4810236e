"""The splits: counts, nothing shared, "my feet hurt" held out, the same everywhere."""

import os
import subprocess
import sys
from collections import Counter
from hashlib import sha256
from itertools import islice
from random import Random

import pytest

from regard.data.phrasebook import CONSTRUCTIONS, HELD_OUT, Example, Splits, draw, splits
from regard.data.phrasebook.corpus import write
from regard.errors import OptionError


@pytest.fixture(scope="module")
def book() -> Splits:
    return splits()


def everything(book: Splits) -> list[Example]:
    return [example for part in book for example in part]


def test_the_sizes_are_those_asked_for(book: Splits) -> None:
    assert [len(part) for part in book] == [20_000, 500, 500]
    assert [len(part) for part in splits(train=31, valid=7, test=5)] == [31, 7, 5]
    assert [len(part) for part in splits(train=3, valid=0, test=0)] == [3, 0, 0]


def test_no_sentence_is_shared_or_repeated_on_either_side(book: Splits) -> None:
    examples = everything(book)
    assert len({example.source for example in examples}) == len(examples)
    assert len({example.target for example in examples}) == len(examples)


def test_my_feet_hurt_is_held_out(book: Splits) -> None:
    assert HELD_OUT.source == "my feet hurt"
    assert HELD_OUT.target == "j'ai mal aux pieds"
    assert book.test[0] == HELD_OUT
    for example in everything(book)[:-500] + book.test[1:]:
        assert "my feet hurt" not in example.source
        assert "j'ai mal aux pieds" not in example.target


@pytest.mark.parametrize("piece", ["my head hurts", "my hands hurt", "his feet hurt", "my feet don't hurt"])
def test_the_pieces_of_what_is_held_out_can_be_learned(piece: str) -> None:
    chance = Random(2)
    said = (example.source for name in ("pain", "pain_denied") for example in drawn_from(name, 4_000, chance))
    assert piece in said


def drawn_from(name: str, count: int, chance: Random) -> list[Example]:
    return [write(CONSTRUCTIONS[name](chance)) for _ in range(count)]


def test_train_teaches_aching_feet_and_who_aches(book: Splits) -> None:
    french = Counter(word for example in book.train for word in example.target.split())
    english = Counter(word for example in book.train for word in example.source.split())
    assert min(french["pieds"], french["mal"], french["aux"], english["feet"], english["hurt"]) > 50


def test_train_has_at_least_four_hundred_english_word_forms(book: Splits) -> None:
    assert len({word for example in book.train for word in example.source.split()}) >= 400


def test_every_construction_is_in_train_and_none_prevails(book: Splits) -> None:
    names = {example.source: name for name, example in islice(draw(Random(1)), 21_000)}
    shares = Counter(names[example.source] for example in book.train)
    assert set(shares) == set(CONSTRUCTIONS)
    assert len(shares) >= 15
    assert max(shares.values()) < 2.5 * min(shares.values())


def test_sentences_have_two_to_forty_words(book: Splits) -> None:
    english = Counter(len(example.source.split(" ")) for example in book.train)
    french = Counter(len(example.target.split(" ")) for example in book.train)
    assert (min(english), max(english)) == (min(french), max(french)) == (2, 40)
    assert all(any(english[n] for n in range(start, start + 3)) for start in range(2, 39))
    assert sum(english[n] for n in range(3, 13)) > 0.9 * len(book.train)


def test_held_out_sentences_are_made_of_words_that_train_uses(book: Splits) -> None:
    english = {word for example in book.train for word in example.source.split()}
    french = {word for example in book.train for word in example.target.split()}
    for example in book.valid + book.test:
        assert english.issuperset(example.source.split()), example.source
        assert french.issuperset(example.target.split()), example.target


def test_one_link_a_french_word_loses_little(book: Splits) -> None:
    """Taking the best English word for each French word can reach an alignment error rate below 0.05."""
    words = sum(len(example.target.split()) for example in book.test)
    links = sum(len(example.alignment) for example in book.test)
    assert 1 - 2 * words / (words + links) < 0.05


def test_the_seed_decides(book: Splits) -> None:
    assert splits(seed=1, train=101, valid=11, test=11) == splits(seed=1, train=101, valid=11, test=11)
    assert splits(seed=1, train=101, valid=11, test=11) != splits(seed=2, train=101, valid=11, test=11)


def test_the_order_of_sets_in_a_process_changes_nothing(book: Splits) -> None:
    script = (
        "from regard.data.phrasebook import splits; from hashlib import sha256;"
        "print(sha256(repr([(s, t, sorted(a)) for part in splits(train=499, valid=13, test=17) for s, t, a in part])"
        ".encode()).hexdigest())"
    )
    small = splits(train=499, valid=13, test=17)
    here = repr([(source, target, sorted(links)) for part in small for source, target, links in part])
    for seed in ("0", "1", "2718"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        found = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        assert found.stdout.strip() == sha256(here.encode()).hexdigest()


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(OptionError, match=r"^valid \(-3\) is a number of sentence pairs: it must be 0 or more\.$"):
        splits(valid=-3)


def test_more_than_the_grammar_can_say_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(CONSTRUCTIONS) - {"clock"}:
        monkeypatch.delitem(CONSTRUCTIONS, name)
    message = r"^train \+ valid \+ test \(1003\) is more than the phrasebook has to say: it ended after \d+\.$"
    with pytest.raises(OptionError, match=message):
        splits(train=1_000, valid=1, test=2)
