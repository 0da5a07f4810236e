"""Run all benchmarks one after the other and print one table at the end: `make bench` calls this.

    python benchmarks/run.py --data PATH [--peers .venv-peers] [--threads 2] [--only NAME ...]

PATH holds multi30k, tatoeba and alignments. Exits with 1 if a benchmark fails; a bar that is missed is no failure, it
stands in the table.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import Figure, load, show
from turns import ROOT

Command = list[str | Path]

NO_BARS = ("ways", "dropout", "softmax", "objective", "alignment_acceptance", "word_table_agreement")


def commands(options: argparse.Namespace) -> dict[str, Command]:
    """Return the arguments of every benchmark; those held against bars first."""
    sides: Command = ["--peers", options.peers, "--threads", str(options.threads)]
    return {
        "training": ["--data", options.data / "multi30k", *sides],
        "batches": ["--data", options.data / "multi30k", "--threads", str(options.threads)],
        "precisions": [],
        "translating": sides,
        "startup": ["--threads", str(options.threads)],
        "sdpa": [],
        "additive": [],
        "window": ["--peers", options.peers],
        "bahdanau": [],
        "step": [],
        "normalizers": [],
        "pages": ["--threads", str(options.threads)],
        "lens": ["--threads", str(options.threads)],
        "ways": [],
        "dropout": [],
        "softmax": [],
        "objective": [],
        "alignment_acceptance": ["--data", options.data],
        "word_table_agreement": ["--data", options.data],
    }


def main() -> int:
    """Run and collect; give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+")
    options = parser.parse_args()
    chosen = commands(options)
    figures: list[Figure] = []
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only or chosen:
            print(f"\n== {name}", flush=True)
            saved = Path(folder) / f"{name}.jsonl"
            with_bars: Command = [] if name in NO_BARS else ["--figures", saved]
            program = Path(__file__).parent / f"{name}.py"
            done = subprocess.run([sys.executable, program, *chosen[name], *with_bars], check=False)
            failed += [name] if done.returncode else []
            figures += load(saved) if saved.exists() else []
    if figures:
        print("\n== all figures that have a bar")
        show(figures)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
