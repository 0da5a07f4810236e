"""Corpora as they come: every command that reads text takes them whole or names file and line."""

import json
from pathlib import Path

import pytest

from regard.errors import counted
from tests.cli.conftest import Regard

WHOLE = {
    "byte order mark": (b"\xef\xbb\xbfthe cat\nmy feet\n", ["the cat", "my feet"]),
    "only a byte order mark": (b"\xef\xbb\xbf", []),
    "CRLF": (b"the cat\r\nmy feet\r\n", ["the cat", "my feet"]),
    "mixed ends": (b"the cat\r\nmy feet\nhe\r\n", ["the cat", "my feet", "he"]),
    "NUL": (b"the\x00cat\n\x00\nmy feet\n", ["the\x00cat", "\x00", "my feet"]),
    "U+2028": ("the\u2028cat\n\u2028\nmy feet\n".encode(), ["the\u2028cat", "\u2028", "my feet"]),
    "U+2029": ("the\u2029cat\n".encode(), ["the\u2029cat"]),
    "U+0085": ("the\u0085cat\nmy\u0085\n".encode(), ["the\u0085cat", "my\u0085"]),
    "form feed": (b"the\x0ccat\n\x0c\n", ["the\x0ccat", "\x0c"]),
    "vertical tab": (b"the\x0bcat\n\x1c\x1d\x1e\n", ["the\x0bcat", "\x1c\x1d\x1e"]),
    "lone CR": (b"the\rcat\nmy feet\r\r\n\r", ["the\rcat", "my feet\r", "\r"]),
    "blank lines": (b"\n\nthe cat\n\n   \n\t\n", ["", "", "the cat", "", "   ", "\t"]),
    "no last line end": (b"the cat\nmy feet", ["the cat", "my feet"]),
    "empty": (b"", []),
    "one line end": (b"\n", [""]),
    "right to left": ("القطة\nשלום\n".encode(), ["القطة", "שלום"]),
    "beyond the basic plane": ("😀 𝒜\n".encode(), ["😀 𝒜"]),
    "combining letters": ("e\u0301te\u0301\n".encode(), ["e\u0301te\u0301"]),
}
BROKEN = {
    "Latin-1": (b"the cat\ncaf\xe9\nmy feet\n", [2]),
    "cut off": (b"the cat\nmy feet \xe2\x82", [2]),
    "surrogate": (b"\xed\xa0\x80\nthe cat\n", [1]),
    "overlong": (b"the cat\nmy\n\xc0\xaf\n", [3]),
    "several": (b"\xff\nthe cat\n\xfe\nmy feet\n\x80\n", [1, 3, 5]),
    "UTF-16": ("the cat\n".encode("utf-16"), [1]),
}
QUICK = ("--beam", "1", "--max-length", "3")


@pytest.mark.parametrize("name", WHOLE)
def test_translate_gives_a_line_for_each_line(name: str, run_folder: Path, regard: Regard, tmp_path: Path) -> None:
    content, lines = WHOLE[name]
    (tmp_path / "in").write_bytes(content)
    for outcome in (
        regard("translate", run_folder, tmp_path / "in", "--json", *QUICK),
        regard("translate", run_folder, "--json", *QUICK, stdin=content),
    ):
        assert outcome.status == 0
        assert [json.loads(line)["source"] for line in outcome.lines] == lines
    plain = regard("translate", run_folder, tmp_path / "in", *QUICK)
    assert len(plain.lines) == len(lines)
    assert b"\r\n" not in plain.out


@pytest.mark.parametrize("name", WHOLE)
def test_score_align_and_evaluate_take_the_same_lines(
    name: str, run_folder: Path, regard: Regard, tmp_path: Path
) -> None:
    content, lines = WHOLE[name]
    (tmp_path / "in").write_bytes(content)
    files = ("--src", tmp_path / "in", "--tgt", tmp_path / "in")
    if not lines:
        for command in ("score", "align", "evaluate"):
            outcome = regard(command, run_folder, *files)
            assert (outcome.status, outcome.out) == (2, b"")
            assert f"{tmp_path / 'in'} is empty." in outcome.err
        return
    scored = regard("score", run_folder, *files, "--json")
    assert [json.loads(line)["target"] for line in scored.lines] == lines
    assert len(regard("align", run_folder, *files).lines) == len(lines)
    evaluated = regard("evaluate", run_folder, *files, "--json", "--beam", "1", "-o", tmp_path / "out")
    assert json.loads(evaluated.out)["sentences"] == len(lines)
    assert (tmp_path / "out").read_bytes().count(b"\n") == len(lines)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_text_is_named_by_file_and_line(name: str, run_folder: Path, regard: Regard, tmp_path: Path) -> None:
    content, numbers = BROKEN[name]
    path, good = tmp_path / "broken", tmp_path / "good"
    path.write_bytes(content)
    good.write_bytes(b"the cat\n" * content.count(b"\n"))
    outcome = regard("translate", run_folder, path, *QUICK)
    assert outcome.status == 2
    assert f"{path}:{numbers[0]}: byte 0x" in outcome.err
    assert regard("translate", run_folder, *QUICK, stdin=content).err.startswith(
        f"regard: standard input:{numbers[0]}: "
    )
    for command in ("score", "align", "evaluate"):
        for files in (("--src", path, "--tgt", good), ("--src", good, "--tgt", path), ("--data", path)):
            outcome = regard(command, run_folder, *files)
            assert (outcome.status, outcome.out) == (2, b"")
            assert all(f"{path}:{number}: byte 0x" in outcome.err for number in numbers)


def test_unequal_lengths_are_always_refused_with_both_counts(run_folder: Path, regard: Regard, tmp_path: Path) -> None:
    for first, second in ((b"a\nb\n", b"a\n"), (b"a\n", b"a\n\n"), (b"a\nb", b"a\nb\nc"), (b"", b"a\n")):
        (tmp_path / "s").write_bytes(first)
        (tmp_path / "t").write_bytes(second)
        counts = [
            content.count(b"\n") + (not content.endswith(b"\n") and content != b"") for content in (first, second)
        ]
        for command in ("score", "align", "evaluate"):
            outcome = regard(command, run_folder, "--src", tmp_path / "s", "--tgt", tmp_path / "t")
            assert (outcome.status, outcome.out) == (2, b"")
            lines = counted(counts[0], "line")
            assert f"{tmp_path / 's'} has {lines} and {tmp_path / 't'} has {counts[1]}" in outcome.err


def test_all_faults_of_both_files_are_told_at_once(run_folder: Path, regard: Regard, tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"\xff\nthe cat\n\xfe\n")
    (tmp_path / "t").write_bytes(b"le chat\n\xfd\n")
    outcome = regard("score", run_folder, "--src", tmp_path / "s", "--tgt", tmp_path / "t")
    for told in ("has 3 lines", "has 2", f"{tmp_path / 's'}:1:", f"{tmp_path / 's'}:3:", f"{tmp_path / 't'}:2:"):
        assert told in outcome.err


def test_files_that_are_none_are_named(run_folder: Path, regard: Regard, tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"the cat\n")
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "nowhere", "No such file or directory")):
        for command in ("score", "align", "evaluate"):
            for files in (("--src", tmp_path / "s", "--tgt", path), ("--data", path)):
                outcome = regard(command, run_folder, *files)
                assert (outcome.status, outcome.out) == (2, b"")
                assert f"{path} cannot be read: {reason}." in outcome.err
