import gzip
import json
import re
from pathlib import Path

import pytest

from regard.data.tables import read_table
from regard.data.text import Pairs
from regard.errors import DataError, OptionError


def write(path: Path, *rows: object) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="")
    return path


def faults_of(path: Path, columns: tuple[str, str] | None = None) -> list[str]:
    with pytest.raises(DataError) as raised:
        read_table(path, columns)
    return [fault.removeprefix(f"{path}") for fault in raised.value.faults]


def test_a_tsv_gives_its_first_two_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "a\tx\tmore", '"b\t"y')
    assert read_table(path) == Pairs(["a", '"b'], ["x", '"y'])


@pytest.mark.parametrize("columns", [("fr", "en"), ("3", "2")])
def test_columns_go_by_name_or_number(columns: tuple[str, str], tmp_path: Path) -> None:
    by_name = columns[0] == "fr"
    rows = ["1\tgo\tva", "2\tstop\tarrête"]
    path = write(tmp_path / "a.tsv", *(["id\ten\tfr"] if by_name else []), *rows)
    pairs = read_table(path, columns)
    assert pairs == Pairs(["va", "arrête"], ["go", "stop"])
    assert list(pairs.lines) == ([2, 3] if by_name else [1, 2])


@pytest.mark.parametrize("name", ["a.jsonl", "a.JSONL.gz", "a.ndjson", "a.json", "a", "a.txt"])
@pytest.mark.parametrize("nested", [True, False])
def test_jsonl_is_known_by_name_or_content(name: str, nested: bool, tmp_path: Path) -> None:
    rows = [{"en": "go", "fr": "va", "score": 1}, {"fr": "arrête", "en": "stop"}]
    path = write(tmp_path / name, *({"translation": row} if nested else row for row in rows))
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert read_table(path) == Pairs(["go", "stop"], ["va", "arrête"])
    assert read_table(path, ("fr", "en")) == Pairs(["va", "arrête"], ["go", "stop"])


def test_a_brace_in_a_tsv_is_text(tmp_path: Path) -> None:
    assert read_table(write(tmp_path / "a.tsv", "{a\tx")) == Pairs(["{a"], ["x"])


def test_only_lf_and_crlf_end_a_row(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes("\ufeffa\u2028\x00\tx\ry\r\nb\x0c\t\u0085\r\n".encode())
    assert read_table(path) == Pairs(["a\u2028\x00", "b\x0c"], ["x\ry", "\u0085"])


def test_a_line_end_inside_a_json_string_becomes_a_blank(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"a": "one\ntwo", "b": "x\r\ny\rz"})
    assert read_table(path) == Pairs(["one two"], ["x y\rz"])


def test_every_malformed_row_of_a_tsv_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(b"a\tx\nb\n\nc\t\xff\nd\ty\n")
    assert faults_of(path) == [
        ":2: 1 column, separated by tabs; 2 are needed.",
        ":3: 1 column, separated by tabs; 2 are needed.",
        ":4: byte 0xFF, number 3 of the line, is not UTF-8. If the file is LATIN1: iconv -f LATIN1 -t UTF-8",
    ]
    path.write_bytes(b"a\tx\n")
    assert faults_of(path, ("1", "5")) == [":1: 2 columns, separated by tabs; 5 are needed."]


def test_every_malformed_row_of_a_jsonl_is_named(tmp_path: Path) -> None:
    rows = ['{"en": "a", "fr": "b"}', "", "[1]", '{"en": "a"}', '{"en": 1, "fr": null}', '{"en": "\\ud800", "fr": "b"}']
    faults = faults_of(write(tmp_path / "a.jsonl", *rows, "[" * 100_000, '{"translation": "a"}'))
    assert faults[0].startswith(":2: not a JSON object (Expecting value")
    assert faults[1:5] == [
        ":3: a list where an object is needed.",
        ":4: no text under 'fr'; the keys are 'en'.",
        ":5: no text under 'en' and 'fr'; the keys are 'en', 'fr'.",
        ":6: an escape such as \\ud800 is half of a character.",
    ]
    assert faults[5].startswith(":7: not a JSON object (")
    assert faults[6] == ":8: no text under 'en' and 'fr'; the keys are 'translation'."


def test_a_json_value_is_called_as_its_users_call_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", "null", "true", "1.5", "3", '"a"', "[1]")
    kinds = ("null", "true or false", "a number", "a number", "a text", "a list")
    expected = [f":{number}: {kind} where an object is needed." for number, kind in enumerate(kinds, 1)]
    assert faults_of(path) == expected


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """One of its values would be dropped."""
    rows = ('{"en": "a", "fr": "b"}', '{"en": "a", "en": "c", "fr": "b"}', '{"translation": {"en": "", "en": ""}}')
    told = "not a JSON object (the key 'en' stands twice)."
    assert faults_of(write(tmp_path / "a.jsonl", *rows)) == [f":2: {told}", f":3: {told}"]


def test_a_header_without_the_columns_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "en\tde", "go\tgeh")
    assert faults_of(path, ("en", "fr")) == [
        ":1: the header has no column 'fr'; its columns are 'en', 'de'. Columns can also be given by number, from 1."
    ]
    assert faults_of(path, ("english", "fr"))[0].startswith(":1: the header has no column 'english' and no column 'fr'")


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    assert faults_of(write(tmp_path / "a.tsv")) == [" is empty."]
    assert faults_of(write(tmp_path / "b.tsv", "en\tfr"), ("en", "fr")) == [" has a header and no row."]
    assert faults_of(tmp_path / "missing") == [" cannot be read: No such file or directory."]


def test_one_column_is_not_source_and_target(tmp_path: Path) -> None:
    message = "Source and target are the same column (2). Name two, as in SOURCE,TARGET."
    with pytest.raises(OptionError, match=re.escape(message)):
        read_table(tmp_path / "a.tsv", ("2", "2"))


def test_a_fault_of_all_rows_is_told_once(tmp_path: Path) -> None:
    same = "1 column, separated by tabs; 2 are needed."
    assert faults_of(write(tmp_path / "a.tsv", *["a"] * 1_009)) == [f":1: {same} So it is in all of the 1,009 rows."]
    assert faults_of(write(tmp_path / "b.tsv", "a", "a", "a\tb")) == [f":1: {same}", f":2: {same}"]
