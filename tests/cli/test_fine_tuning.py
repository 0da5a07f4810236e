"""`regard train --from`: going on from a finished run."""

from pathlib import Path

import pytest
import torch

import regard as package
from regard.data.tokenizers import TokenizerConfig, TokenizerPair
from tests.cli.conftest import Regard
from tests.tasks import tiny


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A finished run, which says by itself what it is: no recipe is needed."""
    return tiny.save(tmp_path / "origin")


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


def test_what_a_recipe_file_decides_otherwise_is_refused(
    regard: Regard, origin: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """It was read and dropped."""
    recipe = tmp_path / "own.toml"
    recipe.write_text(
        '[model]\nkind = "recurrent"\ndropout = 0.1\n[tokenizer]\nvocab_size = 8000\nkind = "unigram"\n'
        "[training]\nmax_updates = 1\n"
    )
    outcome = regard(*arguments(pair, tmp_path / "tuned"), "--from", origin, "--config", recipe)
    assert outcome.status == 2
    assert (
        f"{recipe} has others: model.kind ('recurrent', not 'transformer'), model.dropout (0.1, not 0.3), "
        "tokenizer.kind ('unigram', not 'bpe'). Take them out of it, or train anew without --from."
    ) in outcome.err
    assert not (tmp_path / "tuned").exists()
    recipe.write_text('[model]\nkind = "transformer"\nmodel_dim = 16\n[tokenizer]\nvocab_size = 8000\n')
    outcome = regard(*arguments(pair, tmp_path / "tuned"), "--from", origin, "--config", recipe, *small())
    assert outcome.status == 0, outcome.err


def test_of_a_preset_that_is_named_model_and_tokenizer_do_not_count_which_is_told(
    regard: Regard, origin: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    given = [*arguments(pair, tmp_path / "tuned"), "--from", origin, "--preset", "gru-attention", *small()]
    outcome = regard(*given)
    assert outcome.status == 0, outcome.err
    assert "Of the preset gru-attention all but model and tokenizer counts." in outcome.err


def test_a_recipe_that_does_not_go_with_the_tokenizer_of_the_run_is_refused(
    regard: Regard, pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unigram = TokenizerPair.train(tiny.LINES, TokenizerConfig(kind="unigram", vocab_size=300))
    monkeypatch.setattr(tiny, "tokenizers", lambda: unigram)
    origin = tiny.save(tmp_path / "origin")
    given = [*arguments(pair, tmp_path / "tuned"), "--from", origin, "--data.subword_dropout=0.1"]
    outcome = regard(*given)
    assert outcome.status == 2
    assert "leaves out merges, which a tokenizer of kind 'unigram' has not" in outcome.err
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
