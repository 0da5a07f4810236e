"""The command as a whole: help, exit status, signals, pipes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from regard import __version__
from regard.cli import main as main_module
from regard.cli.main import COMMANDS
from regard.errors import DamagedError, OptionError
from tests.cli.conftest import Regard


def process(*arguments: object, **options: object) -> "subprocess.Popen[bytes]":
    """The command in a process of its own."""
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "regard", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **options,
    )


def test_help_names_every_command(regard: Regard) -> None:
    outcome = regard("--help")
    assert outcome.status == 0
    assert all(f" {name} " in outcome.out.decode() for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, regard: Regard) -> None:
    outcome = regard(name, "--help")
    assert outcome.status == 0
    assert f"Usage: regard {name}" in outcome.out.decode()
    assert "--no-" not in outcome.out.decode()
    assert "--empty-" not in outcome.out.decode()


def test_help_and_version_load_neither_torch_nor_numpy() -> None:
    code = (
        "import sys\nfrom regard.cli.main import main\n"
        f"for name in {list(COMMANDS)!r}: assert main([name, '--help']) == 0\n"
        "assert main(['--help']) == main(['--version']) == 0\n"
        "print([name for name in ('torch', 'numpy', 'matplotlib', 'tokenizers', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[-2] == "[]"


def test_the_version_is_told(regard: Regard) -> None:
    assert regard("--version").lines == [__version__]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["tranlsate"], "translate"),
        (["translate"], "RUN"),
        (["translate", "run", "--beams", "2"], "--beam"),
        (["translate", "run", "--beam", "two"], "--beam"),
        (["translate", "run", "--beam", "0"], "--beam"),
        (["translate", "run", "--beam"], "--beam"),
        (["translate", "run", "--length-penalty", "nan"], "--length-penalty"),
        (["translate", "run", "--length-penalty", "inf"], "--length-penalty"),
        (["translate", "run", "--length-penalty", "200"], "--length-penalty"),
        (["translate", "run", "--batch-size", "0"], "--batch-size"),
        (["translate", "run", "--threads", "0"], "--threads"),
        (["translate", "run", "--precision", "half"], "--precision"),
        (["translate", "run", "--head", "-1"], "--head"),
        (["translate", "run", "--no-json"], "--no-json"),
        (["translate", "run", "input", "more"], "more"),
        (["align", "--symmetrize", "grow"], "--symmetrize"),
        (["score", "run", "--model.num_layers"], "--model.num_layers"),
        (["score", "run", "--model.num_layers=2"], "--set"),
        (["look", "run"], "TEXT"),
        (["demo", "--minutes", "0"], "--minutes"),
    ],
)
def test_a_wrong_option_is_named_and_ends_with_2(arguments: list[str], told: str, regard: Regard) -> None:
    outcome = regard(*arguments)
    assert (outcome.status, outcome.out) == (2, b"")
    assert told in outcome.err
    assert outcome.err.startswith("regard: ")


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (OptionError("given wrongly."), 2, "regard: given wrongly."),
        (DamagedError("is damaged."), 1, "regard: is damaged."),
        (KeyboardInterrupt(), 130, "regard: Interrupted."),
        (main_module.Ended(), 143, "regard: Ended."),
        (OSError(28, "No space left on device"), 1, "regard: No space left on device."),
        (PermissionError(13, "Permission denied", "x/y"), 1, "regard: x/y: Permission denied."),
        (MemoryError(), 1, "regard: There is not enough memory. A smaller --batch-size needs less."),
    ],
)
def test_what_goes_wrong_becomes_words_and_a_status(
    error: BaseException, status: int, told: str, regard: Regard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("regard.cli.info.facts_of", fail)
    outcome = regard("info", "run")
    assert (outcome.status, outcome.err) == (status, told + "\n")


def test_our_own_faults_are_not_hidden(regard: Regard, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("regard.cli.info.facts_of", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        regard("info", "run")


def test_a_reader_who_leaves_is_no_fault(run_folder: Path) -> None:
    with process("translate", run_folder, "--beam", 1, "--max-length", 1, stdin=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        assert child.stderr
        child.stdout.close()
        child.stdin.write(b"the cat sleeps\n" * 2000)
        child.stdin.close()
        assert child.stderr.read() == b""
        assert child.wait(60) == 141


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_command_and_keeps_the_earlier_output(
    number: int, status: int, run_folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.txt"
    output.write_bytes(b"earlier\n")
    with process("translate", run_folder, "-o", output, stdin=subprocess.PIPE) as child:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)
        child.send_signal(number)
        assert child.wait(60) == status
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]
    assert output.read_bytes() == b"earlier\n"
