"""The form of our tokenizer.json: the tokenizers library's own format, in the few shapes that we write.

A tokenizer.json can hold regular expressions that run for hours, structures that exhaust the stack, and tables
that make the library panic, which no `except Exception` catches. So nothing of a file reaches the library but its
vocabulary, and that checked piece by piece: the rest must be, to the last value, one of the shapes made here.

How a line becomes pieces. A blank is put before the line (and taken off after decoding), so that a word is
spelled alike wherever it stands. Then the line is cut; a single ASCII blank stays with what follows it, every
other blank stands alone. The bytes of each part are written in an alphabet of 256 letters (`ByteLevel`), which the
vocabulary holds all of, so every text can be spelled and comes back exactly, runs of blanks and NUL included.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, NamedTuple, get_args

from regard.data.text import BLANKS
from regard.errors import DamagedError

Kind = Literal["bpe", "unigram"]
Split = Literal["text", "blanks"]

PAD, BOS, EOS = 0, 1, 2
SPECIALS = ("⟨pad⟩", "⟨s⟩", "⟨/s⟩")
"""Names of ids 0, 1, 2. The brackets are no letters of the byte alphabet: no text can be spelled with them."""

LARGEST_VOCABULARY = 1_000_000

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = sorted(set(range(256)) - set(_PRINTABLE))
BYTE_LETTERS = {byte: chr(byte) for byte in _PRINTABLE} | {byte: chr(256 + i) for i, byte in enumerate(_OTHERS)}
"""The letter that stands for each byte, as GPT-2 chose them and the library's `ByteLevel` has them."""
LETTER_BYTES = {letter: byte for byte, letter in BYTE_LETTERS.items()}

# A part has at most a few hundred letters: it bounds the work of merging, and a line of 10 MB without a blank works.
_PATTERNS: dict[Split, str] = {
    "blanks": rf" ?[^{BLANKS}]{{1,100}}|[{BLANKS}]",
    # a word, with apostrophes inside it; one digit; a run of marks and signs; a blank
    "text": (
        r" ?\p{L}[\p{L}\p{M}]{0,99}(?:['’]\p{L}[\p{L}\p{M}]{0,99}){0,3}"
        rf"| ?\p{{N}}| ?[^{BLANKS}\p{{L}}\p{{N}}]{{1,100}}|[{BLANKS}]"
    ),
}


class Form(NamedTuple):
    """The choices that a tokenizer.json records by its components."""

    kind: Kind = "bpe"
    split: Split = "text"
    lowercase: bool = False


_FORMS = [Form(*choice) for choice in product(get_args(Kind), get_args(Split), (False, True))]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What training finds.

    Attributes:
        pieces: Spelled in the byte alphabet, by id; the first three are `SPECIALS`.
        merges: BPE: the two parts of each merge, the first to be done first.
        scores: Unigram: the log-probability of each piece.
    """

    pieces: Sequence[str]
    merges: Sequence[tuple[str, str]] = ()
    scores: Sequence[float] = ()


def spell(text: str) -> str:
    """Write the bytes of a text in the byte alphabet."""
    return "".join(BYTE_LETTERS[byte] for byte in text.encode("utf-8"))


def document_of(form: Form, vocabulary: Vocabulary, *, prepend: bool = True) -> dict[str, Any]:
    """Make the content of a tokenizer.json. Without `prepend` the caller puts the blank before the line."""
    normalizers: list[dict[str, Any]] = [{"type": "Lowercase"}] if form.lowercase else []
    normalizers += [{"type": "Prepend", "prepend": " "}] if prepend else []
    end = SPECIALS[EOS]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": name, "special": True}
            | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
            for number, name in enumerate(SPECIALS)
        ],
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": _PATTERNS[form.split]},
                    "behavior": "Isolated",
                    "invert": False,
                },
                byte_level,
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [_sequence("A"), {"SpecialToken": {"id": end, "type_id": 0}}],
            "pair": [_sequence("A"), _sequence("B"), {"SpecialToken": {"id": end, "type_id": 0}}],
            "special_tokens": {end: {"id": end, "ids": [EOS], "tokens": [end]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [byte_level, {"type": "Strip", "content": " ", "start": 1, "stop": 0}],
        },
        "model": _model_of(form.kind, vocabulary),
    }


def parse_document(text: str, name: str = "tokenizer.json") -> tuple[Form, Vocabulary]:
    """Read the text of a tokenizer.json that `document_of` made.

    Raises:
        DamagedError: It is anything else.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{name} is not valid JSON: {error}.") from None
    if not isinstance(document, dict) or not isinstance(document.get("model"), dict):
        raise DamagedError(f"{name} is not a tokenizer: it is no JSON object with a model.")
    form = min(_FORMS, key=lambda form: len(_differences(document, form)))
    if differences := _differences(document, form):
        raise DamagedError(
            f"{name} is not a tokenizer that regard wrote: its {', '.join(key[:40] for key in differences[:10])} "
            "would be another. Others are not run, as their regular expressions could run for hours."
        )
    return form, _vocabulary_of(form.kind, document["model"], name)


def _sequence(name: str) -> dict[str, Any]:
    return {"Sequence": {"id": name, "type_id": 0}}


def _model_of(kind: Kind, vocabulary: Vocabulary) -> dict[str, Any]:
    if kind == "unigram":
        pairs = zip(vocabulary.pieces, vocabulary.scores, strict=True)
        return {"type": "Unigram", "unk_id": None, "byte_fallback": False, "vocab": [list(pair) for pair in pairs]}
    return {
        "type": "BPE",
        **dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")),
        **dict.fromkeys(("fuse_unk", "byte_fallback", "ignore_merges"), False),
        "vocab": {piece: number for number, piece in enumerate(vocabulary.pieces)},
        "merges": [list(merge) for merge in vocabulary.merges],
    }


def _differences(document: Mapping[str, Any], form: Form) -> list[str]:
    """Name the parts of a document that are not as this form has them, leaving the vocabulary aside."""
    model = {key: None if key in ("vocab", "merges") else value for key, value in document["model"].items()}
    found = {**document, "model": model}
    wanted = document_of(form, Vocabulary(()))
    wanted["model"] |= dict.fromkeys(wanted["model"].keys() & {"vocab", "merges"})
    return [key for key in {**wanted, **found} if not _same(found.get(key, ...), wanted.get(key, ...))]


def _same(one: object, other: object) -> bool:
    """Compare two JSON values; unlike `==`, 1, 1.0 and true are three different values."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and one == other


def _vocabulary_of(kind: Kind, model: Mapping[str, Any], name: str) -> Vocabulary:
    vocab, merges = model["vocab"], model.get("merges", [])
    if kind == "bpe":
        if not isinstance(vocab, dict) or not _all_of(int, vocab.values()):
            raise DamagedError(f"{name}: the vocabulary is not a table of pieces and ids.")
        if sorted(vocab.values()) != list(range(len(vocab))):
            raise DamagedError(f"{name}: the ids of the vocabulary are not 0 to {len(vocab) - 1}, each once.")
        vocabulary = Vocabulary(sorted(vocab, key=vocab.__getitem__), _merges_of(merges, vocab, name))
    else:
        if not isinstance(vocab, list) or not all(_is_scored_piece(entry) for entry in vocab):
            raise DamagedError(f"{name}: the vocabulary is not a list of pieces and their log-probabilities.")
        vocabulary = Vocabulary([piece for piece, _ in vocab], scores=[float(score) for _, score in vocab])
    _check_pieces(vocabulary.pieces, name)
    return vocabulary


def _merges_of(merges: object, vocab: Mapping[str, int], name: str) -> list[tuple[str, str]]:
    if not isinstance(merges, list) or len(merges) > LARGEST_VOCABULARY:
        raise DamagedError(f"{name}: the merges are not a list of at most {LARGEST_VOCABULARY:,}.")
    for number, merge in enumerate(merges):
        if not (isinstance(merge, list) and len(merge) == 2 and _all_of(str, merge)):
            raise DamagedError(f"{name}: merge {number} is not a pair of pieces.")
        if not vocab.keys() >= {*merge, "".join(merge)}:
            raise DamagedError(f"{name}: merge {number} is of pieces outside the vocabulary.")
    return [(first, second) for first, second in merges]


def _is_scored_piece(entry: object) -> bool:
    if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)):
        return False
    return type(entry[1]) in (int, float) and abs(entry[1]) < 1e6  # false for NaN as well


def _check_pieces(pieces: Sequence[str], name: str) -> None:
    if len(pieces) > LARGEST_VOCABULARY:
        raise DamagedError(f"{name} has {len(pieces):,} pieces; {LARGEST_VOCABULARY:,} are allowed.")
    known = set(pieces)
    if tuple(pieces[: len(SPECIALS)]) != SPECIALS or len(known) != len(pieces):
        raise DamagedError(f"{name}: the pieces do not begin with {', '.join(SPECIALS)}, or one of them stands twice.")
    missing = LETTER_BYTES.keys() - known
    if missing:
        raise DamagedError(f"{name}: {len(missing)} of the 256 bytes are not among the pieces.")
    foreign = next((piece for piece in pieces[3:] if not piece or not LETTER_BYTES.keys() >= set(piece)), None)
    if foreign is not None:
        raise DamagedError(f"{name}: the piece {foreign[:40]!r} is not spelled in the byte alphabet.")


def _all_of(type_: type, values: Any) -> bool:
    return all(type(value) is type_ for value in values)
