import hashlib
import subprocess
import sys
from collections import Counter

import pytest

from regard.data import tokenizer_training
from regard.data.tokenizer_format import SPECIALS, Form, spell
from regard.data.tokenizer_training import train_vocabulary
from regard.data.tokenizers import Tokenizer
from regard.errors import DataError

from .conftest import CORPUS, FORMS

REPEATABLE = """
import hashlib
from regard.data.tokenizer_format import Form
from regard.data.tokenizer_training import train_vocabulary
lines = {lines!r}
found = train_vocabulary(lines, Form({kind!r}), 397)
print(hashlib.sha256(repr(found).encode()).hexdigest())
"""


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_another_process_finds_the_same_vocabulary(kind: str) -> None:
    code = REPEATABLE.format(lines=CORPUS, kind=kind)
    # The hash tables of the tokenizers library are ordered anew in each process, Python's by this variable.
    runs = [
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True)
        for seed in ("2", "3")
    ]
    found = train_vocabulary(CORPUS, Form("bpe" if kind == "bpe" else "unigram"), 397)
    digest = hashlib.sha256(repr(found).encode()).hexdigest()
    assert [run.stdout.decode().strip() for run in runs] == [digest, digest]


@pytest.mark.parametrize("form", FORMS)
def test_a_vocabulary_has_the_size_asked_for(form: Form) -> None:
    vocabulary = train_vocabulary(CORPUS, form, 307)
    assert len(vocabulary.pieces) == len(set(vocabulary.pieces)) == 307
    assert tuple(vocabulary.pieces[:3]) == SPECIALS


@pytest.mark.parametrize("form", FORMS)
def test_a_size_beyond_the_data_takes_what_there_is(form: Form) -> None:
    assert 259 < len(train_vocabulary(["ab ab ab ac ac"], form, 100_003).pieces) < 271


def test_pieces_that_occur_once_are_not_learned() -> None:
    assert train_vocabulary(["abab ab xyz"], Form(), 997).pieces[259:] == ["ab", "Ġab"]


@pytest.mark.parametrize("lines", [[], ["", ""]])
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_no_text_gives_no_tokenizer(lines: list[str], kind: str) -> None:
    with pytest.raises(DataError, match=r"^There is no text to train a tokenizer on: all lines are empty\.$"):
        train_vocabulary(lines, Form("bpe" if kind == "bpe" else "unigram"), 997)


def test_of_too_many_lines_a_fair_sample_is_used() -> None:
    lines = [str(number) for number in range(10_007)]
    assert tokenizer_training._sample(iter(lines), 10_007) == lines
    sample = tokenizer_training._sample(iter(lines), 1009)
    assert sample == tokenizer_training._sample(iter(lines), 1009)
    assert len(set(sample)) == 1009
    tenths = Counter(int(line) // 1001 for line in sample)
    assert all(70 < tenths[tenth] < 140 for tenth in range(10))


def test_training_looks_at_the_beginning_of_overlong_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_training, "_MOST_CHARACTERS", 5)
    pieces = train_vocabulary(["ab ab cd cd"] * 3, Form(), 997).pieces
    assert "Ġab" in pieces
    assert "Ġcd" not in pieces


def test_a_unigram_counts_the_parts_that_the_library_cuts() -> None:
    for form in FORMS:
        tokenizer = tokenizer_training._untrained(form, prepend=True)
        assert tokenizer.normalizer is not None
        assert tokenizer.pre_tokenizer is not None
        parts: Counter[str] = Counter()
        for line in CORPUS:
            cut = tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(line))
            parts.update(part for part, _ in cut)
        assert tokenizer_training._count_parts(CORPUS, form) == parts


def test_a_unigram_needs_no_more_pieces_a_line_than_bpe() -> None:
    lengths = {}
    for kind in ("bpe", "unigram"):
        form = Form("bpe" if kind == "bpe" else "unigram")
        tokenizer = Tokenizer(form, train_vocabulary(CORPUS, form, 397))
        lengths[kind] = sum(len(ids) for ids in tokenizer.encode_ids(CORPUS))
    assert lengths["unigram"] <= 1.03 * lengths["bpe"] < 0.9 * len(spell("".join(CORPUS)))
