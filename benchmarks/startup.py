"""Time whole processes: `regard --help`, and `regard translate` of one line by a tiny model.

    python benchmarks/startup.py [--threads 2] [--rounds 7]

The model is Transformer-tiny with a vocabulary of 10,000 and random weights, so its translation is as long as the
limit allows: a trained one ends earlier.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from figures import Figure, add_option, load_average, machine, save, show

from regard.data.text import Pairs
from regard.data.tokenizers import TokenizerConfig, TokenizerPair
from regard.models.transformer import Transformer, TransformerConfig
from regard.tasks.runs import save_run
from regard.tasks.translator import Translator

LINE = b"two young men are standing in front of a small house .\n"
BARS = {"regard --help": 0.5, "regard translate of one line": 3.0}


def made_up_text(sentences: int) -> list[str]:
    """Return sentences of random letters, so that subwords are plenty."""
    drawn = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(drawn.choices(letters, k=drawn.randint(2, 9))) for _ in range(20_000)]
    return [" ".join(drawn.choices(words, k=10)) for _ in range(sentences)]


def write_run(folder: Path) -> None:
    """Write a run with random weights."""
    text = made_up_text(20_000)
    tokenizers = TokenizerPair.train(Pairs(text, text), TokenizerConfig(vocab_size=10_000))
    config, vocab_size = TransformerConfig(), tokenizers.target.vocab_size
    torch.manual_seed(1)
    model = Transformer(config, source_vocab=vocab_size, target_vocab=vocab_size)
    save_run(folder, Translator(model, tokenizers, max_length=256), config, {})


def seconds(command: Sequence[str | Path], threads: int) -> float:
    """Time a process from its start to its end."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    started = time.perf_counter()
    subprocess.run(command, input=LINE, stdout=subprocess.DEVNULL, check=True, env=environment)
    return time.perf_counter() - started


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    add_option(parser)
    options = parser.parse_args()
    print(machine(options.threads), load_average(), sep="\n")
    regard = Path(sys.executable).parent / "regard"
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        write_run(run)
        commands = {"regard --help": [regard, "--help"], "regard translate of one line": [regard, "translate", run]}
        times: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(options.rounds + 1):  # the first warms up
            for name, command in commands.items():
                taken = seconds(command, options.threads)
                times[name] += [taken] if turn else []
    figures = [
        Figure("start-up", f"{name}, {min(found):.2f} to {max(found):.2f} s", statistics.median(found), BARS[name], "s")
        for name, found in times.items()
    ]
    print(load_average())
    show(figures)
    save(figures, options.figures)


if __name__ == "__main__":
    main()
