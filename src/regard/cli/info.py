"""`regard info`: what a run is, what it was trained on, how it scored, and whether it is whole."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from regard.cli.inputs import RunFolder
from regard.cli.streams import opened_output, show_rows
from regard.errors import WorkError


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """How to tell it."""

    json: Annotated[bool, Parameter(help="Print JSON instead of a table.")] = False


def run(folder: RunFolder, /, *, options: Options | None = None) -> int:
    """Tell what a run is, what it was trained on, and how it scored, also while its training goes on.

    Every file is checked against its digest.
    """
    options = options or Options()
    facts = facts_of(folder)
    if options.json:
        with opened_output(None) as output:
            output.line(json.dumps(facts, ensure_ascii=False))
    else:
        show_rows((name, "", text) for name, text in rows(facts))
    return 0


def facts_of(folder: Path) -> dict[str, Any]:
    """Gather what a run says of itself.

    Raises:
        OptionError: There is no run at this place.
        DamagedError: A file of a finished run is not what was written.
    """
    from regard.tasks.runs import checked_config, description, read_recipe

    unfinished = not (folder / "manifest.json").exists() and (folder / "train.toml").exists()
    config = {} if unfinished else checked_config(folder)
    if not unfinished:
        description(config, folder / "config.json")  # raises if it is none
    files, recipe = read_recipe(folder) if (folder / "train.toml").exists() else ({}, {})
    last, best = measured(folder / "metrics.jsonl")
    return {
        "run": str(folder),
        "finished": not unfinished,
        "model": config.get("model", recipe.get("model")),
        "parameters": None if unfinished else count_parameters(folder / "model.safetensors"),
        "vocabulary": vocabulary(folder),
        "max_length": config.get("max_length", recipe.get("data", {}).get("max_length")),
        "alignment": config.get("alignment"),
        "decoding": config.get("decoding", recipe.get("decoding")),
        "files": files or None,
        "training": config.get("training") or progress(last),
        "best_validation": best,
        "checkpoints": checkpoints(folder),
    }


def count_parameters(path: Path) -> int:
    """Count the weights in a file."""
    from regard.files import read_tensors

    return sum(tensor.numel() for tensor in read_tensors(path).values())


def vocabulary(folder: Path) -> dict[str, Any] | None:
    """Return the sizes of the vocabularies; None before there is a tokenizer."""
    from regard.data.tokenizers import TokenizerPair

    if not (folder / "tokenizer.json").exists():
        return None
    pair = TokenizerPair.load(folder)
    form = pair.source.form
    sizes = {"source": pair.source.vocab_size, "target": pair.target.vocab_size}
    return {**sizes, "shared": pair.shared, "kind": form.kind, "split": form.split, "lowercase": form.lowercase}


def measured(path: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the last line of metrics.jsonl and the best validation; a broken line counts for none."""
    last = best = None
    if not path.exists():
        return None, None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WorkError(f"{path} cannot be read: {error.strerror}.") from error
    for raw in content.split(b"\n"):
        try:
            line = json.loads(raw)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict):
            last = line
            best = line if line.get("best") is True and isinstance(line.get("valid"), dict) else best
    return last, None if best is None else {"step": best.get("step"), "scores": best.get("valid")}


def progress(last: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return how far an unfinished training has come."""
    if last is None:
        return None
    seconds = last.get("seconds")
    minutes = round(seconds / 60, 2) if isinstance(seconds, int | float) else None
    return {"step": last.get("step"), "minutes": minutes, "ended_by": None}


def checkpoints(folder: Path) -> list[dict[str, Any]]:
    """Say which checkpoints there are, and whether each is whole."""
    from regard.training.checkpoints import load, stored_steps

    found = []
    for step in stored_steps(folder):
        try:
            load(folder, step)
            damage = None
        except WorkError as error:
            damage = str(error)
        found.append({"step": step, "whole": damage is None, "damage": damage})
    return found


def rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the table says."""
    finished = "finished, whole" if facts["finished"] else "not finished: go on with regard train --resume --out"
    best = facts["best_validation"]
    parameters, longest = facts["parameters"], facts["max_length"]
    told = {
        "run": f"{facts['run']} ({finished})",
        "model": listed(facts["model"]),
        "parameters": None if parameters is None else f"{parameters:,}",
        "vocabulary": listed(facts["vocabulary"]),
        "longest source": None if longest is None else f"{longest} tokens at once",
        "alignment": listed(facts["alignment"]),
        "decoding": listed(facts["decoding"]),
        "files": listed(facts["files"]),
        "training": listed(facts["training"]),
        "best validation": None if best is None else f"step {best['step']}: {listed(best['scores'])}",
    }
    checked = [(f"step {one['step']}", one["damage"] or "whole") for one in facts["checkpoints"]]
    return [(name, text) for name, text in told.items() if text] + [(f"checkpoint {s}", text) for s, text in checked]


def listed(values: Mapping[str, Any] | None) -> str:
    """Write values by their names."""
    return ", ".join(f"{name} {rounded(value)}" for name, value in (values or {}).items() if value is not None)


def rounded(value: Any) -> str:
    """Write a value as people read it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
