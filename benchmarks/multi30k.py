"""Train the presets on Multi30k and score them on test_2016_flickr.

    python benchmarks/multi30k.py train --data MULTI30K --runs RUNS [--rows de-en-transformer ...] [--seed 1]
    python benchmarks/multi30k.py compare --data MULTI30K --runs RUNS [--seeds 2] [--minutes 5]
    python benchmarks/multi30k.py report

Each row is one `regard train` (resumed where it was interrupted, left alone where it has finished) and one
`regard evaluate` on the 1,000 test sentences, which nothing was chosen by. Tokenized rows train and score on the
lc.norm.tok files as they are, split on blanks; raw rows on the raw files, scored detokenized. What a row measured is
kept in benchmarks/multi30k/ROW/seed-N: metrics.jsonl, translations.txt, result.json; `report` writes docs/multi30k.md
and its curve of score against minutes from these alone. `compare` trains the German-English presets for the same
minutes each with several seeds, by one `regard compare`, and keeps its tables in benchmarks/multi30k/comparison.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparisons import keep, section

HERE = Path(__file__).parent
RESULTS = HERE / "multi30k"
REGARD = (sys.executable, "-m", "regard")


@dataclass(frozen=True)
class Row:
    """One training: what from, what to, by which preset, and what it is held against."""

    source: str
    target: str
    preset: str
    published: str
    bar: float | None
    tokenized: bool = True


ROWS = {
    "de-en-gru-fixed": Row("de", "en", "gru-fixed", "13.8 and 20.6 (public notebooks)", 22.0),
    "de-en-gru-attention": Row("de", "en", "gru-attention", "28.3 (public notebooks)", 33.0),
    "de-en-transformer": Row(
        "de", "en", "transformer-tiny-tokenized", "36.5 (public notebooks, 9.0M parameters)", 39.0
    ),
    "en-de-transformer": Row("en", "de", "transformer-tiny-tokenized", "41.0 (Wu et al. 2021)", 41.5),
    "en-fr-transformer": Row("en", "fr", "transformer-tiny-tokenized", "61.8 (Wu et al. 2021)", 62.5),
    "en-de-transformer-raw": Row("en", "de", "transformer-tiny", "-", None, tokenized=False),
}


def main() -> None:
    """Run one of the actions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("train", "compare", "report"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=2, help="of a comparison")
    parser.add_argument("--minutes", type=float, default=5.0, help="of a comparison, for each training")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    if options.action == "report":
        report()
        return
    if options.data is None or options.runs is None:
        parser.error(f"{options.action} needs --data, the folder of Multi30k, and --runs, where trainings are put")
    if options.action == "compare":
        compare(options)
        return
    for name in options.rows:
        train(name, ROWS[name], options)


def train(name: str, row: Row, options: argparse.Namespace) -> None:
    """Train and score one row, and keep what was measured."""
    run = options.runs / name / f"seed-{options.seed}"
    suffix = ".lc.norm.tok" if row.tokenized else ""
    parts = {
        part: [options.data / f"{part}{suffix}.{side}" for side in (row.source, row.target)]
        for part in ("train", "val", "test_2016_flickr")
    }
    if not (run / "manifest.json").exists():
        subprocess.run(training_command(row, run, parts, options), check=True)
    kept = RESULTS / name / f"seed-{options.seed}"
    kept.mkdir(parents=True, exist_ok=True)
    source, target = parts["test_2016_flickr"]
    command = [*REGARD, "evaluate", run, "--src", source, "--tgt", target, "--json", "-o", kept / "translations.txt"]
    command += ["--tokenize", "none" if row.tokenized else "13a", "--threads", options.threads]
    scores = json.loads(subprocess.run(map(str, command), check=True, capture_output=True, text=True).stdout)
    shutil.copy(run / "metrics.jsonl", kept / "metrics.jsonl")
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    result = {
        "row": name,
        "seed": options.seed,
        "scores": scores,
        "training": config.get("training"),
        **machine(options.threads),
    }
    (kept / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"{name}, seed {options.seed}: BLEU {scores['bleu']:.2f} (bar {row.bar}), {result['training']}")


def compare(options: argparse.Namespace) -> None:
    """Compare the German-English presets on the same minutes with several seeds."""
    out = options.runs / "comparison"
    parts = {"": "train", "valid-": "val", "test-": "test_2016_flickr"}
    files = [
        word
        for prefix, part in parts.items()
        for side, language in (("src", "de"), ("tgt", "en"))
        for word in (f"--{prefix}{side}", options.data / f"{part}.lc.norm.tok.{language}")
    ]
    presets = [ROWS[name].preset for name in ("de-en-gru-fixed", "de-en-gru-attention", "de-en-transformer")]
    command = [*REGARD, "compare", *presets, *files, "--tokenizer.split=blanks", "--out", out]
    command += ["--seeds", options.seeds, "--minutes", options.minutes, "--threads", options.threads]
    subprocess.run(map(str, command), check=True)
    keep(out, RESULTS / "comparison")


def training_command(row: Row, run: Path, parts: dict[str, list[Path]], options: argparse.Namespace) -> list[str]:
    """Return the command that trains a row, or goes on where it was interrupted."""
    if (run / "checkpoints").exists():
        return [*REGARD, "train", "--resume", "--out", str(run), "--threads", str(options.threads)]
    command: list[Any] = [*REGARD, "train", "--preset", row.preset, "--out", run, "--seed", options.seed]
    command += ["--src", parts["train"][0], "--tgt", parts["train"][1]]
    command += ["--valid-src", parts["val"][0], "--valid-tgt", parts["val"][1], "--threads", options.threads]
    return [str(word) for word in command] + (["--tokenizer.split=blanks"] if row.tokenized else [])


def machine(threads: int) -> dict[str, Any]:
    """Say what it was measured on."""
    import torch

    return {"torch": torch.__version__, "cores": os.cpu_count(), "threads": threads, "load": os.getloadavg()[0]}


def report() -> None:
    """Write docs/multi30k.md and its picture from what is kept."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*/seed-*/result.json"))]
    lines = [
        "# Multi30k: what the presets reach",
        "",
        "Made by `python benchmarks/multi30k.py report` from what `… train` measured; BLEU on the 1,000 sentences of",
        "test_2016_flickr, checkpoints chosen on the validation set alone. Tokenized rows: the lc.norm.tok files as",
        "they are, joint BPE of 10,000, `sacrebleu --tokenize none`. The notebooks' GRUs use another tokenizer. Where",
        "the load average at the end is above the number of threads, the machine had other work, which takes time.",
        "All runs are of before 30 November 2026, when batches were cut to multiples of 32 tokens: an update has seen",
        "some 6 % fewer since, in less time.",
        "",
        "| run | seed | published | to reach | BLEU | chrF | minutes | threads | load | updates |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        row, scores, training = ROWS[result["row"]], result["scores"], result["training"]
        reached = "-" if row.bar is None else f"{row.bar} ({'reached' if scores['bleu'] >= row.bar else 'missed'})"
        run = f"{training['minutes']:.0f} | {result['threads']} | {result['load']:.1f} | {training['step']}"
        lines.append(
            f"| {result['row']} | {result['seed']} | {row.published} | {reached} | {scores['bleu']:.2f} | "
            f"{scores['chrf']:.2f} | {run} |"
        )
    lines += ["", "![Score against minutes](pictures/multi30k.png)"] if draw_curves() else []
    lines += section(
        RESULTS / "comparison",
        "multi30k-comparison",
        "German-English in a few minutes, with several seeds: `python benchmarks/multi30k.py compare --threads 1`",
    )
    (HERE.parent / "docs" / "multi30k.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def draw_curves() -> bool:
    """Draw the score on the validation set against the minutes of training; say whether there was any."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    FigureCanvasAgg(figure)
    measures = {"bleu": "BLEU on the validation set, greedy", "loss": "loss on the validation set, nats a token"}
    several = figure.subplots(1, len(measures))
    for axes, (measure, told) in zip(several, measures.items(), strict=True):
        axes.set(xlabel="minutes of training", ylabel=told)
        for number, path in enumerate(sorted(RESULTS.glob("*/seed-*/metrics.jsonl"))):
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            valid = [(line["seconds"] / 60, line["valid"]) for line in lines if measure in line.get("valid", {})]
            points = [(minutes, found[measure]) for minutes, found in valid]
            if points:
                name = f"{path.parent.parent.name}, {path.parent.name}"
                axes.plot(*zip(*points, strict=True), label=name, color=f"C{number}")
        axes.grid(alpha=0.3)
    if not several[1].lines:
        return False
    several[1].set_ylim(top=4)
    several[1].legend()
    (HERE.parent / "docs" / "pictures").mkdir(parents=True, exist_ok=True)
    figure.savefig(HERE.parent / "docs" / "pictures" / "multi30k.png", dpi=110)
    return True


if __name__ == "__main__":
    main()
