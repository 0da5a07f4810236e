"""Tokens and words of a model of the library transformers as the text writes them, each character once.

Byte-level vocabularies (GPT-2's) write bytes in letters of their own and may cut a character into several tokens, all
of which stand for that one place of the text.
"""

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from regard.inspection.pictures.atlas import Side


def pretrained_side(tokenizer: Any, encoded: Any, text: str) -> Side:
    """Show a text's tokens as it writes them; pieces of a character as their bytes, and the whole in its word."""
    names = tokenizer.convert_ids_to_tokens(encoded["input_ids"][0].tolist())
    if not encoded.is_fast:
        return Side(tokens=names)
    offsets = _with_marks(encoded.encodings[0].offsets, text)
    words = [-1 if word is None else word for word in encoded.word_ids()]
    pieces, shared = readable(tokenizer, names), _shared(offsets)
    tokens = [
        piece if divided else text[first:last].strip() or name
        for (first, last), name, piece, divided in zip(offsets, names, pieces, shared, strict=True)
    ]
    return Side(tokens=tokens, words=words, spelled=_spelled(offsets, words, text))


def readable(tokenizer: Any, names: Sequence[str]) -> list[str]:
    """Read the letters that a byte-level vocabulary has for bytes; other vocabularies' names stay as they are."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if type(getattr(backend, "decoder", None)).__name__ != "ByteLevel":
        return list(names)
    return [_read_bytes(name) for name in names]


def _letters() -> dict[str, int]:
    """Return the byte of each letter (GPT-2's encoder.py, bytes_to_unicode): its own, or from U+0100 on."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in own]
    return {chr(byte): byte for byte in own} | {chr(256 + place): byte for place, byte in enumerate(others)}


LETTERS = _letters()


def _read_bytes(name: str) -> str:
    """Write bytes as text, and those of no whole character as SentencePiece does: <0xE6>."""
    if not all(letter in LETTERS for letter in name):
        return name  # a mark that was added to the vocabulary
    text = bytes(LETTERS[letter] for letter in name).decode("utf-8", "surrogateescape")
    marked = re.sub("[\udc80-\udcff]", lambda found: f"<0x{ord(found[0]) - 0xDC00:02X}>", text)
    return marked.strip() or name


def _with_marks(offsets: Sequence[tuple[int, int]], text: str) -> list[tuple[int, int]]:
    """Give signs that combine with a letter to its token, where a normalizer made one of both and no token has them.

    A normalizer such as NFC counts the place of a letter alone (tokenizers 0.23).
    """
    taken = {place for first, last in offsets for place in range(first, last)}

    def end(last: int) -> int:
        while last < len(text) and last not in taken and unicodedata.category(text[last]).startswith("M"):
            last += 1
        return last

    return [(first, end(last) if first < last else last) for first, last in offsets]


def _shared(offsets: Sequence[tuple[int, int]]) -> list[bool]:
    """Say which tokens stand for a character that the one before or after stands for too."""
    meets = [one[1] > other[0] and one[0] < one[1] and other[0] < other[1] for one, other in pairwise(offsets)]
    return [before or after for before, after in zip([False, *meets], [*meets, False], strict=True)]


def _spelled(offsets: Sequence[tuple[int, int]], words: Sequence[int], text: str) -> list[str]:
    """Return each word as the text writes it; nothing for one that has no place there."""
    places: dict[int, tuple[int, int]] = {}
    for (first, last), word in zip(offsets, words, strict=True):
        if word >= 0 and first < last:
            before = places.get(word, (first, last))
            places[word] = min(first, before[0]), max(last, before[1])
    return [text[slice(*places.get(word, (0, 0)))].strip() for word in range(max(words, default=-1) + 1)]
