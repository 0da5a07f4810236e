"""`regard demo`; the whole of it runs with the learning tests."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from regard.cli.demo import FEW, NAMED, SHOWN, chosen, make_room, tell_if_few, training_data
from regard.data.phrasebook import splits
from regard.errors import OptionError
from tests.cli.conftest import Regard


def test_an_earlier_demo_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "demo-run"
    make_room(out)
    out.mkdir()
    make_room(out)
    (out / "train.toml").write_text('[files]\nphrasebook = "regard demo --seed 1"\n', encoding="utf-8")
    (out / "model.safetensors").write_bytes(b"old")
    make_room(out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ['[files]\nsrc = "a"\n', "", "[files"])
def test_anything_else_is_kept(content: str, tmp_path: Path, regard: Regard) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "train.toml").write_text(content, encoding="utf-8")
    outcome = regard("demo", "--out", out)
    assert (outcome.status, outcome.out) == (2, b"")
    assert (out / "train.toml").read_text(encoding="utf-8") == content


def test_a_file_at_the_place_is_kept(tmp_path: Path) -> None:
    (tmp_path / "notes").write_bytes(b"mine")
    with pytest.raises(OptionError, match=r"is there already and is no demo's\. Choose another folder with --out\."):
        make_room(tmp_path / "notes")


def test_the_named_sentence_and_others_of_growing_length_are_shown() -> None:
    examples = splits(train=0, valid=0, test=50)
    shown = chosen(examples.test)
    assert shown[0].source == NAMED
    assert len({one.source for one in shown}) == SHOWN
    lengths = [len(one.source.split(" ")) for one in shown[1:]]
    assert lengths == sorted(lengths)


def test_gold_links_are_given_for_validation_alone() -> None:
    examples = splits(train=7, valid=5, test=3)
    data = training_data(examples)
    assert (len(data.train), len(data.valid)) == (7, 5)
    assert data.gold is not None
    assert [gold.sure for gold in data.gold] == [one.alignment for one in examples.valid]


def test_a_machine_that_is_too_slow_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    tell_if_few(FEW)
    assert capsys.readouterr().err == ""
    tell_if_few(44)
    assert capsys.readouterr().err.startswith("Only 44 updates were done in the time; it takes 1,500 and more.")


@pytest.mark.learning
def test_the_demo_learns_the_phrasebook(tmp_path: Path) -> None:
    # By updates: how many of them 90 seconds hold is the machine's affair.
    command = [sys.executable, "-m", "regard", "demo", "--max-updates", "2500"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    found = re.search(r"exactly right ([0-9.]+)%, alignment error rate ([0-9.]+)", done.stdout)
    assert found
    assert float(found[1]) >= 90
    assert float(found[2]) <= 0.10
    assert "my feet hurt → j'ai mal aux pieds" in done.stdout
    assert (tmp_path / "demo-run" / "alignment.png").exists()
    assert (tmp_path / "demo-run" / "alignment.html").exists()
