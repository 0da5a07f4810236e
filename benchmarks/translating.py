"""Compare tokens a second of translating with CTranslate2 and Hugging Face.

    python benchmarks/translating.py [--peers .venv-peers] [--threads 2] [--rounds 5]

Random weights of the same shapes on all sides, 15 source tokens, exactly 16 target tokens: the speed does not depend
on what the weights say. Sides take turns; a turn lasts `--seconds` or one batch, whichever is longer.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from figures import Figure, add_option, load_average, machine, save, show
from turns import Side, add_options, best, own_python, peers_python, ratio

SIZES = ("tiny", "base")
CASES = ((1, 1), (1, 5), (32, 1), (32, 5))  # sentences in a batch, beams
OURS = ("regard float32", "regard bfloat16")
CTRANSLATE2 = ("ctranslate2 float32", "ctranslate2 int8")
HUGGING_FACE = ("hugging_face float32", "hugging_face bfloat16")  # the second for information
BARS = {"tiny": 1.7, "base": 1.0}  # against the better CTranslate2
BAR_HUGGING_FACE = 2.0  # against float32

Rates = dict[str, list[float]]


def start(options: argparse.Namespace, folder: Path) -> dict[str, Side]:
    """Start a process for each program."""
    peers, chosen = peers_python(options.peers), {"folder": folder, "threads": options.threads}
    return {
        "regard": Side("translate_regard", python=own_python(), **chosen),
        "ctranslate2": Side("translate_ctranslate2", python=peers, **chosen),
        "hugging_face": Side("translate_hugging_face", python=peers, **chosen),
    }


def compare(sides: dict[str, Side], size: str, case: tuple[int, int], options: argparse.Namespace) -> Rates:
    """Let all sides take turns at one case; the first round warms up."""
    rates: Rates = {name: [] for name in (*OURS, *CTRANSLATE2, *HUGGING_FACE)}
    for turn in range(options.rounds + 1):
        for name, found in rates.items():
            program, kind = name.split()
            seconds = options.seconds if turn else 0.0
            rate = sides[program].rate(size=size, type=kind, batch=case[0], beams=case[1], seconds=seconds)
            found += [rate] if turn else []
    return rates


def judge(rates: Rates, size: str, case: tuple[int, int]) -> list[Figure]:
    """Hold our better type against the better of CTranslate2's and against Hugging Face."""
    ours = best(rates, OURS)
    work = f"translating, {size}, batch {case[0]}, beam {case[1]}"
    bars = ((best(rates, CTRANSLATE2), BARS[size]), (HUGGING_FACE[0], BAR_HUGGING_FACE), (HUGGING_FACE[1], None))
    figures = []
    for other, bar in bars:
        medians, rounds = ratio(rates[ours], rates[other])
        speeds = f"{statistics.median(rates[ours]):,.0f} ({ours.split()[1]}) against {other} "
        speeds += f"{statistics.median(rates[other]):,.0f} tokens/s; median of rounds {rounds:.2f}"
        figures.append(Figure(work, speeds, medians, bar))
    return figures


def main() -> None:
    """Print the medians, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, rounds=5)
    add_option(parser)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a turn")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=SIZES)
    options = parser.parse_args()
    print(machine(options.threads), load_average(), sep="\n")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        sides = start(options, Path(folder))
        with sides["regard"], sides["ctranslate2"], sides["hugging_face"]:
            for size in options.sizes:
                for case in CASES:
                    rates = compare(sides, size, case, options)
                    medians = ", ".join(f"{name} {statistics.median(found):,.0f}" for name, found in rates.items())
                    print(f"{size}, batch {case[0]}, beam {case[1]}, tokens/s: {medians}", flush=True)
                    figures += judge(rates, size, case)
    print(load_average())
    show(figures)
    save(figures, options.figures)


if __name__ == "__main__":
    main()
