"""`regard train --from`: going on from a finished run."""

from pathlib import Path

import pytest
import torch

import regard as package
from tests.cli.conftest import Regard
from tests.tasks import tiny


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A finished run with a recipe."""
    folder = tiny.save(tmp_path / "origin")
    sizes = {name: getattr(tiny.TRANSFORMER, name) for name in ("model_dim", "feed_forward_dim", "num_heads")}
    layers = {name: getattr(tiny.TRANSFORMER, name) for name in ("encoder_layers", "decoder_layers")}
    rows = [f"{name} = {value}" for name, value in {**sizes, **layers}.items()]
    text = "\n".join(["[model]", 'kind = "transformer"', *rows, "[tokenizer]", "vocab_size = 300", ""])
    (folder / "train.toml").write_text(text)
    return folder


def arguments(pair: tuple[Path, Path], out: Path) -> list[object]:
    source, target = pair
    return ["train", "--src", source, "--tgt", target, "--valid-src", source, "--valid-tgt", target, "--out", out]


def small() -> list[object]:
    return ["--max-updates", 1, "--precision", "float32", "--schedule.peak=1e-9", "--training.select_by=loss"]


def test_fine_tuning_begins_with_the_weights_and_tokenizer_of_the_run(
    regard: Regard, origin: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    outcome = regard(*arguments(pair, tmp_path / "tuned"), "--from", origin, *small())
    assert outcome.status == 0, outcome.err
    assert f"Model and tokenizer are those of {origin}." in outcome.err
    old, new = package.load(origin), package.load(tmp_path / "tuned")
    for before, after in zip(old.model.parameters(), new.model.parameters(), strict=True):
        assert torch.allclose(before, after, atol=1e-6)
    assert (tmp_path / "tuned" / "tokenizer.json").read_bytes() == (origin / "tokenizer.json").read_bytes()


def test_fine_tuning_that_stopped_before_its_first_checkpoint_begins_with_the_run_again(
    regard: Regard, origin: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "tuned"
    assert regard(*arguments(pair, out), "--from", origin, *small()).status == 0
    for path in sorted(out.rglob("*"), reverse=True):  # as if it had been killed at once
        if path.name != "train.toml":
            path.unlink() if path.is_file() else path.rmdir()
    outcome = regard("train", "--resume", "--out", out)
    assert outcome.status == 0, outcome.err
    for before, after in zip(
        package.load(origin).model.parameters(), package.load(out).model.parameters(), strict=True
    ):
        assert torch.allclose(before, after, atol=1e-6)


def test_fine_tuning_goes_on_without_the_run_that_it_began_with(
    regard: Regard, origin: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    assert regard(*arguments(pair, tmp_path / "tuned"), "--from", origin, *small()).status == 0
    origin.rename(tmp_path / "elsewhere")
    outcome = regard("train", "--resume", "--out", tmp_path / "tuned", "--max-updates", 2)
    assert outcome.status == 0, outcome.err


@pytest.mark.parametrize("option", ["--model.dropout=0.1", "--tokenizer.vocab_size=500"])
def test_what_the_run_decides_is_no_option_of_fine_tuning(
    option: str, regard: Regard, origin: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    outcome = regard(*arguments(pair, tmp_path / "tuned"), "--from", origin, option)
    assert outcome.status == 2
    expected = f"--from goes on with the model and tokenizer of {origin}: leave out {option.partition('=')[0]}."
    assert expected in outcome.err
    assert not (tmp_path / "tuned").exists()


def test_resume_goes_on_from_its_own_folder_alone(
    regard: Regard, origin: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    assert regard(*arguments(pair, tmp_path / "tuned"), "--from", origin, *small()).status == 0
    outcome = regard("train", "--resume", "--out", tmp_path / "tuned", "--from", origin)
    assert outcome.status == 2
    assert "leave out --preset, --config, --seed and --from" in outcome.err


def test_a_single_checkpoint_is_told_once(
    regard: Regard, origin: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    outcome = regard(*arguments(pair, tmp_path / "tuned"), "--from", origin, *small())
    assert outcome.err.count("The best checkpoint, of step 1: loss") == 1
    assert "mean of" not in outcome.err
