"""What a comparison says: the same tables for the terminal and as Markdown, and all numbers as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from regard.experiments.bootstrap import Difference, Estimate
from regard.experiments.comparison import Comparison, ModelResult
from regard.experiments.trials import BATCH_SIZE, Trial

FORMAT = 1
TITLES = {"bleu": "BLEU", "chrf": "chrF", "exact": "Exact %"}


@dataclass(frozen=True)
class Sheet:
    """A table: its title, its headings and its rows. The first column holds names, the others numbers."""

    title: str
    headings: list[str]
    rows: list[list[str]]


def sheets(comparison: Comparison) -> list[Sheet]:
    """Lay out what a person reads first: quality, differences, quality by length, cost."""
    lengths = [by_length(comparison, name) for name in ("bleu", "exact")]
    return [table for table in (quality(comparison), differences(comparison), *lengths, cost(comparison)) if table.rows]


def quality(comparison: Comparison) -> Sheet:
    """Lay out the scores."""
    aligned = any(model.mean("alignment_error_rate") is not None for model in comparison.models)
    seeds = len(comparison.models[0].trials)
    headings = ["model", "BLEU", "95 %", "± seeds", "chrF", "exact %", "loss", *(["AER"] if aligned else [])]
    rows = []
    for model in comparison.models:
        bleu = model.scores["bleu"]
        row = [model.name, f"{bleu.mean:.2f}", ends(bleu), spread(bleu), f"{model.scores['chrf'].mean:.2f}"]
        row += [f"{model.scores['exact'].mean:.1f}", number(model.mean("loss"), ".3f")]
        rows.append(row + ([number(model.mean("alignment_error_rate"), ".3f")] if aligned else []))
    said = f"{comparison.pairs['test']:,} test sentences, " + ("one seed" if seeds == 1 else f"means of {seeds} seeds")
    return Sheet(f"Quality: {said}", headings, rows)


def differences(comparison: Comparison) -> Sheet:
    """Lay out how much the others differ from the first."""
    headings = ["model", *(heading for name in ("bleu", "chrf") for heading in (TITLES[name], "95 %", "p"))]
    rows = []
    for model in comparison.models[1:]:
        row = [model.name]
        for name in ("bleu", "chrf"):
            found = model.differences[name]
            row += [f"{found.mean:+.2f}", ends(found, signed=True), f"{found.p_value:.3f}"]
        rows.append(row)
    return Sheet(f"Difference from {comparison.models[0].name}", headings, rows)


def by_length(comparison: Comparison, name: str) -> Sheet:
    """Lay out a score by the length of the source."""
    rows = []
    for place, length in enumerate(comparison.models[0].lengths):
        found = [model.lengths[place].scores[name] for model in comparison.models]
        rows.append([length.name, f"{length.sentences:,}", *(f"{one.mean:.2f} ({ends(one)})" for one in found)])
    headings = ["words", "sentences", *(model.name for model in comparison.models)]
    return Sheet(f"{TITLES[name]} by words of the source (95 %)", headings, rows)


def cost(comparison: Comparison) -> Sheet:
    """Lay out what it took."""
    rows = [
        [
            model.name,
            f"{model.trials[0].parameters:,}",
            number(model.mean("updates"), ",.0f"),
            number(model.mean("minutes"), ",.1f"),
            number(model.mean("tokens_per_second"), ",.0f"),
            number(model.mean("sentences_per_second"), ",.1f"),
        ]
        for model in comparison.models
    ]
    headings = ["model", "parameters", "updates", "minutes", "tokens/s", "sentences/s"]
    return Sheet(f"Cost: trained on {comparison.pairs['train']:,} pairs, {comparison.budget}", headings, rows)


def notes(comparison: Comparison) -> list[str]:
    """Say how to read the tables."""
    return [
        f"BLEU: {comparison.signatures['bleu']}",
        f"chrF: {comparison.signatures['chrf']}",
        f"95 %: interval over sentences, by paired bootstrap resampling (Koehn 2004) of the mean over seeds, "
        f"{comparison.resamples:,} resamples; p is two-sided, of the same resamples.",
        "± seeds: standard deviation over seeds. loss: nats a reference token. "
        f"tokens/s: target tokens in training. sentences/s: translating in batches of {BATCH_SIZE}, in float32.",
    ]


def ends(found: Estimate | Difference, *, signed: bool = False) -> str:
    """Write an interval."""
    return f"{found.low:+.1f} to {found.high:+.1f}" if signed else f"{found.low:.1f}-{found.high:.1f}"


def spread(found: Estimate) -> str:
    """Write the spread over seeds, where there are several."""
    return number(found.spread, ".2f")


def number(value: float | None, form: str) -> str:
    """Write a number, or that there is none."""
    return "-" if value is None else format(value, form)


def terminal(comparison: Comparison) -> Group:
    """Draw the tables for a terminal."""
    parts: list[Any] = []
    for sheet in sheets(comparison):
        table = Table(box=None, pad_edge=False)
        for place, heading in enumerate(sheet.headings):
            table.add_column(Text(heading), justify="right" if place else "left")
        for row in sheet.rows:
            table.add_row(*map(Text, row))
        parts += [Text(sheet.title, style="bold"), table, ""]
    return Group(*parts, *map(Text, notes(comparison)))


def markdown(comparison: Comparison, picture: str) -> str:
    """Write the tables as Markdown, with the picture."""
    parts = ["# Comparison", ""]
    for sheet in sheets(comparison):
        rule = ["---", *("---:" for _ in sheet.headings[1:])]
        parts += [f"## {sheet.title}", "", *(line(row) for row in (sheet.headings, rule, *sheet.rows)), ""]
    return "\n".join([*parts, f"![BLEU by length]({picture})", "", *(f"- {note}" for note in notes(comparison)), ""])


def line(cells: Sequence[str]) -> str:
    """Write a row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def as_json(comparison: Comparison, out: Path) -> dict[str, Any]:
    """Return all numbers; what is unknown is null, folders are named from `out`, translations stand in the runs."""
    return {
        "format": FORMAT,
        "budget": comparison.budget,
        "pairs": comparison.pairs,
        "signatures": comparison.signatures,
        "interval": {"coverage": 0.95, "resamples": comparison.resamples, "method": "paired bootstrap over sentences"},
        "models": [model_as_json(model, out) for model in comparison.models],
    }


def model_as_json(model: ModelResult, out: Path) -> dict[str, Any]:
    """Return all numbers of a model."""
    means = ("loss", "alignment_error_rate", "updates", "minutes", "tokens_per_second", "sentences_per_second")
    return {
        "name": model.name,
        "parameters": model.trials[0].parameters,
        "scores": {name: asdict(found) for name, found in model.scores.items()},
        "differences": {name: asdict(found) for name, found in model.differences.items()},
        **{name: model.mean(name) for name in means},
        "lengths": [asdict(length) for length in model.lengths],
        "trials": [trial_as_json(trial, out) for trial in model.trials],
    }


def trial_as_json(trial: Trial, out: Path) -> dict[str, Any]:
    """Return all numbers of a trial."""
    values = {name: getattr(trial, name) for name in trial.__dataclass_fields__ if name != "translations"}
    validations = [{"minutes": at.minutes, **at.scores} for at in trial.validations]
    return {**values, "folder": str(trial.folder.relative_to(out)), "validations": validations}
