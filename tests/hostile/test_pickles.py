"""Pickles in every place that reads a file: none is loaded, and each is refused by its name."""

import gzip
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from regard.data.tables import read_table
from regard.data.text import read_lines, read_pairs
from regard.data.tokenizers import TokenizerPair
from regard.errors import ConfigError, DamagedError, DataError, RegardError
from regard.files import read_json, read_tensors
from regard.inspection.alignments.links import read_pharaoh
from regard.tasks.load import load
from regard.tasks.recipe import preset, read_toml
from regard.training import checkpoints
from tests.cli.conftest import Outcome, Regard
from tests.hostile.canary import WRAPPINGS
from tests.hostile.sealing import seal

RUN_FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer.target.json", "manifest.json"]
CHECKPOINT_FILES = ["weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json"]
TEXT = "as text"
every_wrapping = pytest.mark.parametrize("wrapping", WRAPPINGS)


@pytest.fixture
def fired(tmp_path: Path) -> Iterator[Path]:
    """The folder that a loaded pickle would make."""
    place = tmp_path / "fired"
    yield place
    assert not place.exists()


@every_wrapping
def test_these_pickles_would_fire(wrapping: str, tmp_path: Path) -> None:
    content = WRAPPINGS[wrapping](tmp_path / "fired")
    if wrapping == "zipped by torch":
        torch.load(given(tmp_path, content), weights_only=False)
    elif wrapping == "an array of objects":
        np.load(given(tmp_path, content), allow_pickle=True)
    elif wrapping == "gzip":
        pickle.loads(gzip.decompress(content))
    else:
        pickle.loads(content[8:] if wrapping == "behind a header" else content)
    assert (tmp_path / "fired").exists()


READERS: dict[str, tuple[Callable[[Path], object], type[RegardError]]] = {
    "tensors": (read_tensors, DamagedError),
    "json": (read_json, DamagedError),
    "toml": (read_toml, ConfigError),
    "alignments": (read_pharaoh, DataError),
    "tsv": (lambda path: read_table(path), DataError),
    "jsonl": (lambda path: read_table(path.rename(path.with_suffix(".jsonl"))), DataError),
}


@every_wrapping
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_refuses_a_pickle_by_its_name(reader: str, wrapping: str, fired: Path, tmp_path: Path) -> None:
    read, error = READERS[reader]
    with pytest.raises(error, match=re.escape(f"{tmp_path / 'given'}")):
        read(given(tmp_path, WRAPPINGS[wrapping](fired)))


def given(folder: Path, content: bytes) -> Path:
    path = folder / "given"
    path.write_bytes(content)
    return path


@every_wrapping
def test_a_corpus_is_text_or_refused(wrapping: str, fired: Path, tmp_path: Path) -> None:
    path = given(tmp_path, WRAPPINGS[wrapping](fired))
    if wrapping == TEXT:  # there are no bytes that text has not: these are lines like others
        assert read_lines(path) == path.read_text().split("\n")
        return
    for read in (read_lines, lambda path: read_pairs(path, path)):
        with pytest.raises(DataError, match=re.escape(str(path))):
            read(path)


@every_wrapping
@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("name", RUN_FILES)
def test_a_run_with_a_pickle_in_it_is_refused(name: str, sealed: bool, wrapping: str, fired: Path, run: Path) -> None:
    (run / name).write_bytes(WRAPPINGS[wrapping](fired))
    if sealed and name in ("config.json", "model.safetensors", "tokenizer.json"):
        seal(run / "manifest.json")
    with pytest.raises(DamagedError, match=re.escape(str(run / name))):
        load(run)


@every_wrapping
def test_a_tokenizer_of_the_target_is_refused_in_a_manifest_as_well(wrapping: str, fired: Path, run: Path) -> None:
    (run / "tokenizer.target.json").write_bytes(WRAPPINGS[wrapping](fired))
    with pytest.raises(DamagedError, match=re.escape(str(run / "tokenizer.target.json"))):
        TokenizerPair.load(run)


@every_wrapping
@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("name", CHECKPOINT_FILES)
def test_a_checkpoint_with_a_pickle_in_it_is_passed_over(
    name: str, sealed: bool, wrapping: str, fired: Path, run: Path
) -> None:
    newest = run / "checkpoints" / "step-00000004"
    (newest / name).write_bytes(WRAPPINGS[wrapping](fired))
    if sealed and name != "manifest.json":
        seal(newest / "manifest.json")
    with pytest.raises(DamagedError, match=re.escape(str(newest / name))):
        checkpoints.load(run, 4)
    warnings: list[str] = []
    found = checkpoints.load_latest(run, warnings.append)
    assert found is not None
    assert found.step == 2
    assert len(warnings) == 1


@pytest.mark.parametrize("name", ["../../given", "/given", "given", ".", "demo.toml", "demo\x00", "../presets/demo"])
def test_the_name_of_a_preset_is_no_path(name: str, fired: Path, tmp_path: Path, regard: Regard) -> None:
    given(tmp_path, WRAPPINGS[TEXT](fired))
    name = name.replace("/given", f"{tmp_path}/given")
    with pytest.raises(RegardError, match=r"is unknown.*here are demo, "):
        preset(name)
    outcome = regard("train", "--preset", name, "--src", "x", "--tgt", "y", "--out", tmp_path / "out")
    assert outcome.status == 2
    assert "is unknown" in outcome.err


def require_refusal(outcome: Outcome, path: Path, status: int) -> None:
    """The command ends in words that name the file."""
    assert (outcome.status, outcome.out) == (status, b"")
    assert str(path) in outcome.err
    assert "Traceback" not in outcome.err


@every_wrapping
@pytest.mark.parametrize("name", RUN_FILES)
def test_commands_refuse_a_run_with_a_pickle_in_it(
    name: str, wrapping: str, fired: Path, run: Path, texts: tuple[Path, Path], regard: Regard
) -> None:
    (run / name).write_bytes(WRAPPINGS[wrapping](fired))
    if name in ("config.json", "model.safetensors", "tokenizer.json"):
        seal(run / "manifest.json")
    pair = ("--src", texts[0], "--tgt", texts[1])
    for command in (("translate", run), ("evaluate", run, *pair), ("info", run), ("look", run, "my feet hurt")):
        require_refusal(regard(*command, stdin=b"my feet hurt\n"), run / name, 1)


@every_wrapping
def test_commands_refuse_pickles_for_texts_and_recipes(
    wrapping: str, fired: Path, run: Path, texts: tuple[Path, Path], tmp_path: Path, regard: Regard
) -> None:
    path = given(tmp_path, WRAPPINGS[wrapping](fired))
    source, target = texts
    train = ("train", "--out", tmp_path / "out")
    commands: list[tuple[object, ...]] = [
        (*train, "--config", path, "--src", source, "--tgt", target),
        (*train, "--src", path, "--tgt", target),
        (*train, "--data", path),
        (*train, "--src", source, "--tgt", target, "--valid-src", source, "--valid-tgt", target, "--valid-gold", path),
        ("evaluate", run, "--src", path, "--tgt", target),
        ("align", "--links", path, "--gold", path),
    ]
    for command in commands:
        require_refusal(regard(*command), path, 2)
    if wrapping != TEXT:
        require_refusal(regard("translate", run, path), path, 2)


@every_wrapping
@pytest.mark.parametrize(
    "name", ["train.toml", "tokenizer.json", *(f"checkpoints/{name}" for name in CHECKPOINT_FILES)]
)
def test_a_resumed_training_refuses_pickles(name: str, wrapping: str, fired: Path, run: Path, regard: Regard) -> None:
    if name.startswith("checkpoints/"):
        changed = [run / "checkpoints" / step / Path(name).name for step in ("step-00000002", "step-00000004")]
    else:
        changed = [run / name]
    for path in changed:
        path.write_bytes(WRAPPINGS[wrapping](fired))
        if name.startswith("checkpoints/") and path.name != "manifest.json":
            seal(path.parent / "manifest.json")
    outcome = regard("train", "--resume", "--out", run, "--max-updates", 6)
    require_refusal(outcome, changed[-1], 2 if name == "train.toml" else 1)


@every_wrapping
def test_measurements_that_are_none_count_for_none(wrapping: str, fired: Path, run: Path, regard: Regard) -> None:
    (run / "metrics.jsonl").write_bytes(WRAPPINGS[wrapping](fired))
    assert regard("info", run).status == 0
    assert regard("train", "--resume", "--out", run, "--max-updates", 5).status == 0
