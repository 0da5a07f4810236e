"""From text to ids and back, exactly, with the word that each id belongs to.

Every text can be encoded and comes back as it was, but for lower-casing if that was chosen: there is no unknown
token. tokenizer_format.py tells how; tokenizer_training.py finds the vocabulary.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import tokenizers

from regard.data.text import WORD, Pairs
from regard.data.tokenizer_format import (
    BOS,
    EOS,
    LARGEST_VOCABULARY,
    LETTER_BYTES,
    PAD,
    SPECIALS,
    Form,
    Kind,
    Split,
    Vocabulary,
    document_of,
    parse_document,
)
from regard.data.tokenizer_training import SMALLEST_VOCABULARY, train_vocabulary
from regard.errors import DamagedError, InputError, OptionError
from regard.files import read_bytes, write_whole

_LONGEST_PART = 50_000  # characters given to the library in one string; it takes up to 450 bytes for each
_GROUP = 500_000  # characters handled at once
_MOST_REMEMBERED, _LONGEST_REMEMBERED = 200_000, 100  # chunks, about 300 bytes each; characters
_LARGEST_FILE = 64 << 20
_NAMES = ("tokenizer.json", "tokenizer.target.json")


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """How to train a tokenizer.

    Attributes:
        kind: "bpe" or "unigram".
        vocab_size: Pieces, the three special ones and the 256 bytes among them; fewer where the text has no more.
        shared: One tokenizer for both sides, else one a side of that size each.
        lowercase: Turn capitals into small letters; what is decoded has none.
        split: Where pieces end: "text" before blanks and between words, single digits and punctuation; "blanks"
            before blanks only, for text that is tokenized already.
    """

    kind: Kind = "bpe"
    vocab_size: int = 8000
    shared: bool = True
    lowercase: bool = False
    split: Split = "text"

    def __post_init__(self) -> None:
        if self.vocab_size < SMALLEST_VOCABULARY:
            raise OptionError(
                f"vocab_size must be at least {SMALLEST_VOCABULARY} (256 bytes and {len(SPECIALS)} special tokens); "
                f"it is {self.vocab_size}."
            )
        if self.vocab_size > LARGEST_VOCABULARY:  # the library would end the whole process for want of memory
            raise OptionError(f"vocab_size must be at most {LARGEST_VOCABULARY:,}; it is {self.vocab_size:,}.")

    @property
    def form(self) -> Form:
        """What of this the tokenizer itself records."""
        return Form(self.kind, self.split, self.lowercase)


class Encoding(NamedTuple):
    """A text as ids, without begin and end of sentence.

    Attributes:
        ids: The pieces.
        words: For each id the word it belongs to, as an index into `split_words(text)`. It never falls, and no word
            is left out. Blanks belong to the word after them, at the end to the last one; where a text is all
            blanks, so that it has no word, they all have index 0.
    """

    ids: list[int]
    words: list[int]


class Tokenizer:
    """The tokenizer of one side, or of both.

    Example:
        >>> tokenizer = Tokenizer.train(["the cat", "the mat"] * 2, TokenizerConfig(vocab_size=300))
        >>> encoding = tokenizer.encode("the  bat")
        >>> [tokenizer.token(id) for id in encoding.ids], encoding.words
        (['▁the', '▁', '▁', 'b', 'at'], [0, 1, 1, 1, 1])
        >>> tokenizer.decode(encoding.ids)
        'the  bat'
    """

    pad_id = PAD
    bos_id = BOS
    eos_id = EOS

    def __init__(self, form: Form, vocabulary: Vocabulary) -> None:
        self.form = form
        self.vocabulary = vocabulary
        specials = [b""] * len(SPECIALS)
        pieces = vocabulary.pieces[len(SPECIALS) :]
        self._bytes = specials + [bytes(LETTER_BYTES[letter] for letter in piece) for piece in pieces]
        document = document_of(form, vocabulary, prepend=False)
        self._library = tokenizers.Tokenizer.from_str(json.dumps(document))
        self._library.encode_special_tokens = True  # "⟨s⟩" in a text is text
        self._remembered: dict[str, _Chunk] = {}

    @classmethod
    def train(cls, lines: Iterable[str], config: TokenizerConfig) -> "Tokenizer":
        """Train a tokenizer on lines of text; see `train_vocabulary` for how many of them are used."""
        return cls(config.form, train_vocabulary(lines, config.form, config.vocab_size))

    @classmethod
    def from_json(cls, text: str, name: str = "tokenizer.json") -> "Tokenizer":
        """Read the text of a tokenizer.json; the name stands in errors.

        Raises:
            DamagedError: The text is not what `to_json` writes.
        """
        return cls(*parse_document(text, name))

    def to_json(self) -> str:
        """Write the format of the tokenizers library, which `PreTrainedTokenizerFast` of transformers reads too.

        There `encode` gives the same ids with `⟨/s⟩` at the end.
        """
        return json.dumps(document_of(self.form, self.vocabulary), ensure_ascii=False) + "\n"

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return len(self._bytes)

    def encode(self, text: str) -> Encoding:
        """Encode a text. It may hold anything but half characters (lone surrogates)."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        """Encode texts; many at a time are faster."""
        return [_join(chunks) for chunks in self._chunks(texts)]

    def encode_ids(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Yield the ids of each text, where the words are not needed."""
        for chunks in self._chunks(texts):
            yield [number for chunk in chunks for number in chunk.ids]

    def parts(self, chunk: str) -> list[str]:
        """Cut what stands between two blanks of a text as it is cut before pieces are made of it, blank included.

        The parts are written in the byte alphabet; with all letters small, where the tokenizer has only such.
        """
        text = " " + chunk
        if self.form.lowercase:
            text = self._library.normalizer.normalize_str(text)
        return [part for part, _ in self._library.pre_tokenizer.pre_tokenize_str(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into text: the inverse of `encode`. Special tokens leave no trace.

        A model can produce ids that no text has: bytes that are not UTF-8 become U+FFFD, and a line feed becomes a
        blank, for a sentence is a line.

        Raises:
            InputError: An id is outside the vocabulary.
        """
        numbers = list(ids)
        outside = next((number for number in numbers if not 0 <= number < self.vocab_size), None)
        if outside is not None:
            raise InputError(f"Id {outside} is outside the vocabulary, which has ids 0 to {self.vocab_size - 1}.")
        text = b"".join([self._bytes[number] for number in numbers]).decode("utf-8", errors="replace")
        return text.removeprefix(" ").replace("\n", " ")

    def token(self, number: int) -> str:
        """Write the piece of an id so that it can be read: ▁ for a blank, <0xE2> for a byte that is no character."""
        if number < len(SPECIALS):
            return SPECIALS[number]
        text = self._bytes[number].decode("utf-8", errors="surrogateescape")
        return "".join(map(_readable, text))

    def _chunks(self, texts: Sequence[str]) -> Iterator[list["_Chunk"]]:
        """Yield the chunks of each text: what begins with an ASCII blank, the one before the text among them.

        Every form cuts there, so a text is encoded as its chunks are; and as most chunks are words seen before,
        to remember them is some ten times as fast as to have the library cut every text.
        """
        for group in _groups(texts):
            parts = [text.split(" ") if text else [] for text in group]
            if len(self._remembered) > _MOST_REMEMBERED:
                self._remembered = {}  # a new one: another thread may be reading the old
            remembered = self._remembered
            new = [text for text in dict.fromkeys(chain.from_iterable(parts)) if text not in remembered]
            fresh = dict(zip(new, self._encode_chunks(new), strict=True))
            remembered.update((text, chunk) for text, chunk in fresh.items() if len(text) <= _LONGEST_REMEMBERED)
            for texts_of_chunks in parts:
                yield [remembered.get(text) or fresh[text] for text in texts_of_chunks]

    def _encode_chunks(self, chunks: Sequence[str]) -> Iterator["_Chunk"]:
        for group in _groups([" " + chunk for chunk in chunks]):
            cuts = [_cut(chunk) for chunk in group]
            encoded = self._run(list(chain.from_iterable(cuts)))
            for chunk, cut in zip(group, cuts, strict=True):
                yield _chunk_of(chunk, [len(part) for part in cut], encoded)

    def _run(self, texts: Sequence[str]) -> Iterator[tokenizers.Encoding]:
        for group in _groups(texts):
            try:
                yield from self._library.encode_batch(group, add_special_tokens=False)
            except TypeError:  # what the library says of a string that UTF-8 cannot write
                faulty = next((text for text in group if not _is_whole(text)), None)
                if faulty is None:
                    raise
                message = f"A text holds half of a character (a lone surrogate), which no file can: {faulty[:40]!r}."
                raise InputError(message) from None


class _Chunk(NamedTuple):
    """A part of a text as ids, with the words in it: numbered within it, a blank at its end being of the next word."""

    ids: list[int]
    words: list[int]
    num_words: int


def _chunk_of(text: str, lengths: Iterable[int], encoded: Iterator[tokenizers.Encoding]) -> _Chunk:
    """Make a chunk of the next encodings, which are of parts with these lengths."""
    ends = [match.end() for match in WORD.finditer(text)]
    ids: list[int] = []
    words: list[int] = []
    start = word = 0
    for length in lengths:
        part = next(encoded)
        ids += part.ids
        for begin, _ in part.offsets:
            while word < len(ends) and ends[word] <= start + begin:
                word += 1
            words.append(word)
        start += length
    return _Chunk(ids, words, len(ends))


def _join(chunks: list[_Chunk]) -> Encoding:
    ids: list[int] = []
    words: list[int] = []
    count = 0
    for chunk in chunks:
        ids += chunk.ids
        words += [count + word for word in chunk.words]
        count += chunk.num_words
    last = max(count - 1, 0)
    for place in range(len(words) - 1, -1, -1):
        if words[place] <= last:
            break
        words[place] = last
    return Encoding(ids, words)


def _groups(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut a sequence where its texts add up to a few hundred thousand characters."""
    start = size = 0
    for place, text in enumerate(texts):
        size += len(text) + 1
        if size > _GROUP:
            yield texts[start : place + 1]
            start, size = place + 1, 0
    if start < len(texts):
        yield texts[start:]


def _cut(chunk: str) -> list[str]:
    """Cut an overlong chunk, which changes the pieces at the cuts but loses nothing."""
    return [chunk[start : start + _LONGEST_PART] for start in range(0, len(chunk), _LONGEST_PART)]


def _is_whole(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _readable(letter: str) -> str:
    if letter == " ":
        return "▁"
    if letter.isprintable():
        return letter
    return "".join(f"<0x{byte:02X}>" for byte in letter.encode("utf-8", errors="surrogateescape"))


@dataclass(frozen=True)
class TokenizerPair:
    """The tokenizers of both sides, which may be one and the same."""

    source: Tokenizer
    target: Tokenizer

    @property
    def shared(self) -> bool:
        """Whether both sides have the same tokenizer, so that a model may share its embeddings."""
        return self.source is self.target

    @classmethod
    def train(cls, pairs: Pairs, config: TokenizerConfig) -> "TokenizerPair":
        """Train one tokenizer on both sides together, or one a side."""
        if config.shared:
            tokenizer = Tokenizer.train(chain(pairs.sources, pairs.targets), config)
            return cls(tokenizer, tokenizer)
        return cls(Tokenizer.train(pairs.sources, config), Tokenizer.train(pairs.targets, config))

    def save(self, folder: Path) -> None:
        """Write tokenizer.json, and tokenizer.target.json if the target has a tokenizer of its own."""
        source, target = (folder / name for name in _NAMES)
        write_whole(source, self.source.to_json())
        if self.shared:
            target.unlink(missing_ok=True)
        else:
            write_whole(target, self.target.to_json())

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of the files that `save` writes, by their names."""
        tokenizers = (self.source,) if self.shared else (self.source, self.target)
        texts = [tokenizer.to_json().encode() for tokenizer in tokenizers]
        return {name: sha256(text).hexdigest() for name, text in zip(_NAMES, texts, strict=False)}

    @classmethod
    def load(cls, folder: Path) -> "TokenizerPair":
        """Read what `save` wrote.

        Raises:
            DamagedError: A file is not what was written.
            WorkError: tokenizer.json is missing or cannot be read.
        """
        source, target = (folder / name for name in _NAMES)
        first = _load(source)
        return cls(first, _load(target) if target.exists() else first)


def _load(path: Path) -> Tokenizer:
    raw = read_bytes(path, max_bytes=_LARGEST_FILE)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise DamagedError(f"{path} is not UTF-8.") from None
    return Tokenizer.from_json(text, str(path))
