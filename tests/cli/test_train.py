"""`regard train`: recipes, files, what is refused, and a run that comes out of it; nothing is learned here."""

import json
import tomllib
from pathlib import Path

import pytest

from regard.cli.train import fitted_schedule
from regard.tasks.load import load
from tests.cli.conftest import Regard

SOURCES = ["the cat sleeps", "my feet hurt", "i am hungry", "the red house is here", "she does not eat bread"]
TARGETS = ["le chat dort", "j'ai mal aux pieds", "j'ai faim", "la maison rouge est ici", "elle ne mange pas de pain"]
TINY = [
    *("--tokenizer.vocab_size=300", "--model.model_dim=16", "--model.feed_forward_dim=24", "--model.num_heads=2"),
    *("--model.encoder_layers=1", "--model.decoder_layers=1", "--data.batch_tokens=64", "--schedule.warmup=2"),
    *("--training.validate_every=2", "--training.log_every=1", "--threads", "1"),
]


@pytest.fixture
def corpus(tmp_path: Path) -> list[str]:
    sources = [f"{line} {number}" for number in range(7) for line in SOURCES]
    targets = [f"{line} {number}" for number in range(7) for line in TARGETS]
    (tmp_path / "train.en").write_text("\n".join(sources) + "\n", encoding="utf-8")
    (tmp_path / "train.fr").write_text("\n".join(targets) + "\n", encoding="utf-8")
    return ["--src", str(tmp_path / "train.en"), "--tgt", str(tmp_path / "train.fr")]


def metrics(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").split("\n") if line]


def test_a_run_carries_all_that_its_translator_needs(corpus: list[str], tmp_path: Path, regard: Regard) -> None:
    run = tmp_path / "run"
    result = regard("train", *corpus, "--out", str(run), *TINY, "--max-updates", "4")
    assert result.status == 0
    assert result.out == b""
    for told in ("35 pairs", "Held out to choose by: 1", "parameters", "will take about", "The alignment is decoder.0"):
        assert told in result.err
    names = {path.name for path in run.iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json", "train.toml", "metrics.jsonl", "checkpoints"}
    for path in (Path(corpus[1]), Path(corpus[3])):
        path.unlink()  # the folder alone is enough
    assert load(run).translate(["my feet hurt"])[0][0].text is not None


def test_a_resumed_run_equals_an_unbroken_one(corpus: list[str], tmp_path: Path, regard: Regard) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert regard("train", *corpus, "--out", str(whole), *TINY, "--max-updates", "6").status == 0
    assert regard("train", *corpus, "--out", str(broken), *TINY, "--max-updates", "3").status == 0
    again = regard("train", "--resume", "--out", str(broken), "--max-updates", "6", "--threads", "1")
    assert again.status == 0
    timed = ("seconds", "tokens_per_second")
    lines = [[{k: v for k, v in line.items() if k not in timed} for line in metrics(run)] for run in (whole, broken)]
    losses = [[line["loss"] for line in some if "loss" in line] for some in lines]
    assert losses[0] == losses[1]
    assert (whole / "model.safetensors").read_bytes() == (broken / "model.safetensors").read_bytes()


def test_the_recipe_that_was_used_is_written_down(corpus: list[str], tmp_path: Path, regard: Regard) -> None:
    config = tmp_path / "mine.toml"
    config.write_text('label_smoothing = 0.2\n[model]\nnorm = "pre"\ndropout = 0.5\n', encoding="utf-8")
    options = ["--preset", "transformer-tiny", "--config", str(config), "--model.dropout=0.25", "--seed", "11"]
    run = tmp_path / "run"
    assert regard("train", *corpus, "--out", str(run), *TINY, *options, "--max-updates", "1").status == 0
    written = tomllib.loads((run / "train.toml").read_text(encoding="utf-8"))
    assert (written["seed"], written["label_smoothing"]) == (11, 0.2)
    assert (written["model"]["norm"], written["model"]["dropout"]) == ("pre", 0.25)
    assert written["files"] == {"src": corpus[1], "tgt": corpus[3]}


def test_all_faults_of_a_recipe_are_told_at_once(corpus: list[str], tmp_path: Path, regard: Regard) -> None:
    wrong = ["--model.num_layer=4", "--set", "label_smoothing=2", "--set", "average=0"]
    result = regard("train", *corpus, "--out", str(tmp_path / "run"), *wrong)
    assert result.status == 2
    assert "model.num_layer is unknown" in result.err
    assert "label_smoothing must lie between 0 and below 1; it is 2" in result.err
    assert "average must be at least 1; it is 0" in result.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "There is nothing to train on"),
        (["--src", "a"], "--tgt missing"),
        (["--src", "a", "--tgt", "b", "--valid-src", "c"], "--valid-tgt is missing"),
        (["--data", "a", "--src", "b"], "choose one"),
        (["--src", "no-such-file", "--tgt", "nor-this"], "no-such-file"),
        (["--src", "a", "--tgt", "b", "--preset", "transformer-tin"], "did you mean transformer-tiny?"),
        (["--resume"], "There is nothing to resume"),
        (["--src", "a", "--tgt", "b", "--config", "none.toml"], "none.toml cannot be read"),
    ],
)
def test_what_cannot_be_trained_is_refused(options: list[str], told: str, tmp_path: Path, regard: Regard) -> None:
    result = regard("train", "--out", str(tmp_path / "run"), *options)
    assert result.status == 2
    assert told in result.err


def test_a_folder_with_a_run_is_not_written_over(corpus: list[str], tmp_path: Path, regard: Regard) -> None:
    run = tmp_path / "run"
    assert regard("train", *corpus, "--out", str(run), *TINY, "--max-updates", "1").status == 0
    before = (run / "model.safetensors").read_bytes()
    result = regard("train", *corpus, "--out", str(run), *TINY, "--max-updates", "1")
    assert result.status == 2
    assert "holds a run already. Go on with --resume" in result.err
    assert (run / "model.safetensors").read_bytes() == before


def test_who_leaves_while_the_translator_is_finished_is_told_how_to_go_on(
    corpus: list[str], tmp_path: Path, regard: Regard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impatient(*_: object) -> None:
        raise KeyboardInterrupt

    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr("regard.tasks.fit.Fitting.finish", impatient)
        result = regard("train", *corpus, "--out", str(run), *TINY, "--max-updates", "2")
    command = f"regard train --resume --out {run}"
    assert result.status == 130
    assert f"left before the translator was finished. Go on with: {command}\n" in result.err
    assert regard(*command.split()[1:], "--threads", "1").status == 0
    assert load(run).translate(["my feet hurt"])[0][0].text is not None


def test_another_tokenizer_is_refused_on_resume(corpus: list[str], tmp_path: Path, regard: Regard) -> None:
    """One of the same size: every number would mean another piece."""
    run = tmp_path / "run"
    assert regard("train", *corpus, "--out", str(run), *TINY, "--max-updates", "1").status == 0
    text = (run / "tokenizer.json").read_text(encoding="utf-8")
    vocabulary = json.loads(text)["model"]["vocab"]
    one, other = (next(piece for piece, number in vocabulary.items() if number == wanted) for wanted in (100, 101))
    swapped = text.replace(f'"{one}": 100', "...").replace(f'"{other}": 101', f'"{one}": 101')
    (run / "tokenizer.json").write_text(swapped.replace("...", f'"{other}": 100'), encoding="utf-8")
    result = regard("train", "--resume", "--out", str(run), "--max-updates", "2", "--threads", "1")
    assert result.status == 1
    assert f"{run / 'tokenizer.json'} is missing or not the file that the training in {run} began with" in result.err


def test_other_values_are_named_on_resume(corpus: list[str], tmp_path: Path, regard: Regard) -> None:
    """They were two digests that differ, told after the data had been read and encoded."""
    run = tmp_path / "run"
    assert regard("train", *corpus, "--out", str(run), *TINY, "--max-updates", "1").status == 0
    given = ["--max-updates", "2", "--model.dropout=0.2", "--average=3"]
    result = regard("train", "--resume", "--out", str(run), *given)
    assert result.status == 2
    assert "average was 5 and is 3" in result.err
    assert "model.dropout was 0.3 and is 0.2" in result.err
    assert "max_updates was" not in result.err
    assert (
        "Leave that out: what may change is training.max_updates, training.max_minutes, training.patience" in result.err
    )


def test_other_data_are_refused_on_resume(corpus: list[str], tmp_path: Path, regard: Regard) -> None:
    run = tmp_path / "run"
    assert regard("train", *corpus, "--out", str(run), *TINY, "--max-updates", "2").status == 0
    source = Path(corpus[1])
    source.write_text(source.read_text(encoding="utf-8").replace("cat", "dog"), encoding="utf-8")
    result = regard("train", "--resume", "--out", str(run), "--max-updates", "4")
    assert result.status == 2
    assert "had other data or another configuration" in result.err


def test_other_files_of_any_kind_are_looked_at_on_resume(corpus: list[str], tmp_path: Path, regard: Regard) -> None:
    """Moved files are found by their new names; others are refused, the validation set's alone too."""
    run, resume = tmp_path / "run", ["train", "--resume", "--out", str(tmp_path / "run")]
    assert regard("train", *corpus, "--out", str(run), *TINY, "--max-updates", "2").status == 0
    valid = ["--valid-src", corpus[1], "--valid-tgt", corpus[3]]
    assert "had other data or another configuration" in regard(*resume, *valid).err
    assert "--columns is for --data" in regard(*resume, "--columns", "2,1").err
    lines = [Path(name).read_text(encoding="utf-8").split("\n")[:-1] for name in (corpus[1], corpus[3])]
    table = "".join(f"{source}\t{target}\n" for source, target in zip(*lines, strict=True))
    (tmp_path / "moved.tsv").write_text(table, encoding="utf-8")
    for name in (corpus[1], corpus[3]):
        Path(name).unlink()
    assert regard(*resume, "--data", str(tmp_path / "moved.tsv")).status == 0
    assert regard(*resume, "--max-updates", "4").status == 0  # the new place is remembered
    recipe = tomllib.loads((run / "train.toml").read_text(encoding="utf-8"))
    assert recipe["training"]["max_updates"] == 4
    assert recipe["files"] == {"data": str(tmp_path / "moved.tsv")}


def test_a_device_that_is_not_there_leaves_nothing_behind(corpus: list[str], tmp_path: Path, regard: Regard) -> None:
    result = regard("train", *corpus, "--out", str(tmp_path / "run"), "--device", "cuda:99")
    assert result.status == 2
    assert not (tmp_path / "run").exists()


def test_a_place_where_no_folder_can_be_is_refused_before_there_is_any_work(
    corpus: list[str], tmp_path: Path, regard: Regard
) -> None:
    for out, nearest in ((Path(corpus[1]), corpus[1]), (Path(corpus[1]) / "run", corpus[1]), (Path("/dev/null"),) * 2):
        result = regard("train", *corpus, "--out", str(out))
        assert result.status == 2
        assert f"--out {out} cannot be made: {nearest} is no folder that you may write to." in result.err


def test_gold_alignments_choose_the_layer_and_head(corpus: list[str], tmp_path: Path, regard: Regard) -> None:
    (tmp_path / "gold").write_text("0-0 1-1 2-2\n" * 35, encoding="utf-8")
    valid = ["--valid-src", corpus[1], "--valid-tgt", corpus[3], "--valid-gold", str(tmp_path / "gold")]
    run = tmp_path / "run"
    assert regard("train", *corpus, *valid, "--out", str(run), *TINY, "--max-updates", "1").status == 0
    alignment = json.loads((run / "config.json").read_text(encoding="utf-8"))["alignment"]
    assert alignment["chosen_by"] == "gold"
    assert 0 <= alignment["score"] <= 1


def test_a_model_without_attention_has_no_alignment(corpus: list[str], tmp_path: Path, regard: Regard) -> None:
    model = ["--preset", "gru-fixed", "--model.model_dim=16", "--model.hidden_dim=12"]
    small = [option for option in TINY if not option.startswith("--model.")]
    run = tmp_path / "run"
    result = regard("train", *corpus, *model, *small, "--out", str(run), "--max-updates", "3")
    assert result.status == 0
    assert json.loads((run / "config.json").read_text(encoding="utf-8"))["alignment"] is None


def test_links_by_hand_that_do_not_fit_the_validation_pairs_are_refused_by_line(
    corpus: list[str], pair: tuple[Path, Path], tmp_path: Path, regard: Regard
) -> None:
    gold = tmp_path / "gold.txt"
    gold.write_text("0-0 9-1\n\n", encoding="utf-8")
    valid = ["--valid-src", str(pair[0]), "--valid-tgt", str(pair[1]), "--valid-gold", str(gold)]
    result = regard("train", *corpus, "--out", str(tmp_path / "run"), *TINY, *valid)
    assert result.status == 2
    assert f"{gold} has 2 lines of links for 3 sentence pairs: each needs one." in result.err
    assert f"{gold}:1: word 2 ('9-1') points at source word 9, but the source sentence has 3 words" in result.err
    assert not (tmp_path / "run").exists()


def test_the_schedule_ends_where_the_options_end_the_training() -> None:
    values = {"schedule": {"kind": "cosine", "total": 8_000}, "training": {"max_updates": 8_000}}
    for training, total in (
        ({}, 8_000),
        ({"max_updates": 3}, 8_000),
        ({"max_updates": 20_000}, 20_000),
        ({"max_minutes": 2.0}, None),
        ({"max_minutes": 2.0, "max_updates": 3}, None),
    ):
        assert fitted_schedule(values, {"training": training})["schedule"].get("total") == total
    chosen = {"training": {"max_updates": 20_000}, "schedule": {"total": 9_000}}
    assert fitted_schedule(values, chosen) == values, "what is asked for by name stays"
    assert fitted_schedule({}, {"training": {"max_minutes": 2.0}}) == {}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--set", "schedule=5"], "schedule: input should be a dictionary or an instance of ScheduleConfig; it is 5"),
        (["--set", "training=5"], "training: input should be a dictionary or an instance of TrainingConfig; it is 5"),
        (["--training.max_updates=many"], "training.max_updates: input should be a valid integer"),
        (["--set", "training=5", "--max-updates", "2"], "training is given as 5 and with training.max_updates"),
    ],
)
def test_values_of_another_shape_than_the_recipes_are_refused(
    given: list[str], told: str, corpus: list[str], tmp_path: Path, regard: Regard
) -> None:
    result = regard("train", *corpus, "--out", str(tmp_path / "run"), *given)
    assert result.status == 2
    assert told in result.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("line", ["schedule = 5", "training = 3", "schedule = { total = 'x' }"])
def test_a_file_with_a_number_for_a_table_is_refused(
    line: str, corpus: list[str], tmp_path: Path, regard: Regard
) -> None:
    (tmp_path / "own.toml").write_text(line, encoding="utf-8")
    config = ["--config", str(tmp_path / "own.toml"), "--preset", "transformer-tiny"]
    result = regard("train", *corpus, "--out", str(tmp_path / "run"), *config)
    assert result.status == 2
    assert line.split(" ")[0] in result.err
    assert "input should be a" in result.err
