"""`regard compare`."""

import json
import signal
from pathlib import Path

import pytest

from regard.cli.main import build_app
from regard.tasks.recipe import read_toml
from tests.cli.conftest import Regard
from tests.experiments.tiny import Watch

SMALL = """
average = 1
precision = "float32"
[model]
kind = "recurrent"
model_dim = 8
hidden_dim = 8
attention = "{attention}"
[tokenizer]
vocab_size = 290
[data]
batch_tokens = 100
[schedule]
kind = "constant"
[decoding]
beams = 1
"""
MADE_UP = ("--synthetic", "reverse", "--max-words", 4, "--test-max-words", 9, "--pairs", 60)


OPTIONS = [
    *("CONFIG", "--src", "--tgt", "--data", "--columns", "--valid-src", "--valid-tgt", "--test-src", "--test-tgt"),
    *("--test-count", "--synthetic", "--max-words", "--test-max-words", "--pairs", "--seeds", "--updates", "--minutes"),
    *("--out", "--set", "--tokenize", "--lowercase", "--precision", "--device", "--threads", "--json"),
]
"""Frozen: a change here is a change for everyone who has a script."""


@pytest.fixture
def recipes(tmp_path: Path) -> list[Path]:
    """Two models, the first without attention."""
    paths = [tmp_path / "fixed.toml", tmp_path / "attending.toml"]
    for path, attention in zip(paths, ("none", "bahdanau"), strict=True):
        path.write_text(SMALL.format(attention=attention))
    return paths


@pytest.fixture
def text(tmp_path: Path) -> list[Path]:
    """Forty pairs, two translations for each source sentence."""
    paths = [tmp_path / "train.en", tmp_path / "train.fr"]
    paths[0].write_text("".join(f"the cat number {n // 2} sleeps\n" for n in range(40)))
    paths[1].write_text("".join(f"le chat numéro {n // 2} dort {n % 2}\n" for n in range(40)))
    return paths


def test_the_options_are_these() -> None:
    collection = build_app()["compare"].assemble_argument_collection()
    names = [name for argument in collection if argument.parse and argument.show for name in argument.names]
    assert sorted(name for name in names if not name.startswith(("--no-", "--empty-"))) == sorted(OPTIONS)


def test_results_are_printed_and_stand_in_the_folder(recipes: list[Path], tmp_path: Path, regard: Regard) -> None:
    out = tmp_path / "out"
    outcome = regard("compare", *recipes, *MADE_UP, "--updates", 3, "--out", out)
    assert outcome.status == 0
    printed = outcome.out.decode()
    assert "Quality: 6 test sentences, one seed" in printed
    assert "Difference from fixed" in printed
    found = json.loads((out / "comparison.json").read_text())
    assert [model["name"] for model in found["models"]] == ["fixed", "attending"]
    assert [model["updates"] for model in found["models"]] == [3, 3]
    assert found["pairs"] == {"train": 60, "valid": 6, "test": 6}
    assert found["models"][0]["tokens_per_second"] > 0
    assert "| attending |" in (out / "comparison.md").read_text()
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    again = regard("compare", *recipes, *MADE_UP, "--updates", 3, "--out", out, "--json")
    assert json.loads(again.out) == found
    assert len(again.lines) == 1


def test_text_is_held_out_by_source_sentence(
    recipes: list[Path], text: list[Path], tmp_path: Path, regard: Regard
) -> None:
    out = tmp_path / "out"
    outcome = regard(
        *("compare", recipes[1], "--src", text[0], "--tgt", text[1], "--test-count", 6, "--updates", 2),
        *("--seeds", 2, "--out", out, "--model.hidden_dim=9"),
    )
    assert outcome.status == 0
    assert "Held out to score: 6 pairs." in outcome.err
    assert "warning" not in outcome.err
    found = json.loads((out / "comparison.json").read_text())
    assert found["pairs"]["test"] == 6
    assert found["pairs"]["train"] + found["pairs"]["valid"] == 34
    assert [trial["seed"] for trial in found["models"][0]["trials"]] == [1, 2]
    assert [length["first"] for length in found["models"][0]["lengths"]] == [5]
    stored = read_toml(out / "attending-1" / "train.toml")
    assert stored["model"]["hidden_dim"] == 9
    assert stored["files"] == {"src": str(text[0]), "tgt": str(text[1])}


def test_test_sentences_that_were_learned_from_are_told(
    recipes: list[Path], text: list[Path], tmp_path: Path, regard: Regard
) -> None:
    (tmp_path / "test.en").write_text("the cat number 3 sleeps\na dog\nthe cat number 4 sleeps\n")
    (tmp_path / "test.fr").write_text("a\nb\nc\n")
    outcome = regard(
        *("compare", recipes[0], "--src", text[0], "--tgt", text[1], "--updates", 1, "--out", tmp_path / "out"),
        *("--valid-src", text[0], "--valid-tgt", text[1]),
        *("--test-src", tmp_path / "test.en", "--test-tgt", tmp_path / "test.fr"),
    )
    assert outcome.status == 0
    assert "warning: 2 of the 3 sentences to score are in the training data too." in outcome.err


def test_an_interrupted_comparison_says_how_to_go_on(
    recipes: list[Path], tmp_path: Path, regard: Regard, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(stop_training=2, stop_step=2)
    monkeypatch.setattr("regard.training.progress.display", lambda stream, config: watch(config))
    command = ("compare", *recipes, *MADE_UP, "--updates", 4, "--out", tmp_path / "out")
    outcome = regard(*command)
    assert outcome.status == 128 + signal.SIGINT
    assert "stopped attending, seed 1, at step 2. The same command goes on from there." in outcome.err
    assert outcome.out == b""
    assert regard(*command).status == 0
    assert (watch.trainings, watch.updates) == (3, 4 + 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--updates", 3, "--minutes", 2, *MADE_UP), "--updates and --minutes are both given: choose one."),
        (("--max-words", 3), "--max-words is for --synthetic, which is not given."),
        (("--pairs", 3), "--pairs is for --synthetic, which is not given."),
        ((*MADE_UP, "--src", "a"), "--synthetic makes its own data: leave out the options that name files"),
        (("--src", "a", "--tgt", "b", "--test-src", "c"), "--test-tgt is missing: both sides are needed."),
        (("--src", "a", "--tgt", "b", "--valid-tgt", "c"), "--valid-src is missing: both sides are needed."),
        (
            ("--test-count", 3, "--test-src", "c", "--test-tgt", "d"),
            "--test-count and --test-src are both given: choose one.",
        ),
        ((), "Sentence pairs are needed: --src and --tgt missing."),
        ((*MADE_UP, "--tokenize", "letters"), "tokenize 'letters' is unknown to sacrebleu"),
        ((*MADE_UP, "--model.hiden_dim=3"), "fixed: model.hiden_dim is unknown: did you mean hidden_dim?"),
    ],
)
def test_options_that_cannot_be_are_refused(
    options: tuple[object, ...], message: str, recipes: list[Path], tmp_path: Path, regard: Regard
) -> None:
    outcome = regard("compare", *recipes, *options, "--out", tmp_path / "out")
    assert (outcome.status, outcome.out) == (2, b"")
    assert message in outcome.err
    assert not (tmp_path / "out").exists()
