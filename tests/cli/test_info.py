"""`regard info`."""

import json
import shutil
from pathlib import Path

import pytest

from regard.files import digest, encode_json, read_json, write_folder
from tests.cli.conftest import Regard
from tests.tasks import tiny


def test_json_tells_what_a_run_is(run_folder: Path, regard: Regard) -> None:
    facts = json.loads(regard("info", run_folder, "--json").out)
    assert list(facts) == [
        *("run", "finished", "model", "parameters", "vocabulary", "max_length", "alignment", "decoding", "files"),
        *("training", "best_validation", "checkpoints"),
    ]
    assert facts["finished"] is True
    assert facts["model"]["kind"] == "transformer"
    assert facts["parameters"] == sum(parameter.numel() for parameter in tiny.translator().model.parameters())
    assert facts["vocabulary"]["source"] == tiny.tokenizers().source.vocab_size
    assert facts["alignment"]["layer"] == "decoder.1.cross_attention"
    assert facts["training"] == {"step": 7, "minutes": 0.5}
    assert facts["max_length"] == 23


def test_the_table_says_the_same(run_folder: Path, regard: Regard) -> None:
    text = regard("info", run_folder).out.decode()
    for expected in (f"{run_folder} (finished, whole)", "kind transformer", "decoder.1.cross_attention", "23 tokens"):
        assert expected in text


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    run.mkdir()
    (run / "train.toml").write_text('[files]\nsrc = "/a/b.en"\n[model]\nkind = "recurrent"\n', encoding="utf-8")
    (run / "metrics.jsonl").write_text(
        '{"step": 5, "loss": 9.0, "seconds": 60.0}\n'
        '{"step": 5, "seconds": 66.0, "valid": {"loss": 8.5}, "best": true}\n'
        '{"step": 9, "seconds": 90.0, "valid": {"loss": 8.75}, "best": false}\n'
        '{"step": 10, "lo',
        encoding="utf-8",
    )
    return run


def test_an_unfinished_run_is_told_as_such(unfinished: Path, regard: Regard) -> None:
    facts = json.loads(regard("info", unfinished, "--json").out)
    assert facts["finished"] is False
    assert facts["model"] == {"kind": "recurrent"}
    assert facts["files"] == {"src": "/a/b.en"}
    assert facts["training"] == {"step": 9, "minutes": 1.5, "ended_by": None}
    assert facts["best_validation"] == {"step": 5, "scores": {"loss": 8.5}}
    assert "not finished: go on with regard train --resume --out" in regard("info", unfinished).out.decode()


def test_a_damaged_checkpoint_is_told_by_its_step(unfinished: Path, regard: Regard) -> None:
    (unfinished / "checkpoints").mkdir()
    write_folder(unfinished / "checkpoints" / "step-00000005", [("state.json", b"{}")])
    (checkpoint,) = json.loads(regard("info", unfinished, "--json").out)["checkpoints"]
    assert (checkpoint["step"], checkpoint["whole"]) == (5, False)
    assert "step-00000005" in checkpoint["damage"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_file_is_named(name: str, run_folder: Path, tmp_path: Path, regard: Regard) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    content = bytearray((run / name).read_bytes())
    content[len(content) // 2] ^= 1
    (run / name).write_bytes(content)
    outcome = regard("info", run)
    assert (outcome.status, outcome.out) == (1, b"")
    assert f"{run / name} is not the file that was written" in outcome.err


def test_what_no_training_wrote_counts_for_none(unfinished: Path, regard: Regard) -> None:
    with (unfinished / "metrics.jsonl").open("ab") as file:
        file.write(b'ss": 1}\n{"step": 11, "valid": 5, "best": true}\n[]\n\xff\n')
    outcome = regard("info", unfinished)
    assert outcome.status == 0
    assert "step 5: loss 8.5" in outcome.out.decode()


def test_a_config_that_describes_no_translator_is_refused(run_folder: Path, tmp_path: Path, regard: Regard) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    config = {**read_json(run / "config.json"), "training": 5}
    (run / "config.json").write_bytes(encode_json(config))
    manifest = read_json(run / "manifest.json")
    manifest["files"]["config.json"] = {
        "size": (run / "config.json").stat().st_size,
        "sha256": digest(run / "config.json"),
    }
    (run / "manifest.json").write_bytes(encode_json(manifest))
    outcome = regard("info", run)
    assert outcome.status == 1
    assert "config.json does not describe a translator: training: input should be a valid dictionary" in outcome.err


def test_a_recipe_that_is_none_is_told(unfinished: Path, regard: Regard) -> None:
    (unfinished / "train.toml").write_text("files = 5\n", encoding="utf-8")
    outcome = regard("info", unfinished)
    assert outcome.status == 2
    assert "train.toml: files is 5 where a table is needed." in outcome.err


def test_what_is_no_run_is_refused(tmp_path: Path, regard: Regard) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        outcome = regard("info", place)
        assert (outcome.status, outcome.out) == (2, b"")
        assert f"{place} holds no finished run. A run is a folder that `regard train --out` wrote" in outcome.err


def test_an_unfinished_run_cannot_be_used_and_is_told_how_to_finish(unfinished: Path, regard: Regard) -> None:
    for command in (("translate",), ("score",), ("look",)):
        text = ("a b",) if command == ("look",) else ()
        files = (
            ("--src", unfinished / "train.toml", "--tgt", unfinished / "train.toml") if command == ("score",) else ()
        )
        outcome = regard(*command, unfinished, *text, *files)
        assert outcome.status == 2
        assert f"{unfinished} holds no finished run: its training has not finished" in outcome.err
        assert "--resume" in outcome.err
