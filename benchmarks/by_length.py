"""Compare a fixed context with attention by the length of the sentence, as Bahdanau et al. 2015 do in figure 2.

    python benchmarks/by_length.py --data PATH --runs RUNS [--only tatoeba copy reverse] [--seeds 1] [--minutes 12]

PATH is the Tatoeba English-French table (TSV). Each subject is one `regard compare` of the presets gru-fixed and
gru-attention, gone on with where it was interrupted. Tatoeba: 5,000 English sentences are held out, with all of their
translations. Copy and reverse: learned from sentences of up to 30 random words, scored up to 60, since long sentences
are scarce in Tatoeba. What was found is kept in benchmarks/by_length/SUBJECT, and docs/by-length.md is made of it.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from comparisons import keep, section

HERE = Path(__file__).parent
RESULTS = HERE / "by_length"
DOCS = HERE.parent / "docs"
SUBJECTS = {
    "tatoeba": "Tatoeba English-French: 5,000 held-out English sentences and all of their translations",
    "copy": "Copying random words: learned up to 30 words, scored up to 60",
    "reverse": "Reversing random words: learned up to 30 words, scored up to 60",
}


def main() -> None:
    """Compare, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=12.0, help="of training, for each model")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    for subject in options.only:
        subprocess.run(command(subject, options), check=True)
        keep(options.runs / subject, RESULTS / subject)
    write_page()


def command(subject: str, options: argparse.Namespace) -> list[str]:
    """Return the comparison's command."""
    text = ["--data", options.data, "--test-count", 5_000]
    made_up = ["--synthetic", subject, "--max-words", 30, "--test-max-words", 60, "--pairs", 50_000]
    common = ["--seeds", options.seeds, "--minutes", options.minutes, "--threads", options.threads]
    chosen = [*(text if subject == "tatoeba" else made_up), *common, "--out", options.runs / subject]
    return [sys.executable, "-m", "regard", "compare", "gru-fixed", "gru-attention", *map(str, chosen)]


def write_page() -> None:
    """Put the tables of all subjects on one page, with their pictures."""
    parts = [
        "# A fixed context forgets long sentences",
        "",
        "Made by `python benchmarks/by_length.py`. An RNN encoder-decoder that must put the whole sentence into one",
        "vector, beside one that may look back at every word; same data, same minutes. The curve is that of Bahdanau",
        "et al. 2015, figure 2.",
    ]
    for subject, title in SUBJECTS.items():
        parts += section(RESULTS / subject, f"by-length-{subject}", title)
    (DOCS / "by-length.md").write_text("\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
