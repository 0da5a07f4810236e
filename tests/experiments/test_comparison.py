import dataclasses
import json
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from regard.data.text import Pairs
from regard.errors import OptionError
from regard.experiments.comparison import Comparison, Stopped, even_buckets
from regard.experiments.trials import measured
from regard.inspection.alignments.links import Gold
from regard.tasks.evaluation import evaluate, metrics
from regard.tasks.load import load
from regard.tasks.translator import Translator
from tests.experiments import tiny


def test_every_model_is_trained_with_every_seed_in_a_run_of_its_own(comparison: Comparison, folder: Path) -> None:
    assert [model.name for model in comparison.models] == ["fixed", "attention"]
    for model in comparison.models:
        assert [trial.seed for trial in model.trials] == [1, 2]
        assert [trial.folder for trial in model.trials] == [folder / f"{model.name}-{seed}" for seed in (1, 2)]
        for trial in model.trials:
            assert trial.updates == tiny.UPDATES
            assert (trial.folder / "manifest.json").is_file()
            assert [at.scores["loss"] > 0 for at in trial.validations] == [True, True]


def test_scores_are_those_that_evaluate_gives(comparison: Comparison) -> None:
    test = tiny.data().test
    for model in comparison.models:
        for number, trial in enumerate(model.trials):
            found = evaluate(load(trial.folder), test.sources, test.targets, tokenize="none")
            assert model.scores["bleu"].seeds[number] == pytest.approx(found.bleu, abs=1e-9)
            assert model.scores["chrf"].seeds[number] == pytest.approx(found.chrf, abs=1e-9)
            assert model.scores["exact"].seeds[number] == pytest.approx(100 * found.exact)
            assert trial.loss == pytest.approx(found.loss)
            assert trial.translations == found.translations


def test_scores_by_length_are_those_of_the_sentences_of_that_length(comparison: Comparison) -> None:
    test = tiny.data().test
    bleu, _ = metrics("none", lowercase=False)
    for model in comparison.models:
        # no sentence has eight words or more, so there is no such row
        assert [length.name for length in model.lengths] == ["1-3", "4-5", "6-7"]
        assert sum(length.sentences for length in model.lengths) == len(test)
        for length in model.lengths:
            inside = [n for n, s in enumerate(test.sources) if length.first <= len(s.split(" ")) <= (length.last or 99)]
            assert length.sentences == len(inside)
            for seed, trial in enumerate(model.trials):
                texts, references = [trial.translations[n] for n in inside], [test.targets[n] for n in inside]
                expected = bleu.corpus_score(texts, [references]).score
                assert length.scores["bleu"].seeds[seed] == pytest.approx(expected, abs=1e-9)


def test_differences_are_from_the_first_model(comparison: Comparison) -> None:
    first, second = comparison.models
    assert first.differences == {}
    for name in ("bleu", "chrf", "exact"):
        found = second.differences[name]
        assert found.mean == pytest.approx(second.scores[name].mean - first.scores[name].mean)
        assert 0 < found.p_value <= 1


def test_costs_are_counted_and_only_what_attends_is_aligned(comparison: Comparison) -> None:
    fixed, attention = comparison.models
    assert fixed.trials[0].parameters < attention.trials[0].parameters
    assert fixed.mean("alignment_error_rate") is None
    rate = attention.mean("alignment_error_rate")
    assert rate is not None
    assert 0 < rate <= 1
    for trial in (*fixed.trials, *attention.trials):
        assert trial.sentences_per_second > 0
        assert trial.tokens_per_second is not None
        assert trial.tokens_per_second > 0


def test_a_test_set_that_is_too_long_for_a_model_has_no_rate(
    comparison: Comparison, folder: Path, tmp_path: Path
) -> None:
    trained = load(folder / "attention-1")
    short = Translator(trained.model, trained.tokenizers, max_length=2)
    shutil.copy(folder / "attention-1" / "manifest.json", tmp_path)
    data = tiny.data()
    longer = [number for number, source in enumerate(data.test.sources) if " " in source]
    assert data.test_gold is not None
    gold = [data.test_gold[number] for number in longer]
    found = measured(short, dataclasses.replace(data, test=data.test.select(longer), test_gold=gold), tmp_path)
    assert found["alignment_error_rate"] is None
    assert found["loss"] is None
    assert len(found["translations"]) == len(longer)


def test_the_rate_of_training_is_tokens_over_the_time_of_updates(comparison: Comparison) -> None:
    trial = comparison.models[0].trials[0]
    lines = [json.loads(line) for line in (trial.folder / "metrics.jsonl").read_text().split("\n") if line]
    logged = [line for line in lines if "tokens" in line]
    assert len(logged) == tiny.UPDATES / 2
    seconds = sum(line["tokens"] / line["tokens_per_second"] for line in logged)
    assert trial.tokens_per_second == pytest.approx(sum(line["tokens"] for line in logged) / seconds)


def test_what_is_finished_is_not_done_again(comparison: Comparison, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "out")
    tested = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("test.json")}
    watch = tiny.Watch()
    again = tiny.compared(tmp_path / "out", watch=watch)
    assert isinstance(again, Comparison)
    assert watch.trainings == 0
    assert len(tested) == 4
    assert {path: path.stat().st_mtime_ns for path in tested} == tested
    assert [model.scores for model in again.models] == [model.scores for model in comparison.models]
    assert [model.differences for model in again.models] == [model.differences for model in comparison.models]


def test_more_seeds_and_more_models_are_added_to_what_is_there(folder: Path, tmp_path: Path) -> None:
    first = tiny.compared(tmp_path / "out", entries=[tiny.fixed()], seeds=1)
    assert isinstance(first, Comparison)
    watch = tiny.Watch()
    more = tiny.compared(tmp_path / "out", watch=watch, seeds=1)
    assert isinstance(more, Comparison)
    assert watch.trainings == 1
    assert more.models[0].scores == first.models[0].scores


def test_an_interrupted_comparison_goes_on_to_the_same_numbers(comparison: Comparison, tmp_path: Path) -> None:
    # the third training, the fixed context with seed 2, is interrupted at its fourth update
    watch = tiny.Watch(stop_training=3, stop_step=4)
    stopped = tiny.compared(tmp_path / "out", watch=watch)
    assert stopped == Stopped(model="fixed", seed=2, step=4, signal=signal.SIGINT)
    assert watch.updates == 2 * tiny.UPDATES + 4
    watch = tiny.Watch()
    resumed = tiny.compared(tmp_path / "out", watch=watch)
    assert isinstance(resumed, Comparison)
    assert (watch.trainings, watch.updates) == (2, 2 + tiny.UPDATES)
    for one, other in zip(resumed.models, comparison.models, strict=True):
        assert one.scores == other.scores
        assert [trial.loss for trial in one.trials] == [trial.loss for trial in other.trials]


def test_a_run_that_got_to_no_checkpoint_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "out" / "fixed-1").mkdir(parents=True)
    (tmp_path / "out" / "fixed-1" / "train.toml").write_text("seed = 7\n")
    assert isinstance(tiny.compared(tmp_path / "out", entries=[tiny.fixed()], seeds=1), Comparison)


def test_other_data_are_refused(comparison: Comparison, folder: Path) -> None:
    with pytest.raises(OptionError, match=r"holds a comparison on other data.*--out"):
        tiny.compared(folder, given=tiny.data(seed=2))


def test_an_error_rate_is_of_the_gold_links_that_are_given(
    comparison: Comparison, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "out")

    def rates(gold: Sequence[Gold] | None) -> list[float | None]:
        watch = tiny.Watch()
        given = dataclasses.replace(tiny.data(), test_gold=gold)
        found = tiny.compared(tmp_path / "out", given=given, watch=watch, seeds=1)
        assert isinstance(found, Comparison)
        assert watch.trainings == 0
        return [model.mean("alignment_error_rate") for model in found.models]

    gold = tiny.data().test_gold
    assert gold is not None
    known = comparison.models[1].trials[0].alignment_error_rate
    assert rates(gold) == [None, known]
    assert rates(None) == [None, None]
    assert rates(gold) == [None, known]
    first = evaluate(
        load(folder / "attention-1"), tiny.data().test.sources, tiny.data().test.targets, gold=[gold[0]] * len(gold)
    )
    assert rates([gold[0]] * len(gold)) == [None, first.alignment_error_rate]
    assert first.alignment_error_rate != known


@pytest.mark.parametrize("none", [True, False])
def test_other_gold_links_to_choose_alignments_by_are_refused(comparison: Comparison, folder: Path, none: bool) -> None:
    gold = tiny.data().valid_gold
    assert gold is not None
    other = dataclasses.replace(tiny.data(), valid_gold=None if none else [gold[0]] * len(gold))
    told = r"alignments were chosen by gold links [0-9a-f]{8} for the validation set; now they would be " + (
        "without gold links" if none else "by gold links [0-9a-f]{8}"
    )
    with pytest.raises(OptionError, match=told):
        tiny.compared(folder, given=other)


def test_another_recipe_is_refused_with_what_differs(comparison: Comparison, folder: Path) -> None:
    other = tiny.entry("fixed", attention="none", hidden_dim=9)
    with pytest.raises(
        OptionError, match=r"fixed-1 holds a run with another recipe: model.hidden_dim was 8 and is 9\."
    ):
        tiny.compared(folder, entries=[other])


def test_an_empty_test_set_is_refused(tmp_path: Path) -> None:
    nothing = dataclasses.replace(tiny.data(), test=Pairs([], []), test_gold=None)
    with pytest.raises(OptionError, match="the test set is empty"):
        tiny.compared(tmp_path / "out", given=nothing)


def test_the_same_is_told_only_once(tmp_path: Path) -> None:
    said: list[str] = []
    tiny.compared(tmp_path / "out", said=said, seeds=1)
    assert len(said) == len(set(said))
    assert sum("training data" in text for text in said) == 1
    assert [text for text in said if text.startswith("---")] == [
        "--- fixed, seed 1: training 1 of 2, 6 updates ---",
        "--- attention, seed 1: training 2 of 2, 6 updates ---",
    ]


def test_lengths_are_cut_evenly_and_not_too_finely_for_bleu() -> None:
    assert even_buckets(60) == [(1, 10), (11, 20), (21, 30), (31, 40), (41, 50), (51, 60)]
    assert even_buckets(30) == [(1, 5), (6, 10), (11, 15), (16, 20), (21, 25), (26, 30)]
    assert even_buckets(10) == [(1, 4), (5, 8), (9, 10)]
