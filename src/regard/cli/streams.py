"""What commands read and write: results on standard output or in a file, everything else on standard error."""

import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from regard.errors import DataError, OptionError, WorkError
from regard.files import why_not_written

if TYPE_CHECKING:
    from rich.console import Console

GZIP_MAGIC = b"\x1f\x8b"
STANDARD_OUTPUT = "standard output"


def say(text: str) -> None:
    """Tell the user something that is no result."""
    print(text, file=sys.stderr, flush=True)


def complain(text: str) -> None:
    """Tell the user what went wrong."""
    say(f"regard: {text}")


@contextmanager
def telling(name: str) -> Iterator[None]:
    """Name what could not be written, and why; that a reader has left is no fault."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise WorkError(f"{name} cannot be written: {why_not_written(error)}") from error


def result_console() -> "Console":
    """Return what draws tables and maps on standard output."""
    from rich.console import Console

    class ResultConsole(Console):
        def print(self, *objects: Any, **how: Any) -> None:
            with telling(STANDARD_OUTPUT):
                super().print(*objects, **how)

        def on_broken_pipe(self) -> None:
            raise  # rich would end the program with a status of its own

    return ResultConsole(file=sys.stdout, highlight=False, markup=False, emoji=False)


def show_rows(rows: Iterable[tuple[str, str, str]]) -> None:
    """Print name, value and remark a line; a long line is the terminal's to wrap, so that no path is cut."""
    from rich.text import Text

    table = list(rows)
    names, values = (max((len(row[place]) for row in table), default=0) for place in (0, 1))
    console = result_console()
    for name, value, remark in table:
        line = Text.assemble((f"{name:<{names}}", "bold"), f"  {value:>{values}}", (remark and f"  {remark}", "dim"))
        console.print(line, soft_wrap=True)


@contextmanager
def opened_input(path: Path | None) -> Iterator[tuple[BinaryIO, str]]:
    """Open a file, or standard input where none is named, and give it a name for messages. Gzip is unpacked.

    A terminal is never asked for its first bytes before its user is.
    """
    if path is None or str(path) == "-":
        yield sys.stdin.buffer if sys.stdin.isatty() else unpacked(sys.stdin.buffer), "standard input"
        return
    try:
        stream = path.open("rb")
        content = unpacked(stream)
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {error.strerror}.") from error
    with stream:
        yield content, str(path)


def unpacked(stream: BinaryIO) -> BinaryIO:
    """Return what unpacks a stream that begins as gzip does, and any other stream as it is."""
    if isinstance(stream, io.BufferedReader) and stream.peek(2).startswith(GZIP_MAGIC):
        return cast(BinaryIO, gzip.GzipFile(fileobj=stream))
    return stream


def lines_of(stream: BinaryIO, name: str) -> Iterator[str]:
    """Yield the lines of an input as they come.

    Raises:
        DataError: A line is not UTF-8, or the stream ends in the middle of its gzip file.
    """
    from regard.data.text import iterate_lines

    try:
        yield from iterate_lines(stream, name)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{name} is a damaged gzip file: {error}.") from error


class Output:
    """Lines of results, on standard output or in a file that appears whole when all lines are there."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.stream, self.name = stream, name

    def line(self, text: str) -> None:
        """Write a line. A line feed in the text becomes a blank, for it would be read as a line's end."""
        with telling(self.name):
            self.stream.write(text.replace("\n", " ").encode("utf-8") + b"\n")

    def flush(self) -> None:
        """Let what was written arrive."""
        with telling(self.name):
            self.stream.flush()


@contextmanager
def opened_output(path: Path | None) -> Iterator[Output]:
    """Open a file for results, or standard output where none is named.

    The file is written beside its place and moved there at the end: a command that fails leaves what was there. A
    link is followed; a device or a pipe (`/dev/null`) is simply written to.
    """
    if path is None or str(path) == "-":
        output = Output(sys.stdout.buffer, STANDARD_OUTPUT)
        yield output
        output.flush()
        return
    target = Path(os.path.realpath(path))
    plain = target.is_file() or not target.exists()
    beside = target.with_name(f".{target.name[:40]}.{os.getpid()}") if plain else target
    try:
        stream = beside.open("wb")
    except OSError as error:
        raise OptionError(f"{path} cannot be written: {why_not_written(error)}") from error
    try:
        yield Output(stream, str(path))
        with telling(str(path)):
            stream.flush()
            if plain:
                os.fsync(stream.fileno())
            stream.close()
            if plain and target.exists():
                beside.chmod(stat.S_IMODE(target.stat().st_mode))
            if plain:
                beside.replace(target)
    finally:
        with suppress(OSError):  # it would say once more what could not be written
            stream.close()
        if plain:
            beside.unlink(missing_ok=True)
