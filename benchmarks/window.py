"""Time attention in a window of 256 at 16,384 positions beside dense attention, and beside Longformer's self-attention.

    python benchmarks/window.py [--peers .venv-peers] [--threads 2 1] [--rounds 7] [--gradient] [--figures FILE]

Dense attention is F.scaled_dot_product_attention on the same tensors, in the same process, in turns. Longformer's is
Hugging Face's LongformerSelfAttention (`sides/window_longformer.py`) in the peers' environment, and ours is then
`SelfAttention`, with projections on both sides (and, on ours, one more, behind): each a process, in turns. A window of
256 is 128 positions to either side.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from figures import Figure, add_option, load_average, machine, save, show
from rounds import add_round_options, chosen_clock, in_turns, times_faster
from torch import Tensor
from torch.nn import functional
from turns import ROOT, Side, own_python, peers_python, ratio

from regard.attention.attend import attend
from regard.attention.patterns import Window

HEADS, WIDTH = 12, 64
BAR_DENSE, BAR_LONGFORMER = 10.0, 3.0


def beside_dense(threads: int, options: argparse.Namespace) -> Figure:
    """Let a window and dense attention take turns."""
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    states = [torch.randn(1, HEADS, options.length, WIDTH).requires_grad_(options.gradient) for _ in range(3)]
    mask = Window(options.window // 2, options.window // 2)
    sides: dict[str, Callable[[], Tensor]] = {
        "window": lambda: attend(*states, mask=mask),
        "dense": lambda: functional.scaled_dot_product_attention(*states),
    }

    def work(run: Callable[[], Tensor]) -> None:
        with torch.set_grad_enabled(options.gradient):
            context = run()
            if options.gradient:
                torch.autograd.grad(context, states, context.detach())

    works = {name: (lambda run=run: work(run)) for name, run in sides.items()}
    seconds = in_turns(works, options.rounds, chosen_clock(options))
    window, dense = (statistics.median(seconds[side]) for side in ("window", "dense"))
    words = f"{window:.3f} s against {dense:.3f} s of dense attention"
    return Figure(name_of(threads, options), words, times_faster(*seconds.values()), BAR_DENSE)


def beside_longformer(threads: int, options: argparse.Namespace) -> Figure:
    """Let two processes take turns."""
    request = {name: getattr(options, name) for name in ("length", "window", "gradient")}
    request |= {"heads": HEADS, "width": WIDTH}
    rates: dict[str, list[float]] = {"regard": [], "longformer": []}
    with tempfile.TemporaryDirectory() as folder:
        place = {"folder": Path(folder), "threads": threads}
        with (
            Side("window_regard", python=own_python(), **place) as ours,
            Side("window_longformer", python=peers_python(options.peers), **place) as theirs,
        ):
            for turn in range(options.rounds + 1):
                for name, side in (("regard", ours), ("longformer", theirs)):
                    rate = side.rate(**request)
                    rates[name] += [rate] if turn else []
    medians, rounds = ratio(rates["regard"], rates["longformer"])
    seconds = [options.length / statistics.median(found) for found in rates.values()]
    words = (
        f"{seconds[0]:.3f} s against {seconds[1]:.3f} s of Longformer's self-attention; ratio of medians {medians:.2f}"
    )
    return Figure(name_of(threads, options), words, rounds, BAR_LONGFORMER)


def name_of(threads: int, options: argparse.Namespace) -> str:
    """Name the work."""
    gradient = ", forward and backward" if options.gradient else ""
    return f"window {options.window}, N = {options.length}{gradient}, {threads} threads"


def main() -> None:
    """Print the figures for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers", help="environment with the peers in it")
    parser.add_argument("--length", type=int, default=16_384)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--gradient", action="store_true", help="forward and backward")
    parser.add_argument("--dense-only", action="store_true", help="leave Longformer out")
    add_round_options(parser)
    add_option(parser)
    options = parser.parse_args()
    print(machine(max(options.threads)), load_average(), sep="\n")
    figures = [beside_dense(threads, options) for threads in options.threads]
    if not options.dense_only:
        figures += [beside_longformer(threads, options) for threads in options.threads]
    show(figures)
    save(figures, options.figures)
    print(load_average())


if __name__ == "__main__":
    main()
