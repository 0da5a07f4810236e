"""Compare training on batches whose tokens are a multiple of 32 with batches as they fall: speed and memory.

    python benchmarks/batches.py [--data PATH] [--threads 2] [--rounds 6] [--updates 20] [--warm-up 60]

The phrasebook with the preset `demo`, and with --data Multi30k with Transformer-tiny, in the precision that regard
chooses. PATH holds `train.lc.norm.tok.en`, `.de` and the same of `val`. Each side is a process of its own:
PyTorch keeps a thousand compiled products a process, and how soon they are forgotten is the point. Sides take turns.
"""

import argparse
import contextlib
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from figures import Figure, add_option, load_average, machine, save, show
from turns import Side, add_options, own_python, ratio

from regard.data.phrasebook import splits

LEAST = 1.0
MULTIPLES = {"multiples of 32": (), "as they fall": ("--multiple", "1")}


def works(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Name what is trained, with the arguments of its sides."""
    examples = splits(seed=1)
    files = [folder / f"{part}.{side}" for part in ("train", "valid") for side in ("source", "target")]
    for file in files:
        part = getattr(examples, file.stem)
        file.write_text("".join(getattr(one, file.suffix[1:]) + "\n" for one in part), encoding="utf-8")
    yield "phrasebook, demo", [*map(str, files), "--preset", "demo"]
    if options.data is not None:
        data = options.data.absolute()
        yield (
            "Multi30k, Transformer-tiny",
            [str(data / f"{part}.lc.norm.tok.{side}") for part in ("train", "val") for side in ("en", "de")],
        )


def peak(side: Side) -> float:
    """Return the most memory that a side has held, in gigabytes."""
    lines = Path(f"/proc/{side.process.pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e6


def compare(name: str, arguments: list[str], options: argparse.Namespace, folder: Path) -> Figure:
    """Let both kinds of batches take turns."""
    with contextlib.ExitStack() as running:
        sides = {
            kind: running.enter_context(
                Side("train_regard", *arguments, *more, python=own_python(), folder=folder, threads=options.threads)
            )
            for kind, more in MULTIPLES.items()
        }
        for side in sides.values():
            side.ask(updates=options.warm_up)
        rates: dict[str, list[float]] = {kind: [] for kind in sides}
        for turn in range(1, options.rounds + 1):
            for kind, side in sides.items():
                rates[kind].append(side.rate(updates=options.updates))
            print(f"{name}, round {turn}:", *(f"{kind} {found[-1]:,.0f};" for kind, found in rates.items()), flush=True)
        ours, theirs = rates.values()
        words = ", ".join(
            f"{kind} {statistics.median(rates[kind]):,.0f} target tokens/s and {peak(side):.2f} GB"
            for kind, side in sides.items()
        )
    return Figure(name, words, ratio(ours, theirs)[1], LEAST)


def main() -> None:
    """Print each round, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    add_options(parser, rounds=6)
    add_option(parser)
    parser.add_argument("--updates", type=int, default=20, help="length of a turn")
    parser.add_argument("--warm-up", type=int, default=60, help="updates before the first turn")
    options = parser.parse_args()
    print(machine(options.threads), load_average(), sep="\n")
    with tempfile.TemporaryDirectory() as folder:
        figures = [compare(name, given, options, Path(folder)) for name, given in works(options, Path(folder))]
    print(load_average())
    show(figures)
    save(figures, options.figures)


if __name__ == "__main__":
    main()
