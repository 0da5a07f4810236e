"""`regard evaluate`."""

import json
import math
from pathlib import Path

import pytest

from regard.tasks.load import load
from tests.cli.conftest import Regard


def test_json_tells_what_was_measured(
    run_folder: Path, pair: tuple[Path, Path], regard: Regard, tmp_path: Path
) -> None:
    (tmp_path / "gold").write_bytes(b"0-0 1-1 2-2\n\n0-1 1?2\n")
    outcome = regard(
        *("evaluate", run_folder, "--src", pair[0], "--tgt", pair[1], "--json", "--beam", 1),
        *("--gold-alignments", tmp_path / "gold", "-o", tmp_path / "out"),
    )
    found = json.loads(outcome.out)
    assert list(found) == [
        *("sentences", "too_long", "loss", "perplexity", "bleu", "chrf", "exact", "signatures"),
        *("alignment_error_rate", "buckets", "seconds"),
    ]
    scores = load(run_folder).token_scores(["the cat sleeps", "my feet hurt"], ["le chat dort", "j'ai mal aux pieds"])
    loss = -float(sum(score.sum() for score in scores)) / sum(map(len, scores))
    assert found["loss"] == pytest.approx(loss, abs=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(loss), rel=1e-4)
    assert (found["sentences"], found["too_long"]) == (3, [])
    assert found["exact"] == pytest.approx(1 / 3)
    assert found["signatures"]["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp")
    assert 0 < found["alignment_error_rate"] <= 1
    assert [(one["name"], one["sentences"]) for one in found["buckets"]] == [("1-4", 2)]
    translated = regard("translate", run_folder, pair[0], "--beam", 1).out
    assert (tmp_path / "out").read_bytes() == translated


def test_the_table_says_the_same(run_folder: Path, pair: tuple[Path, Path], regard: Regard) -> None:
    command = ("evaluate", run_folder, "--src", pair[0], "--tgt", pair[1], "--beam", 1)
    found = json.loads(regard(*command, "--json").out)
    table = regard(*command).out.decode()
    for text in ("BLEU", "chrF", "perplexity", "1-4", f"{found['loss']:.4f}", found["signatures"]["chrf"]):
        assert text in table
    assert "AER" not in table


def test_how_words_are_split_and_compared_can_be_chosen(
    run_folder: Path, pair: tuple[Path, Path], regard: Regard
) -> None:
    command = ("evaluate", run_folder, "--src", pair[0], "--tgt", pair[1], "--beam", 1, "--json")
    found = json.loads(regard(*command, "--tokenize", "none", "--lowercase").out)
    assert "case:lc|eff:no|tok:none" in found["signatures"]["bleu"]
    assert "tok:13a" in json.loads(regard(*command).out)["signatures"]["bleu"]
    outcome = regard(*command, "--tokenize", "nonsense")
    assert (outcome.status, outcome.out) == (2, b"")
    assert "tokenize 'nonsense' is unknown to sacrebleu; there are" in outcome.err


def test_pairs_that_are_too_long_are_translated_in_parts_and_told(
    run_folder: Path, regard: Regard, tmp_path: Path
) -> None:
    source, target, gold = (tmp_path / name for name in ("s", "t", "g"))
    source.write_text("the cat\n" + "the cat sleeps. " * 9 + "\n", encoding="utf-8")
    target.write_text("le chat\nle chat\n", encoding="utf-8")
    gold.write_text("0-0 1-1\n0-0\n", encoding="utf-8")
    outcome = regard("evaluate", run_folder, "--src", source, "--tgt", target, "--gold-alignments", gold, "--json")
    assert outcome.status == 0
    assert json.loads(outcome.out)["too_long"] == [2]
    assert "1 pair longer than the model takes at once" in outcome.err
    assert "loss and alignment error rate: 2." in outcome.err


@pytest.mark.parametrize(
    ("gold", "told"),
    [
        ("0-0\n", "has 1 lines of links for 3 sentence pairs: each needs one."),
        ("0-0\n\n0-9\n", ":3: word 1 ('0-9') points at target word 9, but the target sentence has 4 words"),
        ("0-0\nx\n\n", ":2: word 1 ('x') is no link"),
    ],
)
def test_gold_that_does_not_fit_is_refused(
    gold: str, told: str, run_folder: Path, pair: tuple[Path, Path], regard: Regard, tmp_path: Path
) -> None:
    path = tmp_path / "gold"
    path.write_text(gold, encoding="utf-8")
    outcome = regard("evaluate", run_folder, "--src", pair[0], "--tgt", pair[1], "--gold-alignments", path)
    assert (outcome.status, outcome.out) == (2, b"")
    assert told in outcome.err


def test_layer_and_head_override_the_alignment_of_the_run(
    run_folder: Path, pair: tuple[Path, Path], regard: Regard, tmp_path: Path
) -> None:
    first = regard("align", run_folder, "--src", pair[0], "--tgt", pair[1], "--layer", 0, "--head", 1)
    (tmp_path / "gold").write_bytes(first.out)
    command = ("evaluate", run_folder, "--src", pair[0], "--tgt", pair[1], "--beam", 1, "--json")
    gold = ("--gold-alignments", tmp_path / "gold")
    rates = [
        json.loads(regard(*command, *gold, *site).out)["alignment_error_rate"]
        for site in ((), ("--layer", 0, "--head", 1))
    ]
    assert rates[0] > rates[1] == 0
    assert "layer must lie between 0 and 1; it is 2." in regard(*command, *gold, "--layer", 2).err
    assert "--layer and --head are for --gold-alignments" in regard(*command, "--layer", 0).err


def test_gold_for_a_model_without_attention_is_refused(
    fixed_run: Path, pair: tuple[Path, Path], regard: Regard, tmp_path: Path
) -> None:
    path = tmp_path / "gold"
    path.write_bytes(b"0-0\n\n0-0\n")
    outcome = regard("evaluate", fixed_run, "--src", pair[0], "--tgt", pair[1], "--gold-alignments", path)
    assert (outcome.status, outcome.out) == (2, b"")
    assert "has no attention to its source" in outcome.err


def test_an_empty_test_set_and_stray_options_are_refused(run_folder: Path, regard: Regard, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    outcome = regard("evaluate", run_folder, "--src", empty, "--tgt", empty)
    assert outcome.status == 2
    assert f"{empty} is empty." in outcome.err
    assert "--gold-base is for --gold-alignments" in regard("evaluate", run_folder, "--gold-base", 1).err
    assert "--output - would mix" in regard("evaluate", run_folder, "-o", "-").err


def test_a_place_for_the_translations_that_cannot_be_is_told_before_there_are_any(
    run_folder: Path, pair: tuple[Path, Path], regard: Regard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regard.tasks.evaluation.evaluate", None)
    files = ("--src", pair[0], "--tgt", pair[1])
    outcome = regard("evaluate", run_folder, *files, "-o", tmp_path / "none" / "out")
    assert outcome.status == 2
    assert f"{tmp_path / 'none' / 'out'} cannot be written: No such file or directory. Make the folder" in outcome.err
