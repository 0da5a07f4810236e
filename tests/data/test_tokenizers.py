import doctest
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers as library
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regard.data import tokenizers as module
from regard.data.text import Pairs, split_words
from regard.data.tokenizer_format import SPECIALS, Form
from regard.data.tokenizers import Encoding, Tokenizer, TokenizerConfig, TokenizerPair
from regard.errors import DamagedError, InputError, OptionError, WorkError

from .conftest import CORPUS, train

STRANGE = [
    "",
    " ",
    "   ",
    "\u00a0",
    "a",
    " a",
    "a  b",
    "  a   b  ",
    "\ta\t",
    "a\u00a0b\u202f!",
    "\u3000a\u3000",
    "\x00",
    "a\x00b \x00",
    "a\u2028b",
    "a\u0085b\x0cc\x0bd",
    "a\rb\r",
    "⟨s⟩ ⟨/s⟩⟨pad⟩ <s> <unk> </s>",
    "don't 'quote' l'homme d&apos; un ''''",
    "12345 3.14 1,000",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \ufe0f e\u0301\u0301",
    "\ufeffa \uffff \U0010ffff",
    "عربي עברית हिन्दी ภาษาไทย 한국어",
    "x" * 997,
    "é" * 211 + " " + "漢" * 103,
]

anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n")) | st.text(
    "ab'É1.! \t\u00a0\u3000"
)
some = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)


def assert_words_are_right(text: str, encoding: Encoding) -> None:
    """Every id belongs to a word, every word has an id, in order."""
    assert len(encoding.words) == len(encoding.ids)
    assert encoding.words == sorted(encoding.words)
    assert sorted(set(encoding.words)) == list(range(len(split_words(text)) or bool(text)))


def lowered(text: str) -> str:
    return "".join(letter.lower() for letter in text)


@pytest.mark.parametrize("text", STRANGE)
def test_strange_texts_come_back(text: str, tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode(text)
    assert tokenizer.decode(encoding.ids) == (lowered(text) if tokenizer.form.lowercase else text)
    assert_words_are_right(text, encoding)


@some
@given(text=anything)
def test_any_text_comes_back_with_its_words(text: str, tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode(text)
    if not tokenizer.form.lowercase:
        assert tokenizer.decode(encoding.ids) == text
    assert_words_are_right(text, encoding)


@some
@given(text=anything)
def test_the_library_alone_encodes_and_decodes_in_the_same_way(text: str, tokenizer: Tokenizer) -> None:
    alone = library.Tokenizer.from_str(tokenizer.to_json())
    alone.encode_special_tokens = True
    ids = tokenizer.encode(text).ids
    assert alone.encode(text, add_special_tokens=False).ids == ids
    assert alone.encode(text).ids == [*ids, tokenizer.eos_id]
    assert alone.decode([tokenizer.bos_id, *ids, tokenizer.eos_id, tokenizer.pad_id]) == tokenizer.decode(ids)


@some
@given(texts=st.lists(anything, max_size=5))
def test_encoding_many_is_encoding_each(texts: list[str], tokenizer: Tokenizer) -> None:
    encodings = tokenizer.encode_batch(texts)
    assert encodings == [tokenizer.encode(text) for text in texts]
    assert list(tokenizer.encode_ids(texts)) == [encoding.ids for encoding in encodings]


@pytest.mark.parametrize("form", [Form("bpe", "text"), Form("unigram", "blanks")])
def test_overlong_texts_and_a_full_memory_change_no_word(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit in (("_LONGEST_PART", 7), ("_GROUP", 11), ("_MOST_REMEMBERED", 5), ("_LONGEST_REMEMBERED", 3)):
        monkeypatch.setattr(module, name, limit)
    tokenizer = train(form)
    for text, encoding in zip(STRANGE, tokenizer.encode_batch(STRANGE), strict=True):
        assert tokenizer.decode(encoding.ids) == text
        assert_words_are_right(text, encoding)
    assert len(tokenizer._remembered) <= 5 + 11


def test_a_line_of_a_megabyte_comes_back(tokenizers: dict[Form, Tokenizer]) -> None:
    for text in ("é" * 500_000, " " * 1_000_000, "ab\u00a0c " * 200_000):
        encoding = tokenizers[Form()].encode(text)
        assert tokenizers[Form()].decode(encoding.ids) == text
        assert_words_are_right(text, encoding)


def test_words_are_those_of_the_blanks(tokenizers: dict[Form, Tokenizer]) -> None:
    for tokenizer in tokenizers.values():
        encoding = tokenizer.encode("  İİ, \u00a0l'été  ")
        numbered = list(zip(*encoding, strict=True))
        parts = [tokenizer.decode([number for number, word in numbered if word == index]) for index in (0, 1)]
        assert [part.strip() for part in parts] == (["i̇i̇,", "l'été"] if tokenizer.form.lowercase else ["İİ,", "l'été"])


def test_text_that_is_tokenized_already_keeps_its_escapes_whole(tokenizers: dict[Form, Tokenizer]) -> None:
    tokenizer = train(Form("bpe", "blanks"), ["l&apos; homme &amp; l&quot; eau"] * 7)
    pieces = [tokenizer.token(number) for number in tokenizer.encode("l&apos; eau &amp;").ids]
    assert pieces == ["▁l&apos;", "▁eau", "▁&amp;"]


def test_digits_and_punctuation_stand_apart_in_raw_text() -> None:
    tokenizer = train(Form("bpe", "text"), ["in 1984, aujourd'hui (vraiment)!"] * 7, 997)
    pieces = [tokenizer.token(number) for number in tokenizer.encode("in 1984, aujourd'hui (vraiment)!").ids]
    assert pieces == ["▁in", "▁1", "9", "8", "4", ",", "▁aujourd'hui", "▁(", "vraiment", ")!"]


def test_decoding_never_gives_a_line_feed_nor_fails_on_broken_bytes(tokenizers: dict[Form, Tokenizer]) -> None:
    tokenizer = tokenizers[Form()]
    byte = {tokenizer.token(number): number for number in range(tokenizer.vocab_size)}
    line_feed, carriage_return, first_half = (byte[f"<0x{code}>"] for code in ("0A", "0D", "C3"))
    assert tokenizer.decode([byte["a"], carriage_return, line_feed, byte["b"], first_half]) == "a\r b\ufffd"
    assert tokenizer.decode([tokenizer.bos_id, byte["a"], tokenizer.eos_id, tokenizer.pad_id]) == "a"
    assert tokenizer.decode([]) == ""


@pytest.mark.parametrize("number", [-1, 100_000])
def test_an_id_outside_the_vocabulary_is_refused(number: int, tokenizers: dict[Form, Tokenizer]) -> None:
    tokenizer = tokenizers[Form()]
    last = tokenizer.vocab_size - 1
    with pytest.raises(InputError, match=rf"^Id {number} is outside the vocabulary, which has ids 0 to {last}\.$"):
        tokenizer.decode([5, number])


@pytest.mark.parametrize("call", [Tokenizer.encode, lambda tokenizer, text: list(tokenizer.encode_ids(["a", text]))])
def test_half_characters_are_refused(call: Callable[[Tokenizer, str], object], tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match=r"^A text holds half of a character \(a lone surrogate\), .*: ' b\\udc00'\.$"):
        call(tokenizer, "a b\udc00 c")


def test_pieces_can_be_read(tokenizers: dict[Form, Tokenizer]) -> None:
    tokenizer = tokenizers[Form()]
    assert [tokenizer.token(number) for number in range(3)] == list(SPECIALS)
    tokens = [tokenizer.token(number) for number in tokenizer.encode("The \x00\u2028 é").ids]
    assert tokens == ["▁The", "▁", "<0x00>", "<0xE2>", "<0x80>", "<0xA8>", "▁", "é"]
    assert all(tokenizer.token(number).isprintable() for number in range(tokenizer.vocab_size))


def test_a_vocabulary_needs_room_for_all_bytes() -> None:
    with pytest.raises(
        OptionError, match=r"^vocab_size must be at least 259 \(256 bytes and 3 special tokens\); it is 258"
    ):
        TokenizerConfig(vocab_size=258)
    tokenizer = train(Form(), ["a b"], 259)
    assert tokenizer.decode(tokenizer.encode("été").ids) == "été"


def test_json_gives_the_same_tokenizer_again(tokenizer: Tokenizer) -> None:
    again = Tokenizer.from_json(tokenizer.to_json())
    assert again.form == tokenizer.form
    assert again.to_json() == tokenizer.to_json()
    assert again.encode_batch(CORPUS) == tokenizer.encode_batch(CORPUS)


@pytest.mark.parametrize("shared", [True, False])
def test_a_folder_gives_the_same_pair_again(shared: bool, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.target.json").write_text("left by another run")
    pair = TokenizerPair.train(Pairs(CORPUS[:2], CORPUS[2:4]), TokenizerConfig(vocab_size=281, shared=shared))
    pair.save(tmp_path)
    again = TokenizerPair.load(tmp_path)
    assert pair.shared == again.shared == shared
    assert [again.source.to_json(), again.target.to_json()] == [pair.source.to_json(), pair.target.to_json()]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tokenizer.json", "tokenizer.target.json"][: 2 - shared]


def test_a_folder_without_a_whole_tokenizer_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"tokenizer\.json: No such file"):
        TokenizerPair.load(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_bytes(b"\xff")
    with pytest.raises(DamagedError, match=r"tokenizer\.json is not UTF-8\.$"):
        TokenizerPair.load(tmp_path)
    path.write_text(json.dumps({"model": []}))
    with pytest.raises(DamagedError, match=rf"^{path} is not a tokenizer: it is no JSON object with a model\.$"):
        TokenizerPair.load(tmp_path)


def test_the_examples_in_the_docstrings_run() -> None:
    assert doctest.testmod(module) == (0, 4)


def test_a_vocabulary_that_no_machine_holds_is_refused() -> None:
    with pytest.raises(OptionError, match=r"^vocab_size must be at most 1,000,000; it is 1,000,000,000\.$"):
        TokenizerConfig(vocab_size=10**9)
