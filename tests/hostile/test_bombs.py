"""Files made to exhaust memory, time or the stack: refused in words, soon."""

import gzip
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from regard.data import text
from regard.data.text import read_lines
from regard.errors import DataError
from tests.cli.conftest import Outcome, Regard
from tests.hostile.sealing import seal

SOON = 10.0  # seconds; each takes a fraction of one where nothing else runs


@pytest.fixture(autouse=True)
def soon() -> Iterator[None]:
    began = time.perf_counter()
    yield
    assert time.perf_counter() - began < SOON


def require_words(outcome: Outcome, status: int, *told: str) -> None:
    assert (outcome.status, outcome.out) == (status, b"")
    assert outcome.err.startswith("regard: ") or "\nregard: " in outcome.err
    assert all(one in outcome.err for one in told), outcome.err
    assert len(outcome.err) < 3_000


Document = dict[str, Any]


def regex(pattern: str) -> Callable[[Document], object]:
    return lambda document: document["pre_tokenizer"]["pretokenizers"][0].update(pattern={"Regex": pattern})


TOKENIZERS: dict[str, Callable[[Document], object]] = {
    "a regular expression that runs for hours": regex("(a+)+$"),
    "a regular expression that the library panics at": regex("(?<=a{1,99999}(b{1,99999}){1,99999})"),
    "an unknown token outside the vocabulary": lambda document: document.update(
        model={"type": "Unigram", "unk_id": 999_999, "vocab": [["a", 0.0]], "byte_fallback": False}
    ),
    "an empty unigram model": lambda document: document.update(
        model={"type": "Unigram", "unk_id": None, "vocab": [], "byte_fallback": False}
    ),
    "merges outside the vocabulary": lambda document: document["model"].update(merges=[["q" * 90, "x" * 90]]),
    "an id of a billion": lambda document: document["model"]["vocab"].update(abc=1_000_000_000),
    "an id beyond all integers": lambda document: document["model"]["vocab"].update(abc=10**4000),
    "a padding of a billion": lambda document: document.update(
        padding={"strategy": {"Fixed": 10**9}, "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "a"}
    ),
    "a truncation of nothing": lambda document: document.update(truncation={"max_length": 0, "stride": 9}),
    "special tokens by the thousand": lambda document: document.update(
        added_tokens=[{**document["added_tokens"][0], "content": str(number)} for number in range(9_999)]
    ),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_hostile_tokenizer_is_refused_by_commands(name: str, run: Path, regard: Regard) -> None:
    path = run / "tokenizer.json"
    document = json.loads(path.read_bytes())
    TOKENIZERS[name](document)
    path.write_text(json.dumps(document), encoding="utf-8")
    seal(run / "manifest.json")
    for command in (("translate", run), ("info", run), ("train", "--resume", "--out", run, "--max-updates", 9)):
        require_words(regard(*command, stdin=b"a" * 60 + b"\n"), 1, str(path))


DEEP = {
    "lists": b"[" * 200_000 + b"]" * 200_000,
    "objects": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "objects without an end": b'{"a":' * 200_000,
    "moderately deep": b'{"a":' * 900 + b"1" + b"}" * 900,
    "digits": b'{"format": ' + b"9" * 100_000 + b"}",
    "an exponent": b'{"format": 1e999999999, "files": {}, "step": 1e400, "version": 1}',
    "nothing but blanks": b" " * 2_000_000,
    "half characters": b'{"\\ud800": "\\udfff"}',
}


@pytest.mark.parametrize("content", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "manifest.json"])
def test_deep_or_huge_json_is_refused(name: str, content: bytes, run: Path, regard: Regard) -> None:
    (run / name).write_bytes(content)
    if name != "manifest.json":
        seal(run / "manifest.json")
    require_words(regard("translate", run), 1, str(run))


@pytest.mark.parametrize("content", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize("name", ["state.json", "manifest.json"])
def test_deep_or_huge_json_in_a_checkpoint_is_passed_over(name: str, content: bytes, run: Path, regard: Regard) -> None:
    newest = run / "checkpoints" / "step-00000004"
    (newest / name).write_bytes(content)
    if name == "state.json":
        seal(newest / "manifest.json")
    outcome = regard("train", "--resume", "--out", run, "--max-updates", 5)
    assert outcome.status == 0
    assert "The checkpoint of step 4 is damaged and passed over: " in outcome.err


STATES: dict[str, Any] = {
    "step": [None, "4", 4.0, 10**30, -1, [4]],
    "place": [None, [], [1], [1, 2, 3], ["a", "b"], [float("1e300"), 1], [-1, 0], [0, -5], [10**30, 0], 7],
    "seconds": [None, "long", [1], {}],
    "skipped_in_row": [None, "many"],
    "validated_step": [None, "x", []],
    "metrics_bytes": [None, "x", -1, 10**30, 0.5],
    "totals": [None, [], {"loss": "x"}, {"more": 1}, {"tokens": "many"}],
    "selection": [None, {}, {"by": "loss", "patience": None, "step": "x", "score": "y"}],
    "random": [None, [], {}, {"cpu": "not base64!"}, {"cpu": "QUJD"}, {"cpu": 7}, {"cpu": "A" * 1_000_000}],
}


@pytest.mark.parametrize("name", STATES)
def test_a_state_that_is_none_is_refused(name: str, run: Path, regard: Regard) -> None:
    paths = [run / "checkpoints" / step / "state.json" for step in ("step-00000002", "step-00000004")]
    whole = [path.read_bytes() for path in paths]
    for value in STATES[name]:
        for path, content in zip(paths, whole, strict=True):
            path.write_text(json.dumps(json.loads(content) | {name: value}), encoding="utf-8")
            seal(path.parent / "manifest.json")
        outcome = regard("train", "--resume", "--out", run, "--max-updates", 9)
        assert outcome.status == 1, (value, outcome.err)
        assert "heckpoint" in outcome.err


RECIPES = {
    "lists": "seed = " + "[" * 4_000,
    "dotted keys": ".".join("a" * 2_000) + " = 1\n",
    "a dotted header": "[training." + ".".join("a" * 2_000) + "]\nseed = 1\n",
    "dotted keys longer than a line": ".".join("a" * 50_000) + " = 1\n",
    "dotted keys in many lines": (".".join("a" * 2_000) + ".x = 1\n") * 500,
    "inline tables": "model = " + "{a = " * 900 + "1" + "}" * 900,
    "digits": "seed = " + "9" * 4_900,
    "a seed beyond 64 bits": f"seed = {2**63}",
    "a negative seed": "seed = -1",
    "an infinite seed": "seed = 1e999",
    "a million workers": "[data]\nworkers = 1000000",
    "no tokens": "[data]\nbatch_tokens = 0",
    "more tokens than 64 bits count": f"[data]\nbatch_tokens = {2**65}",
    "a trillion beams": "[decoding]\nbeams = 1000000000000",
    "a vocabulary that no machine holds": "[tokenizer]\nvocab_size = 1000000000000",
    "a smoothing that is no number": "label_smoothing = nan",
    "two megabytes": "# comment\n" * 200_000,
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_hostile_recipe_is_refused(name: str, texts: tuple[Path, Path], tmp_path: Path, regard: Regard) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPES[name])
    given = ("--src", texts[0], "--tgt", texts[1], "--out", tmp_path / "out")
    require_words(regard("train", "--config", path, *given), 2)
    assert not (tmp_path / "out" / "checkpoints").exists()


@pytest.mark.parametrize(
    "value", [".".join("a" * 20_000) + "=1", "seed=" + "[" * 90_000, "seed=" + "9" * 90_000, "model=" + "{a=" * 9_000]
)
def test_a_hostile_option_is_refused(value: str, texts: tuple[Path, Path], tmp_path: Path, regard: Regard) -> None:
    given = ("--src", texts[0], "--tgt", texts[1], "--out", tmp_path / "out")
    require_words(regard("train", "--set", value, *given), 2)


def bomb(members: int) -> bytes:
    """As many times 64 MB of one letter, packed a thousand to one."""
    return gzip.compress(b"a" * (1 << 26), mtime=0) * members


def test_a_corpus_that_is_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, regard: Regard) -> None:
    monkeypatch.setattr(text, "_BOMB_BYTES", 1 << 24)
    path = tmp_path / "bomb.gz"
    path.write_bytes(bomb(3))
    require_words(
        regard("train", "--src", path, "--tgt", path, "--out", tmp_path / "out"), 2, f"{path} is a damaged gzip file"
    )


def test_a_bomb_without_a_line_end_is_refused_in_a_stream(run: Path, tmp_path: Path, regard: Regard) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(bomb(9))
    require_words(regard("translate", run, path), 2, f"{path}:1: the line has more than 16,777,216 bytes.")


def test_table_rows_that_are_deep_or_huge_are_named(tmp_path: Path, regard: Regard) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [b'{"a": "x", "b": "y"}', b"[" * 200_000, b'{"a":' * 200_000, b'{"a": "x", "b": ' + b"9" * 90_000 + b"}"]
    rows += [b'{"a": "\\ud800", "b": "x"}', b"1e999999", b"NaN", b'{"a": ["x"], "b": "y"}']
    path.write_bytes(b"\n".join(rows) + b"\n")
    outcome = regard("train", "--data", path, "--out", tmp_path / "out")
    require_words(outcome, 2, *(f"{path}:{number}: " for number in range(2, 9)))


def test_links_with_huge_numbers_are_named(tmp_path: Path, regard: Regard) -> None:
    path = tmp_path / "links"
    path.write_bytes(b"0-0\n" + b"9" * 5_000 + b"-1\n" + b"1-" + b"9" * 90_000 + b"\n")
    outcome = regard("align", "--links", path, "--gold", path)
    assert outcome.status == 2
    assert all(f"{path}:{number}: " in outcome.err for number in (2, 3))


@pytest.mark.slow
def test_a_bomb_of_many_gigabytes_is_refused_before_it_fills_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(bomb(160))  # ten gigabytes in ten megabytes
    with pytest.raises(DataError, match="it grows to more than 100 times its size"):
        read_lines(path)
