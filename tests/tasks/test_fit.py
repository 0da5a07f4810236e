"""Putting a training together: what it takes in, what it says beforehand, which weights it ends with."""

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from regard.data.text import Pairs
from regard.data.tokenizers import TokenizerConfig
from regard.errors import DataError, OptionError, WorkError
from regard.models.recurrent import RecurrentConfig
from regard.models.transformer import TransformerConfig
from regard.tasks.fit import Fitting, TrainingData, fit, usual_length
from regard.tasks.pruning import prune_translator
from regard.tasks.recipe import DataConfig, DecodingConfig, Recipe, build_recipe
from regard.tasks.runs import load_run
from regard.training.averaging import average_checkpoints
from tests.tasks import tiny

VALID = Pairs(["the dog sleeps", "i sleep"], ["le chien dort", "je dors"])
LEARNED = dataclasses.replace(tiny.TRANSFORMER, positions="learned", max_length=14)
LOCATION = RecurrentConfig(model_dim=16, hidden_dim=12, attention="luong", score="location", max_length=14)


def recipe(model: TransformerConfig | RecurrentConfig = tiny.TRANSFORMER, **training: Any) -> Recipe:
    return build_recipe(
        {
            "model": {**dataclasses.asdict(model), "share": "all"},
            "tokenizer": {"vocab_size": 300},
            "data": {"batch_tokens": 64},
            "schedule": {"warmup": 2},
            "training": {"max_updates": 4, "validate_every": 2, **training},
            "precision": "float32",
        }
    )


def fitting(given: Recipe, out: Path, said: list[str]) -> Fitting:
    data = TrainingData(tiny.LINES, VALID)
    return Fitting(given, data, out, torch.device("cpu"), resume=False, origin=None, say=said.append)


@pytest.mark.parametrize("model", [LEARNED, LOCATION], ids=["learned positions", "location score"])
def test_pairs_longer_than_the_model_can_read_are_left_out_and_told(model: Any, tmp_path: Path) -> None:
    said: list[str] = []
    given = fitting(recipe(model), tmp_path, said)
    assert given.max_length == 13, "a token of the fourteen is the end of the sentence"
    kept = [given.train[row] for row in range(len(given.train))]
    assert 0 < len(kept) < len(tiny.LINES)
    assert any("of more than 13 tokens" in text for text in said)
    data = TrainingData(tiny.LINES, VALID)
    outcome, translator = fit(recipe(model), data, tmp_path, device=torch.device("cpu"), say=said.append)
    assert outcome.step == 4
    assert translator is not None
    assert translator.max_length == 13
    assert translator.usual_length == max(
        len(translator.tokenizers.source.encode(s).ids) for s in tiny.LINES.sources[:3]
    )
    assert load_run(tmp_path).usual_length == translator.usual_length


@pytest.mark.parametrize("count", [1, 2, 7, 1000, 1001, 1002, 54_321])
def test_the_usual_length_is_a_quantile(count: int) -> None:
    lengths = torch.randint(1, 5_000, (count,), generator=torch.Generator().manual_seed(count))
    assert usual_length(lengths) == int(lengths.double().quantile(0.999, interpolation="higher"))


def test_more_pairs_than_a_quantile_takes_have_a_usual_length() -> None:
    lengths = torch.full((2**24 + 3,), 7, dtype=torch.int16)
    lengths[:20_000] = 11
    assert usual_length(lengths) == 11


def test_the_weights_are_chosen_by_the_score_that_training_selects_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    scores = iter([{"bleu": 1.0}, {"bleu": 2.0}, {"bleu": 7.0}, {"bleu": 5.0}])  # two validations, mean, best
    monkeypatch.setattr(Fitting, "decoded_scores", lambda self, model: next(scores))
    data = TrainingData(tiny.LINES, VALID)
    fit(recipe(select_by="bleu"), data, tmp_path, device=torch.device("cpu"), say=said.append)
    told = [text for text in said if "checkpoint" in text]
    assert told == [
        "The mean of 2 checkpoints up to step 4: bleu 7.0000.",
        "The best checkpoint, of step 4: bleu 5.0000.",
    ]
    assert next(scores, None) is None


@pytest.mark.parametrize("at_validation", [False, True])
def test_validations_translate_only_where_it_is_asked_for(tmp_path: Path, at_validation: bool) -> None:
    decoding = DecodingConfig(at_validation=at_validation)
    chosen = dataclasses.replace(recipe(select_by="loss"), decoding=decoding)
    fit(chosen, TrainingData(tiny.LINES, VALID), tmp_path, device=torch.device("cpu"), say=lambda text: None)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    measured = [set(line["valid"]) for line in lines if "valid" in line]
    assert measured
    assert all(({"bleu", "chrf"} <= names) == at_validation for names in measured)


def test_a_validation_that_cannot_be_translated_is_told_and_chooses_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    given = fitting(recipe(select_by="bleu"), tmp_path, said)
    with torch.no_grad():
        given.model.output.weight[5] = torch.nan
    assert all(math.isnan(score) for score in given.decoded_scores(given.model).values())
    assert said[-1].startswith("The model computes NaN for the text ")


def test_weights_without_a_score_are_not_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([{"bleu": 1.0}, {"bleu": 2.0}, {"bleu": math.nan}, {"bleu": 5.0}])
    monkeypatch.setattr(Fitting, "decoded_scores", lambda self, model: next(scores))
    data = TrainingData(tiny.LINES, VALID)
    _, translator = fit(recipe(select_by="bleu"), data, tmp_path, device=torch.device("cpu"), say=lambda text: None)
    assert translator is not None
    newest = average_checkpoints(tmp_path, count=1, warn=lambda text: None)
    weights = dict(translator.model.named_parameters())
    assert all(torch.equal(weights[name], weight) for name, weight in newest.weights.items())


def test_the_expected_time_and_a_schedule_that_does_not_fit_are_told(tmp_path: Path) -> None:
    given, said = recipe(), list[str]()
    schedule = dataclasses.replace(given.schedule, kind="cosine", warmup=1_000)
    fitting(dataclasses.replace(given, schedule=schedule), tmp_path, said).say_expected_time(resume=False)
    assert said[-2] == "The warm-up takes 2 updates, half of the training, not 1,000."
    assert said[-1].startswith("4 updates (")


def test_words_are_spelled_anew_in_every_epoch_while_training_alone(tmp_path: Path) -> None:
    given = recipe()
    respelled = dataclasses.replace(given, data=dataclasses.replace(given.data, subword_dropout=0.5))
    plain, other = fitting(given, tmp_path / "plain", []), fitting(respelled, tmp_path / "respelled", [])

    def sources(of: Fitting, epoch: int) -> list[list[int]]:
        batches = list(of.batches()(epoch, 0))
        rows = {number: batch.source[row] for batch in batches for row, number in enumerate(batch.indices)}
        return [[token for token in rows[number].tolist() if token] for number in sorted(rows)]

    assert sources(plain, 1) == sources(plain, 2)
    assert sources(other, 1) != sources(other, 2)
    assert sources(other, 2) == sources(fitting(respelled, tmp_path / "again", []), 2)
    texts = [other.tokenizers.source.decode(ids) for ids in sources(other, 1)]
    assert texts == [text for text in tiny.LINES.sources if text.strip()]
    assert [b.source.tolist() for b in other.loader(other.valid).batches(0)] == [
        b.source.tolist() for b in plain.loader(plain.valid).batches(0)
    ]


def test_nothing_is_written_where_there_is_nothing_to_train_on(tmp_path: Path) -> None:
    short = dataclasses.replace(recipe(), data=DataConfig(max_length=1))
    data = TrainingData(tiny.LINES, VALID)
    with pytest.raises(
        DataError, match=r"^training data: None of the 15 pairs can be used: .* 15 have more than 1 token on a side"
    ):
        fit(short, data, tmp_path / "run", device=torch.device("cpu"), say=lambda text: None)
    assert not (tmp_path / "run").exists()


def test_validation_pairs_of_which_none_can_be_used_are_named_as_such(tmp_path: Path) -> None:
    data = TrainingData(tiny.LINES, Pairs(["", "the dog " * 200], ["le", "le chien"]))
    told = r"^validation data: None of the 2 pairs can be used: 1 have an empty side and 1 have more than 256 tokens"
    with pytest.raises(DataError, match=told):
        fit(recipe(), data, tmp_path / "run", device=torch.device("cpu"), say=lambda text: None)
    assert not (tmp_path / "run").exists()


def test_the_run_of_another_training_is_not_touched(tmp_path: Path) -> None:
    """One that has just begun, and has no checkpoint yet."""
    begun = fitting(recipe(), tmp_path, [])
    hold = (
        "import sys, pathlib; from regard.training.metrics import MetricsFile\n"
        "file = MetricsFile(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    begun.opened_run({"src": "first"}, resume=False).close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    command = [sys.executable, "-c", hold, str(tmp_path / "metrics.jsonl")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        second = fitting(dataclasses.replace(recipe(), tokenizer=TokenizerConfig(vocab_size=280)), tmp_path, [])
        with pytest.raises(WorkError, match="Another process trains into"):
            second.opened_run({"src": "second"}, resume=False)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
        other.kill()


def test_a_run_that_lacks_heads_is_no_origin(tmp_path: Path) -> None:
    heads = dataclasses.replace(tiny.TRANSFORMER, num_heads=4)
    origin = tiny.translator(heads)
    prune_translator(origin, {"encoder.0.self_attention": [1, 3]})
    data = TrainingData(tiny.LINES, VALID)
    with pytest.raises(OptionError, match=r"lacks heads that were pruned \(encoder\.0\.self_attention 1, 3\)"):
        fit(
            recipe(heads),
            data,
            tmp_path / "run",
            device=torch.device("cpu"),
            origin=origin,
            say=lambda text: None,
        )
    assert not (tmp_path / "run").exists()
