"""Where results go."""

import io
import os
import stat
from pathlib import Path

import pytest

from regard.cli.streams import Output, opened_output
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
