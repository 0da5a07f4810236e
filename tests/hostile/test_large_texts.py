"""Ten megabytes in a line and a million lines: everything that reads text takes them, in bounded memory."""

import gzip
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from regard.data.text import Pairs, read_pairs
from regard.data.tokenizers import Tokenizer, TokenizerConfig, TokenizerPair
from tests.tasks import tiny

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

TEN_MEGABYTES = 10_000_000
COMMAND = """
import re, sys
from pathlib import Path
from regard.cli.main import main
status = main(sys.argv[1:])
# Not getrusage: what it tells begins with the memory of the process that started this one.
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024, file=sys.stderr)
sys.exit(status)
"""


def regard(*arguments: object) -> tuple[str, int]:
    """Run a command in a process of its own; return what it told, and the megabytes that it took at most."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments), "--threads", "1"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1_200,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    *told, megabytes, _ = done.stderr.split("\n")
    return "\n".join(told), int(megabytes)


LINES = {
    "words": "the cat sleeps " * (TEN_MEGABYTES // 15),
    "one word": "a" * TEN_MEGABYTES,
    "blanks": " " * TEN_MEGABYTES,
    "marks upon marks": "e" + "\u0301" * (TEN_MEGABYTES // 2),
    "characters of four bytes": "\U0001f600" * (TEN_MEGABYTES // 4),
    "carriage returns": "\r" * TEN_MEGABYTES + "x",
}


@pytest.mark.parametrize("name", LINES)
def test_a_line_of_ten_megabytes_is_read_and_comes_back_from_ids(name: str, tmp_path: Path) -> None:
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(f"a b\n{LINES[name]}\nc d\n".encode(), compresslevel=1))
    pairs = read_pairs(path, path)
    assert pairs.sources[1] == LINES[name]
    tokenizer = tiny.tokenizers().source
    assert tokenizer.decode(tokenizer.encode(LINES[name]).ids) == LINES[name]


def test_a_tokenizer_is_trained_on_a_line_of_ten_megabytes(tmp_path: Path) -> None:
    for kind in ("bpe", "unigram"):
        config = TokenizerConfig(vocab_size=300, kind=kind)
        pair = TokenizerPair.train(Pairs(list(LINES.values()), list(LINES.values())), config)
        assert pair.source.vocab_size <= 300


@pytest.mark.parametrize(
    ("name", "length"), [("words", TEN_MEGABYTES), ("one word", 10**6), ("marks upon marks", 10**6)]
)
def test_a_line_of_megabytes_is_translated_in_parts(name: str, length: int, tmp_path: Path) -> None:
    run = tiny.save(tmp_path / "run", max_length=500)
    text, output = tmp_path / "text", tmp_path / "output"
    text.write_text(f"a b\n{LINES[name][:length]}\nc d\n", encoding="utf-8", newline="")
    told, megabytes = regard("translate", run, text, "-o", output, "--beam", 1, "--max-length", 1)
    assert output.read_bytes().count(b"\n") == 3
    assert f"{text}:2: longer than what the model learned from; translated in " in told
    assert megabytes < 1_000


def test_a_million_lines_are_read_and_encoded_and_many_translated_in_bounded_memory(tmp_path: Path) -> None:
    chance = random.Random(3)
    words = " ".join(tiny.LINES.sources).split(" ")
    few = ["".join(f"{chance.choice(words)} " for _ in range(chance.randint(0, 3))) for _ in range(997)]
    lines = [chance.choice(few) for _ in range(1_000_000)]
    path, output = tmp_path / "text", tmp_path / "output"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    assert read_pairs(path, path).sources == lines
    ids = tiny.tokenizers().source.encode_ids(lines)
    assert sum(1 for _ in ids) == 1_000_000
    assert Tokenizer.train(lines, TokenizerConfig(vocab_size=300)).vocab_size <= 300
    run = tiny.save(tmp_path / "run")
    options = ("--beam", 1, "--max-length", 1, "--batch-size", 500)
    megabytes = []
    for count in (5_000, 60_000):
        path.write_text("\n".join(lines[:count]) + "\n", encoding="utf-8", newline="")
        megabytes.append(regard("translate", run, path, "-o", output, *options)[1])
        assert output.read_bytes().count(b"\n") == count
    assert megabytes[1] < megabytes[0] + 50
