"""Alignment error rate of a trained Transformer's attention beside eflomal, on the gold links of the Hansards.

    python benchmarks/aligners.py --data PATH --runs RUNS [--updates 4000] [--threads 2] [--peers .venv-peers]

PATH holds tatoeba and alignments. Both programs read the same text: Tatoeba English-French, spelled as the Hansards are
(lower case, elisions and contractions written out), and the 447 sentences with gold links, whose links nobody learns
from. A Transformer is trained for each direction. The first 100 gold sentences choose layer and head, the other 347
judge. Hansards are another domain than Tatoeba: this compares, it sets no record. What was found is kept in
benchmarks/aligners.json.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REGARD = (sys.executable, "-m", "regard")
CHOSEN_ON = 100
"""Gold sentences by which layer and head are chosen."""

ENGLISH = (
    (r"\bwon't\b", "will not"), (r"\bcan't\b", "can not"), (r"\bcannot\b", "can not"), (r"n't\b", " not"),
    (r"\b(i)'m\b", r"\1 am"), (r"'re\b", " are"), (r"'ve\b", " have"), (r"'ll\b", " will"), (r"'d\b", " would"),
    (r"\b(it|he|she|that|there|what|who|where|how|here)'s\b", r"\1 is"), (r"\blet's\b", "let us"), (r"'s\b", " 's"),
)  # fmt: skip
FRENCH = (
    (r"\b(j|l|n|d|m|t|s|c|qu)'", r"\1e "), (r"\b(jusqu|lorsqu|puisqu|quoiqu)'", r"\1e "), (r"\baux\b", "à les"),
    (r"\bau\b", "à le"), (r"\bdes\b", "de les"), (r"\bdu\b", "de le"), (r"-(t-)?(il|elle|on|ils|elles)\b", r" \2"),
)  # fmt: skip


def spelled(line: str, rules: tuple[tuple[str, str], ...]) -> str:
    """Write a line as the Hansards are written: words and punctuation between blanks."""
    line = re.sub("[’`]", "'", line.lower())
    for pattern, written in rules:
        line = re.sub(pattern, written, line)
    return " ".join(re.findall(r"'s\b|[\w'-]+|[^\w\s]", line))


def main() -> None:
    """Prepare, train, align, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--updates", type=int, default=4000, help="of training, for each direction")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peers", type=Path, default=HERE.parent / ".venv-peers")
    options = parser.parse_args()
    text = prepare(options.data, options.runs)
    found: dict[str, Any] = {"updates": options.updates, "judged": len(text["rest.gold"])}
    for there, back in (("en", "fr"), ("fr", "en")):
        train(there, back, options)
        links = options.runs / f"{there}-{back}.links"
        pair = ["--src", options.runs / f"rest.{there}", "--tgt", options.runs / f"rest.{back}"]
        run_regard("align", options.runs / f"run-{there}-{back}", *pair, "-o", links)
        eflomal = options.runs / f"eflomal-{there}-{back}.links"
        align_by_eflomal(there, back, eflomal, len(text["rest.en"]), options)
    for name, prefix in (("Transformer", ""), ("eflomal", "eflomal-")):
        there, back = (options.runs / f"{prefix}{one}.links" for one in ("en-fr", "fr-en"))
        found[name] = {"en-fr": judged(there, options.runs)}
        for how in ("intersection", "grow-diag", "grow-diag-final-and"):
            found[name][how] = judged(there, options.runs, "--reverse-links", back, "--symmetrize", how)
    (HERE / "aligners.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


def prepare(data: Path, runs: Path) -> dict[str, list[str]]:
    """Write the text that is learned from, the sentences that choose, and those that judge."""
    tatoeba = [line.split("\t")[:2] for line in read(data / "tatoeba" / "eng-fra.tsv")]
    hansards = data / "alignments" / "hansards-en-fr"
    pairs = [line.split("|||") for line in read(hansards / "sentences.src-tgt.txt")]
    gold = [from_zero(line) for line in read(hansards / "gold.1-based.txt")]
    own = {"en": [pair[0].strip().lower() for pair in pairs], "fr": [pair[1].strip().lower() for pair in pairs]}
    text = {
        "train.en": [spelled(pair[0], ENGLISH) for pair in tatoeba] + own["en"],
        "train.fr": [spelled(pair[1], FRENCH) for pair in tatoeba] + own["fr"],
        "chosen.gold": gold[:CHOSEN_ON],
        "rest.gold": gold[CHOSEN_ON:],
    }
    text["chosen.reversed"] = [" ".join(map(turned, line.split())) for line in text["chosen.gold"]]
    for side, lines in own.items():
        text |= {f"chosen.{side}": lines[:CHOSEN_ON], f"rest.{side}": lines[CHOSEN_ON:]}
    runs.mkdir(parents=True, exist_ok=True)
    for name, lines in text.items():
        (runs / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return text


def read(path: Path) -> list[str]:
    """Return the lines of a file."""
    return path.read_text(encoding="utf-8").splitlines()


def from_zero(line: str) -> str:
    """Count the words of links from 0; `p` marks a possible link, for which we write `?`."""
    links = [re.fullmatch(r"(\d+)([-p])(\d+)", link) for link in line.split()]
    return " ".join(f"{int(m[1]) - 1}{'?' if m[2] == 'p' else '-'}{int(m[3]) - 1}" for m in links if m)


def turned(link: str) -> str:
    """Return a link from the other side."""
    return re.sub(r"(\d+)([-?])(\d+)", r"\3\2\1", link)


def train(source: str, target: str, options: argparse.Namespace) -> None:
    """Train one direction; a run that has finished is left alone, one that was interrupted goes on."""
    run = options.runs / f"run-{source}-{target}"
    if (run / "manifest.json").exists():
        return
    threads = ["--threads", options.threads]
    if (run / "checkpoints").exists():
        run_regard("train", "--resume", "--out", run, *threads)
        return
    files = ["--src", options.runs / f"train.{source}", "--tgt", options.runs / f"train.{target}"]
    files += ["--valid-src", options.runs / f"chosen.{source}", "--valid-tgt", options.runs / f"chosen.{target}"]
    files += ["--valid-gold", options.runs / ("chosen.gold" if source == "en" else "chosen.reversed")]
    recipe = ["--preset", "transformer-tiny-tokenized", "--max-updates", options.updates]
    recipe += ["--set", f"schedule.total={options.updates}"]
    run_regard("train", "--out", run, *files, *recipe, *threads)


def align_by_eflomal(source: str, target: str, links: Path, count: int, options: argparse.Namespace) -> None:
    """Align all of the text by eflomal and keep the links of the sentences that judge, which stand last."""
    whole = links.with_suffix(".all")
    files = ["-s", options.runs / f"train.{source}", "-t", options.runs / f"train.{target}", "-f", whole]
    command = [options.peers / "bin" / "eflomal-align", *files, "--model", "3", "--overwrite"]
    subprocess.run(list(map(str, command)), check=True)
    links.write_text("".join(f"{line}\n" for line in read(whole)[-count:]), encoding="utf-8")


def judged(links: Path, runs: Path, *more: object) -> float:
    """Return the alignment error rate of links on the sentences that judge."""
    told = run_regard("align", "--links", links, *more, "--gold", runs / "rest.gold", "--json", kept=True)
    return float(json.loads(told)["error_rate"])


def run_regard(*words: object, kept: bool = False) -> str:
    """Run a command of ours; return what it printed if that is to be kept."""
    done = subprocess.run([*REGARD, *map(str, words)], check=True, text=True, stdout=subprocess.PIPE if kept else None)
    return done.stdout or ""


if __name__ == "__main__":
    main()
