"""Compare target tokens a second of training Transformer-tiny with JoeyNMT and Hugging Face, on Multi30k.

    python benchmarks/training.py --data PATH [--peers .venv-peers] [--threads 2] [--rounds 6] [--updates 10]

PATH holds `train.lc.norm.tok.en`, `.de` and the same of `val`. Same model, same subwords and about 4,096 tokens a
batch on all sides: regard trains by its preset in the precision that it chooses; JoeyNMT 2.3 by its own loop and
batches; a plain loop trains Hugging Face's MarianMTModel, on batches of random pairs and on those of regard. Sides
take turns of so many updates, making the batches included.
"""

import argparse
import contextlib
import json
import statistics
import tempfile
from pathlib import Path

from figures import Figure, add_option, load_average, machine, save, show
from turns import Side, add_options, own_python, peers_python, ratio

from regard.data.batches import TokenBudget, TokenRows
from regard.data.preparation import prepare
from regard.data.text import Pairs, read_pairs
from regard.data.tokenizers import Tokenizer, TokenizerConfig, TokenizerPair

BATCH_TOKENS = 4096
VOCAB_SIZE = 10_000
WARM_UP = 3  # updates
BARS = {
    "JoeyNMT 2.3": 6.0,
    "Hugging Face, random batches, float32": 4.0,
    "Hugging Face, sorted batches, float32": 2.0,
    "Hugging Face, sorted batches, bfloat16": None,
}


def text_files(data: Path) -> list[Path]:
    """Name the text of both sides, to train on and to validate on."""
    return [data.absolute() / f"{part}.lc.norm.tok.{side}" for part in ("train", "val") for side in ("en", "de")]


def write_ids(folder: Path, name: str, rows: TokenRows, kept: int) -> None:
    """Write the first sentences as ids with blanks between."""
    text = "".join(" ".join(map(str, rows[number])) + "\n" for number in range(kept))
    (folder / name).write_text(text)


def write_data(pairs: Pairs, folder: Path) -> None:
    """Write what the peers read: ids for words, since only the subwords' number matters, and regard's batches."""
    tokenizers = TokenizerPair.train(pairs, TokenizerConfig(vocab_size=VOCAB_SIZE, split="blanks"))
    examples = prepare(pairs, tokenizers, max_length=256).examples
    for part, kept in (("train", len(examples)), ("dev", 100)):
        write_ids(folder, f"{part}.source", examples.source, kept)
        write_ids(folder, f"{part}.target", examples.target, kept)
    budget = TokenBudget(examples, tokens=BATCH_TOKENS, seed=1)
    (folder / "batches.json").write_text(json.dumps(budget.batches(0)))
    tokens = range(Tokenizer.eos_id + 1, tokenizers.target.vocab_size)
    (folder / "vocabulary.txt").write_text("".join(f"{token}\n" for token in tokens))


def start(options: argparse.Namespace, folder: Path) -> dict[str, Side]:
    """Start all sides, ours first."""
    peers, chosen = peers_python(options.peers), {"folder": folder, "threads": options.threads}
    files = map(str, text_files(options.data))
    sides = {
        "regard": Side("train_regard", *files, python=own_python(), **chosen),
        "JoeyNMT 2.3": Side("train_joey", python=peers, **chosen),
    }
    for order, kind in (("random", "float32"), ("sorted", "float32"), ("sorted", "bfloat16")):
        side = Side("train_hugging_face", order, kind, python=peers, **chosen)
        sides[f"Hugging Face, {order} batches, {kind}"] = side
    return sides


def compare(sides: dict[str, Side], options: argparse.Namespace) -> dict[str, list[float]]:
    """Let all sides take turns, after some updates to warm up."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side.ask(updates=WARM_UP)
    for turn in range(1, options.rounds + 1):
        for name, side in sides.items():
            rates[name].append(side.rate(updates=options.updates))
        print(
            f"round {turn}, target tokens/s:",
            *(f"{name} {found[-1]:,.0f};" for name, found in rates.items()),
            flush=True,
        )
    return rates


def judge(rates: dict[str, list[float]]) -> list[Figure]:
    """Hold regard against the others."""
    figures = []
    for name, bar in BARS.items():
        medians, rounds = ratio(rates["regard"], rates[name])
        speeds = f"{statistics.median(rates['regard']):,.0f} against {statistics.median(rates[name]):,.0f} "
        speeds += f"target tokens/s of {name}; median of rounds {rounds:.2f}"
        figures.append(Figure("training, tiny, Multi30k", speeds, medians, bar))
    return figures


def main() -> None:
    """Print each round, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    add_options(parser, rounds=6)
    add_option(parser)
    parser.add_argument("--updates", type=int, default=10, help="length of a turn")
    options = parser.parse_args()
    print(machine(options.threads), load_average(), sep="\n")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        source, target, *_ = text_files(options.data)
        write_data(read_pairs(source, target), Path(folder))
        sides = start(options, Path(folder))
        for side in sides.values():
            running.enter_context(side)
        figures = judge(compare(sides, options))
    print(load_average())
    show(figures)
    save(figures, options.figures)


if __name__ == "__main__":
    main()
