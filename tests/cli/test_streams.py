"""Where results go."""

import io
import os
import stat
from pathlib import Path

import pytest

from regard.cli.streams import Output, opened_output, show_rows
from regard.errors import OptionError, WorkError


def test_a_file_appears_whole_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with opened_output(path) as output:
        output.line("one")
        assert not path.exists()
    assert path.read_bytes() == b"one\n"
    assert os.listdir(tmp_path) == ["out"]


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"earlier\n")

    def fail() -> None:
        with opened_output(path) as output:
            output.line("one")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert path.read_bytes() == b"earlier\n"
    assert os.listdir(tmp_path) == ["out"]


def test_a_link_is_followed_and_rights_are_kept(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"earlier\n")
    real.chmod(0o600)
    link.symlink_to(real)
    with opened_output(link) as output:
        output.line("one")
    assert link.is_symlink()
    assert real.read_bytes() == b"one\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o600


def test_a_device_is_written_to_and_stays_one() -> None:
    with opened_output(Path(os.devnull)) as output:
        output.line("one")
    assert not Path(os.devnull).is_file()


def test_a_folder_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot be written: Is a directory"), opened_output(tmp_path):
        raise AssertionError("it must not come to this")


def test_a_line_feed_within_a_line_becomes_a_blank() -> None:
    stream = io.BytesIO()
    Output(stream, "memory").line("a\nb\u2028c\rd")
    assert stream.getvalue() == "a b\u2028c\rd\n".encode()


def test_a_full_disk_is_told() -> None:
    class Full(io.BytesIO):
        def write(self, content: object, /) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(WorkError, match=r"memory cannot be written: No space left on device\."):
        Output(Full(), "memory").line("a")


class FullDisk(io.BytesIO):
    """Says only when it is flushed that there is no room, as files do that gather what is written."""

    full = True

    def flush(self) -> None:
        if self.full:
            raise OSError(28, "No space left on device")


def test_what_fails_only_when_it_is_flushed_is_told_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    told = r"^standard output cannot be written: No space left on device\. Free some space on that disk"
    disk = FullDisk()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(disk))
    with pytest.raises(WorkError, match=told), opened_output(None) as output:
        output.line("one")
    with pytest.raises(WorkError, match=told):
        show_rows([("name", "value", "")])
    disk.full = False


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_told_when_a_file_is_closed() -> None:
    with (
        pytest.raises(WorkError, match=r"^/dev/full cannot be written: No space"),
        opened_output(Path("/dev/full")) as o,
    ):
        o.line("one")


def test_a_reader_of_a_table_who_leaves_ends_the_command_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Left(io.StringIO):
        def write(self, text: str, /) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Left())
    with pytest.raises(BrokenPipeError):
        show_rows([("name", "value", "")])


def test_a_file_in_a_folder_that_is_missing_is_refused_with_advice(tmp_path: Path) -> None:
    with (
        pytest.raises(OptionError, match=r"none/a cannot be written: No such file .*\. Make the folder first\."),
        opened_output(tmp_path / "none" / "a"),
    ):
        raise AssertionError("it must not come to this")
