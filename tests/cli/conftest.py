"""Runs with random weights, and the command line in this process."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from regard.cli.main import main
from tests.tasks import tiny


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models of this size are slower on several threads, and on a busy machine much slower."""
    torch.set_num_threads(1)


class Outcome(NamedTuple):
    """What a command left: its exit status and what it wrote."""

    status: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of standard output, cut at LF alone."""
        *lines, rest = self.out.decode("utf-8").split("\n")
        assert not rest, "the last line has no end"
        return lines


Regard = Callable[..., Outcome]


class Terminal(io.BytesIO):
    """Someone who types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="session")
def recurrent_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("runs") / "recurrent", tiny.RECURRENT, seed=2)


@pytest.fixture(scope="session")
def fixed_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose model has no attention."""
    return tiny.save(tmp_path_factory.mktemp("runs") / "fixed", tiny.FIXED)


@pytest.fixture
def regard(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Regard:
    """Run a command in this process."""

    def run(*arguments: object, stdin: bytes | Terminal = b"") -> Outcome:
        stream = stdin if isinstance(stdin, Terminal) else io.BufferedReader(io.BytesIO(stdin))
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(stream))
        capsysbinary.readouterr()
        status = main([str(argument) for argument in arguments])
        captured = capsysbinary.readouterr()
        return Outcome(status, captured.out, captured.err.decode("utf-8"))

    return run


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two files of three pairs, the second without a word."""
    source, target = tmp_path / "source.txt", tmp_path / "target.txt"
    source.write_bytes(b"the cat sleeps\n\nmy feet hurt\n")
    target.write_bytes(b"le chat dort\n\nj'ai mal aux pieds\n")
    return source, target
