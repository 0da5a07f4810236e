import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel

from regard.data.tokenizer_format import (
    BYTE_LETTERS,
    LETTER_BYTES,
    SPECIALS,
    Form,
    Vocabulary,
    document_of,
    parse_document,
    spell,
)
from regard.data.tokenizers import Tokenizer
from regard.errors import DamagedError

from .conftest import FORMS

LETTERS = list(BYTE_LETTERS.values())
BPE = Vocabulary([*SPECIALS, *LETTERS, "ab", "abc"], merges=[("a", "b"), ("ab", "c")])
UNIGRAM = Vocabulary([*SPECIALS, *LETTERS, "ab"], scores=[0.0] * 3 + [-9.5] * 256 + [-3.0])

Document = dict[str, Any]
RUNAWAY = {"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated", "invert": False}


def vocabulary_for(form: Form) -> Vocabulary:
    return BPE if form.kind == "bpe" else UNIGRAM


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_is_read_again(form: Form) -> None:
    text = json.dumps(document_of(form, vocabulary_for(form)))
    assert parse_document(text) == (form, vocabulary_for(form))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_bytes_are_spelled_as_the_library_spells_them(text: str) -> None:
    parts = ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)
    assert spell(text) == "".join(part for part, _ in parts)
    assert bytes(LETTER_BYTES[letter] for letter in spell(text)) == text.encode()


def test_no_text_can_be_spelled_with_the_names_of_special_tokens() -> None:
    assert sorted(ByteLevel.alphabet()) == sorted(LETTERS)
    assert all(set(name) - set(LETTERS) for name in SPECIALS)


def change_model(**values: object) -> Callable[[Document], object]:
    return lambda document: document["model"].update(values)


def change(**values: object) -> Callable[[Document], object]:
    return lambda document: document.update(values)


def change_vocab(action: Callable[[dict[str, Any]], object]) -> Callable[[Document], object]:
    return lambda document: action(document["model"]["vocab"])


HOSTILE: dict[str, tuple[Callable[[Document], object], str]] = {
    "another regular expression": (change(pre_tokenizer=RUNAWAY), "its pre_tokenizer would be another"),
    "another one in the sequence": (
        lambda document: document["pre_tokenizer"]["pretokenizers"].insert(0, RUNAWAY),
        "its pre_tokenizer would be another",
    ),
    "a regular expression that replaces": (
        change(normalizer={"type": "Replace", "pattern": {"Regex": "(a*)*b"}, "content": ""}),
        "its normalizer would be another",
    ),
    "a binary table": (change(normalizer={"type": "Precompiled", "precompiled_charsmap": "AA=="}), "its normalizer"),
    "no normalizer": (change(normalizer=None), "its normalizer would be another"),
    "a number for a truth value": (
        lambda document: document["pre_tokenizer"]["pretokenizers"][0].update(invert=0),
        "its pre_tokenizer would be another",
    ),
    "more than it needs": (change(extra=1), "its extra would be another"),
    "less than it needs": (lambda document: document.pop("decoder"), "its decoder would be another"),
    "another model": (change_model(type="WordPiece"), "its model would be another"),
    "a model with dropout": (change_model(dropout=0.5), "its model would be another"),
    "truncation": (change(truncation={"max_length": 1}), "its truncation would be another"),
    "other special tokens": (lambda document: document["added_tokens"].pop(), "its added_tokens would be another"),
    "no table": (change_model(vocab=[1, 2]), "the vocabulary is not a table of pieces and ids"),
    "truth values for ids": (
        change_vocab(lambda vocab: vocab.update({SPECIALS[1]: True})),
        "the vocabulary is not a table of pieces and ids",
    ),
    "a huge id": (
        change_vocab(lambda vocab: vocab.update(ab=2**64)),
        "ids of the vocabulary are not 0 to 260, each once",
    ),
    "a negative id": (change_vocab(lambda vocab: vocab.update(ab=-1)), "ids of the vocabulary are not 0 to 260"),
    "an id twice": (change_vocab(lambda vocab: vocab.update(ab=5)), "ids of the vocabulary are not 0 to 260"),
    "a byte that is missing": (
        change_vocab(lambda vocab: vocab.update(zz=vocab.pop("z"))),
        "1 of the 256 bytes are not among the pieces",
    ),
    "special tokens elsewhere": (
        change_vocab(lambda vocab: vocab.update({SPECIALS[0]: 1, SPECIALS[1]: 0})),
        "do not begin with ⟨pad⟩, ⟨s⟩, ⟨/s⟩",
    ),
    "a foreign piece": (
        lambda document: document["model"].update(vocab=document["model"]["vocab"] | {"日本": 261}),
        "the piece '日本' is not spelled in the byte alphabet",
    ),
    "an empty piece": (change_vocab(lambda vocab: vocab.update({"": 261})), "the piece '' is not spelled"),
    "merges that are no list": (change_model(merges="a b"), "the merges are not a list"),
    "a merge of one": (change_model(merges=[["a", "b"], ["a"]]), "merge 1 is not a pair of pieces"),
    "a merge in the old style": (change_model(merges=["a b"]), "merge 0 is not a pair of pieces"),
    "a merge of nothing known": (change_model(merges=[["a", "c"]]), "merge 0 is of pieces outside the vocabulary"),
}


@pytest.mark.parametrize(("spoil", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_document_is_refused_before_the_library_sees_it(
    spoil: Callable[[Document], object], reason: str
) -> None:
    document = json.loads(json.dumps(document_of(Form(), BPE)))
    spoil(document)
    with pytest.raises(DamagedError) as raised:
        parse_document(json.dumps(document), "there/tokenizer.json")
    assert str(raised.value).startswith("there/tokenizer.json")
    assert reason in str(raised.value)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -(10**400), "1", None, True, [1]])
def test_a_score_that_is_no_number_is_refused(score: object) -> None:
    document = document_of(Form("unigram"), UNIGRAM)
    document["model"]["vocab"][5][1] = score
    with pytest.raises(DamagedError, match="is not a list of pieces and their log-probabilities"):
        parse_document(json.dumps(document))


def test_a_piece_that_stands_twice_is_refused() -> None:
    document = document_of(Form("unigram"), UNIGRAM)
    document["model"]["vocab"][-1][0] = "a"
    with pytest.raises(DamagedError, match="or one of them stands twice"):
        parse_document(json.dumps(document))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not valid JSON"),
        ("[" * 200_000, "is not valid JSON"),
        ('{"model":' * 200_000, "is not valid JSON"),
        ("null", "is not a tokenizer: it is no JSON object with a model"),
        ('{"model": 3}', "is not a tokenizer: it is no JSON object with a model"),
        ('{"model": ' + "[" * 900 + "]" * 900 + "}", "is not a tokenizer: it is no JSON object with a model"),
        ('{"model": {"vocab": ' + "[" * 900 + "]" * 900 + "}}", "is not a tokenizer that regard wrote"),
        ('{"model": {"vocab": ' + "9" * 5000 + "}}", "is not valid JSON"),
    ],
)
def test_text_that_is_no_document_is_refused(text: str, reason: str) -> None:
    with pytest.raises(DamagedError, match=f"^tokenizer.json {reason}"):
        parse_document(text)


def test_a_vocabulary_beyond_all_measure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regard.data.tokenizer_format.LARGEST_VOCABULARY", 260)
    with pytest.raises(DamagedError, match=r"^tokenizer\.json has 261 pieces; 260 are allowed\.$"):
        parse_document(json.dumps(document_of(Form(), BPE)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(FORMS))
def test_a_damaged_file_is_refused_or_still_gives_every_text_back(data: st.DataObject, form: Form) -> None:
    text = json.dumps(document_of(form, vocabulary_for(form)), ensure_ascii=False)
    place = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(0, 7))
    spoiled = text[:place] + data.draw(st.text('"[]{}:,019-eabc\\Ġ⟨', max_size=3)) + text[place + length :]
    try:
        tokenizer = Tokenizer.from_json(spoiled)
    except DamagedError:
        return
    line = "abc cab été \x00"
    assert tokenizer.decode(tokenizer.encode(line).ids) == line
