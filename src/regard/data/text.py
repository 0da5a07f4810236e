"""Lines of text, and line-aligned pairs of them, out of files.

A line ends at LF or CRLF and at nothing else: NUL, U+2028, U+0085, form feed and a lone CR are content. So files
are read as bytes, decoded whole and split at LF; Python's text mode and `str.splitlines` would cut elsewhere.
What follows the last LF is a line if there is anything. A byte order mark at the very start is dropped.
"""

import codecs
import gzip
import io
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from regard.errors import DataError, OptionError, counted

BLANKS = "\t \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
"""Inside of a character class of a regular expression: the tab and all of Unicode's spaces (category Zs)."""

WORD = re.compile(f"[^{BLANKS}]+")
"""A word: the longest run of characters that are not blanks."""

LONGEST_LINE = 1 << 24
"""Bytes of a line of a stream: what is longer is no sentence, and may have no end."""

_GZIP_MAGIC = b"\x1f\x8b"
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BOMB_BYTES, _BOMB_RATIO = 1 << 30, 100  # text packs about 4 to 1; what passes both of these is a bomb


def split_words(text: str) -> list[str]:
    """Split a line into its words, at blanks of any kind and number.

    Word `i` of this list is word `i` in alignments, pictures and `Encoding.words`.
    """
    return WORD.findall(text)


@dataclass(frozen=True)
class Pairs:
    """Sentences and their translations, one to one.

    Attributes:
        sources: Sentences.
        targets: Their translations.
        lines: Where each pair stands in its file, for messages; counted from 1 if not given.
    """

    sources: list[str]
    targets: list[str]
    lines: Sequence[int] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.sources) != len(self.targets):
            raise DataError(
                f"{counted(len(self.sources), 'source')} and {counted(len(self.targets), 'target')} are given: "
                "one target is needed for each source."
            )
        if not self.lines:
            object.__setattr__(self, "lines", range(1, len(self.sources) + 1))

    def __len__(self) -> int:
        return len(self.sources)

    def select(self, indices: Iterable[int]) -> "Pairs":
        """Take the pairs with these numbers, in their order."""
        rows = [(self.sources[index], self.targets[index], self.lines[index]) for index in indices]
        return Pairs([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])


class FileText(NamedTuple):
    """What a file holds, with what is wrong with it.

    Attributes:
        lines: All lines, a broken one as an empty string; None if the file could not be read at all.
        faults: A sentence for each broken line by its number from 1; 0 stands for the whole file.
    """

    lines: list[str] | None
    faults: dict[int, str]


def read_lines(path: Path | BinaryIO) -> list[str]:
    """Read all lines of a file or an open binary stream, plain or gzip. An empty file has none.

    Raises:
        DataError: The file cannot be read, or lines are not UTF-8; every one of them is named.
    """
    lines, faults = read_file(path) if isinstance(path, Path) else _decode(path.read(), _name_of(path))
    if lines is None or faults:
        raise DataError(list(faults.values()))
    return lines


def read_file(path: Path) -> FileText:
    """Read a file and hand back its faults, for callers that gather those of several files."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        return FileText(None, {0: f"{path} cannot be read: {error.strerror}."})
    if path.suffix.lower() == ".gz" and not raw.startswith(_GZIP_MAGIC):
        return FileText(None, {0: f"{path} is named as a gzip file and is none. Rename it, or compress it again."})
    return _decode(raw, str(path))


def iterate_lines(stream: BinaryIO, name: str) -> Iterator[str]:
    """Yield the lines of an uncompressed stream as they come, holding one at a time.

    Raises:
        DataError: At the first line that is not UTF-8 or longer than `LONGEST_LINE`, after the lines before it.
    """
    for number, raw in enumerate(iter(lambda: stream.readline(LONGEST_LINE + 1), b""), 1):
        if len(raw) > LONGEST_LINE:
            raise DataError(f"{name}:{number}: the line has more than {LONGEST_LINE:,} bytes. Is it text?")
        line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
        if not line:
            return  # nothing but a byte order mark
        try:
            yield _without_end(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise DataError(_broken(name, number, line, error)) from None


def read_pairs(source: Path, target: Path) -> Pairs:
    """Read two files whose lines correspond.

    Raises:
        DataError: With every fault of both files: unreadable, empty, unequal in length, lines that are not UTF-8.
    """
    texts = [read_file(source), read_file(target)]
    faults = [f"{path} is empty." for path, text in zip((source, target), texts, strict=True) if text.lines == []]
    sources, targets = (text.lines for text in texts)
    if sources is not None and targets is not None and len(sources) != len(targets):
        faults.append(
            f"{source} has {counted(len(sources), 'line')} and {target} has {len(targets):,}: "
            "line i of the one must be the translation of line i of the other."
        )
    faults += [fault for text in texts for fault in text.faults.values()]
    if faults or sources is None or targets is None:
        raise DataError(faults)
    return Pairs(sources, targets)


def hold_out(pairs: Pairs, *, count: int | None = None, seed: int = 1) -> tuple[Pairs, Pairs]:
    """Part pairs at random into (kept, held out), so that no source sentence is on both sides.

    All translations of a sentence go together; sentences that differ only in case or blanks count as one. Without
    a `count`, 1,000 pairs or 5 % are held out, whichever is fewer. Where the groups do not add up to the count, it
    is a few less; it is never more, except that at least one sentence is held out.

    Raises:
        DataError: All pairs share one source sentence.
        OptionError: The count leaves nothing to train on, or nothing to hold out.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, source in enumerate(pairs.sources):
        groups[" ".join(split_words(source)).casefold()].append(index)
    if len(groups) < 2:
        raise DataError(
            f"There is one source sentence in {counted(len(pairs), 'pair')}: none can be held out. Give pairs with "
            "other sources, or name the files to choose by and to score."
        )
    wanted = max(1, min(1000, len(pairs) // 20)) if count is None else count
    if not 1 <= wanted < len(pairs):
        raise OptionError(f"Of {counted(len(pairs), 'pair')}, 1 to {len(pairs) - 1:,} can be held out, not {wanted:,}.")
    together = list(groups.values())
    order = np.random.default_rng(seed).permutation(len(together))
    held: set[int] = set()
    for group in (together[number] for number in order):
        if len(held) + len(group) <= wanted:
            held.update(group)
        if len(held) == wanted:
            break
    held = held or set(sorted(together, key=len)[0])
    return pairs.select(index for index in range(len(pairs)) if index not in held), pairs.select(sorted(held))


def _name_of(stream: BinaryIO) -> str:
    name = getattr(stream, "name", None)
    return name if isinstance(name, str) else "the input"


def _decode(raw: bytes, name: str) -> FileText:
    if raw.startswith(_GZIP_MAGIC):
        try:
            raw = _gunzip(raw)
        except (OSError, EOFError, zlib.error) as error:
            return FileText(None, {0: f"{name} is a damaged gzip file: {error}."})
    utf16 = raw.startswith(_UTF16_MARKS)
    raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return _decode_by_line(raw, name, "UTF-16" if utf16 else "LATIN1")
    lines = text.split("\n")
    rest = lines.pop()
    lines = [line.removesuffix("\r") for line in lines]
    return FileText([*lines, rest] if rest else lines, {})


def _gunzip(raw: bytes) -> bytes:
    parts, size = [], 0
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
        while part := file.read(1 << 20):
            parts.append(part)
            size += len(part)
            if size > max(_BOMB_BYTES, _BOMB_RATIO * len(raw)):
                raise OSError(f"it grows to more than {_BOMB_RATIO} times its size, which no text does")
    return b"".join(parts)


def _decode_by_line(raw: bytes, name: str, encoding: str) -> FileText:
    """Decode what is not UTF-8 as a whole, naming each line that is not. The first says what may help."""
    lines: list[str] = []
    faults: dict[int, str] = {}
    for number, line in enumerate(io.BytesIO(raw), 1):
        try:
            lines.append(_without_end(line.decode("utf-8")))
        except UnicodeDecodeError as error:
            lines.append("")
            advice = "" if faults else f" If the file is {encoding}: iconv -f {encoding} -t UTF-8"
            faults[number] = _broken(name, number, line, error) + advice
    return FileText(lines, faults)


def _broken(name: str, number: int, line: bytes, error: UnicodeDecodeError) -> str:
    return f"{name}:{number}: byte 0x{line[error.start]:02X}, number {error.start + 1} of the line, is not UTF-8."


def _without_end(line: str) -> str:
    """Take off the LF or CRLF that ended a line; a CR with no LF after it is content."""
    return line[:-1].removesuffix("\r") if line.endswith("\n") else line
