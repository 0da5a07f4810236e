import dataclasses
import io
import json
from pathlib import Path

from rich.console import Console

from regard.experiments.comparison import Comparison
from regard.experiments.comparison_report import as_json, markdown, sheets, terminal
from regard.files import encode_json, read_json


def printed(comparison: Comparison, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(terminal(comparison))
    return stream.getvalue()


def test_json_has_this_shape(comparison: Comparison, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "comparison.json").write_bytes(encode_json(as_json(comparison, folder)))
    found = read_json(tmp_path / "comparison.json")
    assert found["format"] == 1
    assert found["budget"] == "6 updates"
    assert found["pairs"] == {"train": 97, "valid": 13, "test": 23}
    assert found["signatures"].keys() == {"bleu", "chrf", "exact"}
    assert found["interval"] == {"coverage": 0.95, "resamples": 40, "method": "paired bootstrap over sentences"}
    assert [model["name"] for model in found["models"]] == ["fixed", "attention"]
    for number, model in enumerate(found["models"]):
        assert model.keys() == {
            "name",
            "parameters",
            "scores",
            "differences",
            "loss",
            "alignment_error_rate",
            "updates",
            "minutes",
            "tokens_per_second",
            "sentences_per_second",
            "lengths",
            "trials",
        }
        for estimate in model["scores"].values():
            assert estimate.keys() == {"mean", "seeds", "spread", "low", "high"}
            assert len(estimate["seeds"]) == 2
            assert 0 <= estimate["low"] <= estimate["high"] <= 100
        expected = {"bleu", "chrf", "exact"} if number else set()
        assert model["differences"].keys() == expected
        for difference in model["differences"].values():
            assert difference.keys() == {"mean", "low", "high", "p_value"}
        for length in model["lengths"]:
            assert length.keys() == {"first", "last", "sentences", "scores"}
            assert length["scores"].keys() == {"bleu", "chrf", "exact"}
        for trial in model["trials"]:
            assert trial["folder"] == f"{model['name']}-{trial['seed']}"
            assert (folder / trial["folder"] / "config.json").is_file()
            assert trial["validations"][0].keys() >= {"minutes", "loss"}
            assert "translations" not in trial


def test_the_tables_have_a_row_a_model_and_a_row_a_length(comparison: Comparison) -> None:
    quality, difference, bleu, exact, cost = sheets(comparison)
    assert quality.title == "Quality: 23 test sentences, means of 2 seeds"
    assert [row[0] for row in quality.rows] == ["fixed", "attention"]
    assert [row[0] for row in difference.rows] == ["attention"]
    assert difference.title == "Difference from fixed"
    assert [row[0] for row in bleu.rows] == [row[0] for row in exact.rows] == ["1-3", "4-5", "6-7"]
    assert sum(int(row[1]) for row in bleu.rows) == 23
    assert [row[0] for row in cost.rows] == ["fixed", "attention"]
    assert cost.title == "Cost: trained on 97 pairs, 6 updates"
    for sheet in (quality, difference, bleu, exact, cost):
        assert {len(row) for row in sheet.rows} == {len(sheet.headings)}


def test_the_numbers_of_the_tables_are_those_that_were_measured(comparison: Comparison) -> None:
    quality, difference, bleu, _, cost = sheets(comparison)
    _, attention = comparison.models
    row = dict(zip(quality.headings, quality.rows[1], strict=True))
    assert row["BLEU"] == f"{attention.scores['bleu'].mean:.2f}"
    assert row["95 %"] == f"{attention.scores['bleu'].low:.1f}-{attention.scores['bleu'].high:.1f}"
    assert row["± seeds"] == f"{attention.scores['bleu'].spread:.2f}"
    assert row["AER"] == f"{attention.mean('alignment_error_rate'):.3f}"
    assert quality.rows[0][-1] == "-"
    assert difference.rows[0][3] == f"{attention.differences['bleu'].p_value:.3f}"
    assert bleu.rows[0][3].startswith(f"{attention.lengths[0].scores['bleu'].mean:.2f} (")
    assert cost.rows[1][1] == f"{attention.trials[0].parameters:,}"


def test_one_seed_has_no_spread_and_one_model_no_difference(comparison: Comparison) -> None:
    model = comparison.models[0]
    scores = {name: dataclasses.replace(one, spread=None) for name, one in model.scores.items()}
    alone = dataclasses.replace(model, trials=model.trials[:1], scores=scores)
    quality, *others = sheets(dataclasses.replace(comparison, models=[alone]))
    assert quality.title == "Quality: 23 test sentences, one seed"
    assert quality.rows[0][3] == "-"
    assert not any(sheet.title.startswith("Difference") for sheet in others)


def test_what_was_not_measured_is_null_and_a_hyphen(comparison: Comparison, folder: Path) -> None:
    model = comparison.models[0]
    trials = [dataclasses.replace(trial, loss=None, tokens_per_second=None) for trial in model.trials]
    changed = dataclasses.replace(comparison, models=[dataclasses.replace(model, trials=trials)])
    found = json.loads(encode_json(as_json(changed, folder)))["models"][0]
    assert found["loss"] is None
    assert found["tokens_per_second"] is None
    quality, *_, cost = sheets(changed)
    assert quality.rows[0][quality.headings.index("loss")] == "-"
    assert cost.rows[0][cost.headings.index("tokens/s")] == "-"


def test_the_terminal_shows_every_cell(comparison: Comparison) -> None:
    text = printed(comparison)
    for sheet in sheets(comparison):
        assert sheet.title in text
        for row in sheet.rows:
            assert all(cell in text for cell in row)
    assert "paired bootstrap resampling (Koehn 2004)" in printed(comparison, width=300)


def test_a_name_is_never_markup(comparison: Comparison) -> None:
    name = "[red]a|b[/red]"
    models = [dataclasses.replace(comparison.models[0], name=name), *comparison.models[1:]]
    changed = dataclasses.replace(comparison, models=models)
    assert name in printed(changed, width=200)
    assert f"Difference from {name}" in printed(changed, width=200)
    assert r"| [red]a\|b[/red] |" in markdown(changed, "x.png")


def test_markdown_has_the_tables_the_picture_and_the_notes(comparison: Comparison) -> None:
    lines = markdown(comparison, "comparison.png").split("\n")
    for sheet in sheets(comparison):
        assert f"## {sheet.title}" in lines
        for row in sheet.rows:
            assert "| " + " | ".join(row) + " |" in lines
    assert "![BLEU by length](comparison.png)" in lines
    assert f"- BLEU: {comparison.signatures['bleu']}" in lines
