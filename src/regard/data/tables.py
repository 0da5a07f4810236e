"""Pairs out of one file: columns separated by tabs, or a JSON object a line."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regard.data.text import Pairs, read_file
from regard.errors import DataError, OptionError
from regard.files import json_kind, without_repeats

_JSON_SUFFIXES = {".jsonl", ".ndjson", ".json"}
_LINE_END = re.compile(r"\r?\n")

Reader = Callable[[str], tuple[str, str]]
"""Takes the two cells out of a row; raises `_RowError` where it cannot."""


class _RowError(Exception):
    """Says what is wrong with a row, without its place."""


def read_table(path: Path, columns: tuple[str, str] | None = None) -> Pairs:
    """Read pairs from a table, plain or gzip: JSONL by its suffix or a first line that opens a brace, else TSV.

    A TSV's columns are given by number, from 1, and then every line is a pair; or by name, and then the first line
    is the header. Nothing in a TSV is a quotation mark. A row of JSONL is `{"translation": {"en": "…", "fr": "…"}}`
    or flat. Without `columns`, the first two are source and target (for JSONL: the first two keys of the first row
    that hold text, whatever their order in the others). A line end inside a JSON string becomes a blank, for a
    sentence is a line.

    Raises:
        DataError: With every fault: lines that are not UTF-8, rows without the two columns, no row at all.
        OptionError: Both columns are the same.
    """
    if columns is not None and columns[0] == columns[1]:
        raise OptionError(f"Source and target are the same column ({columns[0]}). Name two, as in SOURCE,TARGET.")
    lines, faults = read_file(path)
    if not lines:
        raise DataError(list(faults.values()) or f"{path} is empty.")
    try:
        reader, first = _json_reader(lines, columns) if _is_jsonl(path, lines[0]) else _tsv_reader(lines[0], columns)
    except _RowError as error:
        raise DataError(list({1: f"{path}:1: {error}", **faults}.values())) from None
    pairs = []
    wrong: dict[int, str] = {}
    for number, line in enumerate(lines[first:], first + 1):
        if number not in faults:
            try:
                pairs.append(reader(line))
            except _RowError as error:
                wrong[number] = str(error)
    if len(wrong) > 1 and not pairs and len(set(wrong.values())) == 1:
        wrong = {min(wrong): f"{wrong[min(wrong)]} So it is in all of the {len(wrong):,} rows."}
    faults |= {number: f"{path}:{number}: {what}" for number, what in wrong.items()}
    if faults:
        raise DataError([faults[number] for number in sorted(faults)])
    if not pairs:
        raise DataError(f"{path} has a header and no row.")
    return Pairs([source for source, _ in pairs], [target for _, target in pairs], range(first + 1, len(lines) + 1))


def _is_jsonl(path: Path, first_line: str) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    if suffixes and suffixes[-1] in _JSON_SUFFIXES:
        return True
    return suffixes[-1:] != [".tsv"] and first_line.lstrip().startswith("{")


def _tsv_reader(header: str, columns: tuple[str, str] | None) -> tuple[Reader, int]:
    """Make the reader of a TSV's rows, and say how many lines its header takes."""
    if columns is None:
        columns = ("1", "2")
    by_number = all(re.fullmatch("[1-9][0-9]{0,5}", column) for column in columns)
    if by_number:
        source, target = (int(column) - 1 for column in columns)
    else:
        names = header.split("\t")
        missing = [column for column in columns if column not in names]
        if missing:
            raise _RowError(
                f"the header has no column {' and no column '.join(map(repr, missing))}; its columns are "
                f"{', '.join(map(repr, names[:20]))}. Columns can also be given by number, from 1."
            )
        source, target = (names.index(column) for column in columns)
    needed = max(source, target) + 1

    def read(line: str) -> tuple[str, str]:
        cells = line.split("\t")
        if len(cells) < needed:
            raise _RowError(
                f"{len(cells)} column{'s' if len(cells) > 1 else ''}, separated by tabs; {needed} are needed."
            )
        return cells[source], cells[target]

    return read, 0 if by_number else 1


def _json_reader(lines: list[str], columns: tuple[str, str] | None) -> tuple[Reader, int]:
    """Make the reader of JSON rows, and say that no line is a header."""
    keys = columns or next((keys for line in lines if (keys := _first_keys(line))), ("source", "target"))

    def read(line: str) -> tuple[str, str]:
        row = _json_row(line)
        missing = [key for key in keys if not isinstance(row.get(key), str)]
        if missing:
            found = ", ".join(repr(key[:40]) for key in list(row)[:20]) or "none"
            raise _RowError(f"no text under {' and '.join(map(repr, missing))}; the keys are {found}.")
        source, target = (_LINE_END.sub(" ", row[key]) for key in keys)
        if not (source + target).isascii() and any("\ud800" <= letter <= "\udfff" for letter in source + target):
            raise _RowError("an escape such as \\ud800 is half of a character.")
        return source, target

    return read, 0


def _first_keys(line: str) -> tuple[str, str] | None:
    try:
        row = _json_row(line)
    except _RowError:
        return None
    texts = [key for key, value in row.items() if isinstance(value, str)]
    return (texts[0], texts[1]) if len(texts) > 1 else None


def _json_row(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=without_repeats)
    except (ValueError, RecursionError) as error:
        raise _RowError(f"not a JSON object ({error}).") from None
    if isinstance(row, dict) and isinstance(row.get("translation"), dict):
        row = row["translation"]
    if not isinstance(row, dict):
        raise _RowError(f"{json_kind(row)} where an object is needed.")
    return row
