"""Other spellings: what they keep, what they change, and what they depend on."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regard.data.spellings import RespelledSet, Spellings, merged
from regard.data.text import Pairs
from regard.data.tokenizers import Tokenizer, TokenizerConfig, TokenizerPair
from regard.errors import OptionError

LINES = ["the cat sleeps on the mat", "the mats  of the cats", "a cat is no mat.", "Ça va ? don't", "x"] * 7
TOKENIZER = Tokenizer.train(LINES, TokenizerConfig(vocab_size=320))
BLANKS = Tokenizer.train(LINES, TokenizerConfig(vocab_size=320, split="blanks", lowercase=True))


def spellings(dropout: float, *, tokenizer: Tokenizer = TOKENIZER, max_length: int = 1_000, seed: int = 1) -> Spellings:
    return Spellings(tokenizer, LINES, dropout=dropout, max_length=max_length, seed=seed)


@pytest.mark.parametrize("tokenizer", [TOKENIZER, BLANKS], ids=["text", "blanks"])
def test_nothing_left_out_is_what_the_tokenizer_writes(tokenizer: Tokenizer) -> None:
    rows = spellings(0.0, tokenizer=tokenizer).epoch(3)
    assert [rows[n] for n in range(len(LINES))] == list(tokenizer.encode_ids(LINES))


@given(text=st.text(st.characters(exclude_characters="\n ", exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_plain_merging_is_the_librarys(text: str) -> None:
    pieces = {piece: number for number, piece in enumerate(TOKENIZER.vocabulary.pieces)}
    ranks = {pair: rank for rank, pair in enumerate(TOKENIZER.vocabulary.merges)}
    found = [pieces[piece] for part in TOKENIZER.parts(text) for piece in merged(part, ranks, 0.0, lambda: 1.0)]
    assert found == TOKENIZER.encode(text).ids


@given(dropout=st.floats(0, 0.99), epoch=st.integers(0, 1000))
def test_every_spelling_is_of_the_same_text(dropout: float, epoch: int) -> None:
    rows = spellings(dropout).epoch(epoch)
    assert [TOKENIZER.decode(rows[n]) for n in range(len(LINES))] == LINES


def test_epochs_differ_and_come_back_alike() -> None:
    first, again, other = spellings(0.3), spellings(0.3), spellings(0.3, seed=2)
    assert torch.equal(first.epoch(5).ids, again.epoch(5).ids)
    assert not torch.equal(first.epoch(5).ids, first.epoch(6).ids)
    assert not torch.equal(first.epoch(5).ids, other.epoch(5).ids)
    assert torch.equal(first.epoch(5).ids, first.epoch(5).ids), "an epoch depends on none before it"


def test_a_merge_is_left_out_as_often_as_is_said() -> None:
    draws = iter([0.05, 0.5, 0.11, 0.09, 0.1] * 1_000)
    found = Counter("".join(merged("ab", {("a", "b"): 0}, 0.1, lambda: next(draws))) for _ in range(7))
    assert found == {"ab": 7}, "letters are never lost"
    draws = iter([0.05, 0.5, 0.11, 0.09, 0.1] * 1_000)
    counts = Counter(len(merged("ab", {("a", "b"): 0}, 0.1, lambda: next(draws))) for _ in range(1_000))
    assert counts == {1: 600, 2: 400}, "what is drawn below the share leaves a merge out"


def test_merges_go_by_rank_and_then_from_the_left() -> None:
    ranks = {("b", "c"): 0, ("a", "b"): 1, ("a", "bc"): 2}
    assert merged("abcab", ranks, 0.0, lambda: 1.0) == ["abc", "ab"]
    assert merged("aaa", {("a", "a"): 0}, 0.0, lambda: 1.0) == ["aa", "a"]


def test_a_line_that_would_be_too_long_is_spelled_plainly() -> None:
    plain = list(TOKENIZER.encode_ids(LINES))
    longest = max(map(len, plain))
    rows = spellings(0.9, max_length=longest).epoch(2)
    assert rows.lengths.max() <= longest
    assert rows[0] == plain[0]
    assert any(rows[n] != plain[n] for n in range(len(LINES)))


def test_both_sides_are_spelled_anew_and_stay_together() -> None:
    pairs = Pairs(LINES, LINES[::-1], range(11, 11 + len(LINES)))
    respelled = RespelledSet(pairs, TokenizerPair(TOKENIZER, TOKENIZER), dropout=0.5, max_length=100, seed=1).epoch(1)
    assert respelled.lines.tolist() == list(range(11, 11 + len(LINES)))
    for number, (source, target) in enumerate(zip(pairs.sources, pairs.targets, strict=True)):
        ids = respelled[number]
        assert (TOKENIZER.decode(ids[0]), TOKENIZER.decode(ids[1])) == (source, target)


def test_only_bpe_has_merges_to_leave_out() -> None:
    unigram = Tokenizer.train(LINES, TokenizerConfig(kind="unigram", vocab_size=320))
    with pytest.raises(OptionError, match=r"Only a BPE tokenizer has merges to leave out; this one is unigram\."):
        spellings(0.1, tokenizer=unigram)
