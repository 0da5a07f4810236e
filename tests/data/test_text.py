import gzip
import io
import re
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data import text
from regard.data.text import Pairs, hold_out, iterate_lines, read_lines, read_pairs, split_words
from regard.errors import DataError, OptionError

LINES = {
    b"": [],
    b"\xef\xbb\xbf": [],
    b"\n": [""],
    b"a\nb\n": ["a", "b"],
    b"a\nb": ["a", "b"],
    b"a\r\nb\r\n": ["a", "b"],
    b"a\r\nb\n\r\n": ["a", "b", ""],
    b"a\r\r\nb": ["a\r", "b"],
    b"a\rb\n": ["a\rb"],
    b"a\r": ["a\r"],
    b"\n\na\n\n": ["", "", "a", ""],
    b" \n\t\n": [" ", "\t"],
    b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n": ["a", "\ufeffb"],
    b"\xef\xbb\xbf\n": [""],
    b"a\x00b\n\x00\n": ["a\x00b", "\x00"],
    "a\u2028b\u2029c\n".encode(): ["a\u2028b\u2029c"],
    "a\u0085b\x0bc\x0cd\x1ce\n".encode(): ["a\u0085b\x0bc\x0cd\x1ce"],
}

content = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"))


@pytest.mark.parametrize(("raw", "lines"), LINES.items())
def test_a_line_ends_at_lf_or_crlf_and_at_nothing_else(raw: bytes, lines: list[str], tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes(raw)
    assert read_lines(path) == lines
    assert read_lines(io.BytesIO(raw)) == lines
    assert list(iterate_lines(io.BytesIO(raw), "input")) == lines
    assert read_lines(io.BytesIO(gzip.compress(raw))) == lines


@given(st.lists(content))
def test_lines_come_back_as_they_were_written(lines: list[str]) -> None:
    raw = b"\xef\xbb\xbf" + b"".join(line.encode() + b"\r\n" for line in lines)
    assert read_lines(io.BytesIO(raw)) == lines
    assert list(iterate_lines(io.BytesIO(raw), "input")) == lines


def test_gzip_is_known_by_its_content_and_may_have_several_members(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes(gzip.compress(b"a\nb") + gzip.compress(b"c\n"))
    assert read_lines(path) == ["a", "bc"]


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-9], lambda raw: raw[:-8] + b"12345678", lambda raw: raw[:20] + b"\xff" * 9 + raw[29:]]
)
def test_a_damaged_gzip_file_is_refused_by_name(damage: object, tmp_path: Path) -> None:
    assert callable(damage)
    path = tmp_path / "lines.gz"
    path.write_bytes(damage(gzip.compress(b"some text\n" * 97 + bytes(range(97)))))
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))} is a damaged gzip file: "):
        read_lines(path)


def test_a_file_that_is_gzip_by_name_only_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lines.gz"
    path.write_bytes(b"a\n")
    with pytest.raises(DataError, match=r"lines\.gz is named as a gzip file and is none\. Rename it, or compress"):
        read_lines(path)


def test_a_gzip_bomb_is_refused_before_it_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_BOMB_BYTES", 1 << 21)
    bomb = gzip.compress(bytes(1 << 25))
    assert len(bomb) < 1 << 16
    with pytest.raises(DataError, match=r"the input is a damaged gzip file: it grows to more than 100 times its size"):
        read_lines(io.BytesIO(bomb))
    assert zlib.decompress(bomb, wbits=31) == bytes(1 << 25)


def test_every_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("plain\nd\u00e9j\u00e0\nplain\n\u00e9t\u00e9".encode("latin-1"))
    with pytest.raises(DataError) as raised:
        read_lines(path)
    assert raised.value.faults == [
        f"{path}:2: byte 0xE9, number 2 of the line, is not UTF-8. If the file is LATIN1: iconv -f LATIN1 -t UTF-8",
        f"{path}:4: byte 0xE9, number 1 of the line, is not UTF-8.",
    ]


def test_all_broken_lines_are_kept_where_only_twenty_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(b"\xe9\n" * 97)
    with pytest.raises(DataError, match=r"\n\.\.\. and 77 more faults\.$") as raised:
        read_lines(path)
    assert [int(fault.split(":")[1]) for fault in raised.value.faults] == list(range(1, 98))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_utf16_file_is_told_how_to_become_utf8(encoding: str) -> None:
    with pytest.raises(DataError, match=r"If the file is UTF-16: iconv -f UTF-16 -t UTF-8"):
        read_lines(io.BytesIO("\ufeffété\n".encode(encoding)))


def test_a_stream_gives_the_lines_before_a_broken_one() -> None:
    lines = iterate_lines(io.BytesIO(b"a\nb\n\xe9\nc\n"), "standard input")
    assert [next(lines), next(lines)] == ["a", "b"]
    with pytest.raises(DataError, match=r"^standard input:3: byte 0xE9, number 1 of the line, is not UTF-8\.$"):
        next(lines)


def test_a_stream_is_read_line_by_line_and_not_ahead() -> None:
    class Terminal(io.BytesIO):
        taken = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            self.taken += 1
            return super().readline(size)

    terminal = Terminal(b"a\nb\nc\n")
    assert next(iterate_lines(terminal, "terminal")) == "a"
    assert terminal.taken == 1


def test_a_line_of_a_stream_may_not_be_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "LONGEST_LINE", 1_000)
    lines = iterate_lines(io.BytesIO(b"a" * 999 + b"\n" + b"b" * 1_000 + b"\n"), "standard input")
    assert len(next(lines)) == 999
    with pytest.raises(DataError, match=r"^standard input:2: the line has more than 1,000 bytes\. Is it text\?$"):
        next(lines)


def test_pairs_are_the_lines_of_two_files(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"a\r\nb\r\n")
    target.write_bytes(gzip.compress(b"x\ny"))
    pairs = read_pairs(source, target)
    assert pairs == Pairs(["a", "b"], ["x", "y"])
    assert len(pairs) == 2
    assert list(pairs.lines) == [1, 2]


def test_all_faults_of_both_files_are_told_at_once(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"a\n\xff\nc\n")
    target.write_bytes(b"x\ny\nz\n\xfe\n")
    with pytest.raises(DataError) as raised:
        read_pairs(source, target)
    assert raised.value.faults == [
        f"{source} has 3 lines and {target} has 4: line i of the one must be the translation of line i of the other.",
        f"{source}:2: byte 0xFF, number 1 of the line, is not UTF-8. If the file is LATIN1: iconv -f LATIN1 -t UTF-8",
        f"{target}:4: byte 0xFE, number 1 of the line, is not UTF-8. If the file is LATIN1: iconv -f LATIN1 -t UTF-8",
    ]


def test_empty_and_missing_files_are_refused_together(tmp_path: Path) -> None:
    empty, missing = tmp_path / "empty", tmp_path / "missing"
    empty.touch()
    with pytest.raises(DataError) as raised:
        read_pairs(empty, missing)
    assert raised.value.faults == [f"{empty} is empty.", f"{missing} cannot be read: No such file or directory."]
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_lines(tmp_path)
    with pytest.raises(DataError, match=r"empty is empty\.\n.*empty is empty\."):
        read_pairs(empty, empty)


def test_unequal_columns_make_no_pairs() -> None:
    with pytest.raises(DataError, match=r"^2 sources and 3 targets are given: one target is needed for each source\.$"):
        Pairs(["a", "b"], ["x", "y", "z"])


def test_selected_pairs_remember_their_lines() -> None:
    pairs = Pairs(["a", "b", "c"], ["x", "y", "z"], [2, 3, 5]).select([2, 0])
    assert (pairs.sources, pairs.targets, pairs.lines) == (["c", "a"], ["z", "x"], [5, 2])


def test_words_end_at_blanks_of_every_kind_and_at_nothing_else() -> None:
    blanks = "".join(chr(code) for code in range(0x11000) if re.fullmatch(r"\s", chr(code)))
    spaces = "\t \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
    for blank in blanks:
        words = split_words(f"{blank}a{blank}{blank}b,c{blank}")
        assert (words == ["a", "b,c"]) == (blank in spaces), hex(ord(blank))
    assert split_words("a\u2028b \x00\r d\x0c") == ["a\u2028b", "\x00\r", "d\x0c"]
    assert split_words(" \t\u3000") == split_words("") == []


def some_pairs(count: int, translations: int) -> Pairs:
    sources = [f"Sentence {number // translations}" for number in range(count)]
    return Pairs(sources, [f"Phrase {number}" for number in range(count)])


@given(st.lists(st.integers(0, 30), min_size=2, max_size=97), st.integers(0, 7), st.data())
def test_no_source_sentence_is_on_both_sides_of_a_split(numbers: list[int], seed: int, data: st.DataObject) -> None:
    if len(set(numbers)) == 1:
        numbers.append(31)
    pairs = Pairs([f"s{number}" for number in numbers], [str(place) for place in range(len(numbers))])
    count = data.draw(st.integers(1, len(numbers) - 1))
    kept, held = hold_out(pairs, count=count, seed=seed)
    assert not set(kept.sources) & set(held.sources)
    assert sorted([*kept.lines, *held.lines]) == list(pairs.lines)
    smallest = min(numbers.count(number) for number in numbers)
    assert 1 <= len(held) <= max(count, smallest)
    assert len(kept) >= 1
    assert list(kept.lines) == sorted(kept.lines)


@pytest.mark.parametrize(("pairs", "held_out"), [(40_009, 1000), (1009, 50), (7, 1)])
def test_a_thousand_pairs_or_five_percent_are_held_out(pairs: int, held_out: int) -> None:
    assert [len(side) for side in hold_out(some_pairs(pairs, 1))] == [pairs - held_out, held_out]


def test_a_split_depends_on_its_seed_alone() -> None:
    pairs = some_pairs(997, 3)
    assert hold_out(pairs, seed=5) == hold_out(pairs, seed=5)
    assert hold_out(pairs, seed=5) != hold_out(pairs, seed=7)


def test_sources_that_differ_in_case_or_blanks_stay_together() -> None:
    pairs = Pairs(["Go on", "go  ON ", "stop"], ["a", "b", "c"])
    kept, held = hold_out(pairs, count=1)
    assert (kept.targets, held.targets) == (["a", "b"], ["c"])


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(DataError, match=r"^There is one source sentence in 3 pairs: none can be held out\. Give pairs"):
        hold_out(some_pairs(3, 3))
    for count in (0, 5):
        with pytest.raises(OptionError, match=rf"^Of 5 pairs, 1 to 4 can be held out, not {count}\.$"):
            hold_out(some_pairs(5, 1), count=count)


def test_a_million_lines_and_a_line_of_ten_megabytes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"ab c\r\n" * 1_000_000 + "é".encode() * 5_000_000)
    lines = read_lines(path)
    assert len(lines) == 1_000_001
    assert lines[999_999] == "ab c"
    assert len(lines[-1]) == 5_000_000
    with path.open("rb") as stream:
        assert sum(1 for _ in iterate_lines(stream, "large")) == 1_000_001
