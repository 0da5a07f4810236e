"""Tokenizers of transformers, made here, and what is shown of their tokens."""

from typing import Any

import pytest

transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install '.[conformance]'")

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers  # noqa: E402 - it comes with transformers

from regard.tasks.pretrained_side import LETTERS, pretrained_side, readable  # noqa: E402


def shown(made: Tokenizer, text: str) -> tuple[list[str], list[str]]:
    tokenizer: Any = transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="?")
    side = pretrained_side(tokenizer, tokenizer(text, return_tensors="pt"), text)
    assert side.spelled is not None
    return list(side.tokens), list(side.spelled)


def test_every_byte_has_the_letter_that_byte_level_vocabularies_give_it() -> None:
    assert sorted(LETTERS) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(LETTERS.values()) == list(range(256))
    assert LETTERS["Ġ"] == ord(" ")
    assert LETTERS["Ċ"] == ord("\n")


def test_byte_level_names_are_read_and_others_stay() -> None:
    made = Tokenizer(models.BPE())
    made.decoder = decoders.ByteLevel()
    names = ["ĠÃ©tÃ©", "xæĹ", "¥", "Ġ", "<s>", "<a mark>"]
    bytes_known = transformers.PreTrainedTokenizerFast(tokenizer_object=made)
    assert readable(bytes_known, names) == ["été", "x<0xE6><0x97>", "<0xA5>", "Ġ", "<s>", "<a mark>"]
    made.decoder = decoders.Metaspace()
    assert readable(transformers.PreTrainedTokenizerFast(tokenizer_object=made), names) == names


def test_pieces_of_a_ligature_have_their_own_names_and_the_word_has_it_once() -> None:
    made = Tokenizer(models.WordPiece({"?": 0, "f": 1, "##i": 2, "##n": 3}, unk_token="?"))
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    assert shown(made, "ﬁn") == (["f", "##i", "n"], ["ﬁn"])


@pytest.mark.parametrize("normalizer", [normalizers.NFC(), normalizers.NFKC(), normalizers.StripAccents()])
def test_a_letter_keeps_the_accent_that_a_normalizer_joins_to_it(normalizer: Any) -> None:
    made = Tokenizer(models.WordPiece({"?": 0, "caf": 1, "##é": 2, "##e": 3, "x": 4, "é": 5, "e": 6}, unk_token="?"))
    made.normalizer = normalizer
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    text = "cafe\u0301 x e\u0301"
    assert shown(made, text) == (["caf", "e\u0301", "x", "e\u0301"], ["cafe\u0301", "x", "e\u0301"])


def test_an_accent_that_is_a_token_is_shown_once() -> None:
    made = Tokenizer(models.WordPiece({"?": 0, "e": 1, "##\u0301": 2}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    assert shown(made, "e\u0301") == (["e", "\u0301"], ["e\u0301"])


def test_bytes_that_a_vocabulary_falls_back_to_keep_their_names() -> None:
    vocab = {"?": 0, "x": 1, **{f"<0x{byte:02X}>": 2 + byte for byte in range(256)}}
    made = Tokenizer(models.BPE(vocab, [], unk_token="?", byte_fallback=True))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    assert shown(made, "x日") == (["x", "<0xE6>", "<0x97>", "<0xA5>"], ["x日"])
