"""Time additive attention, forward and backward, beside the textbook expression, and compare the memory of both.

    python benchmarks/additive.py [--threads 2 1] [--rounds 7] [--length 1024] [--hidden 256] [--figures FILE]

Both take turns on the same tensors. Memory is what the resident set of a process of its own grows by at most while it
runs forward and backward once.
"""

import argparse
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from figures import Figure, add_option, load_average, machine, save, show
from rounds import add_round_options, chosen_clock, in_turns, times_faster
from torch import Tensor

from regard.attention.attend import attend
from regard.attention.scores import Additive

BAR_TIME, BAR_MEMORY = 10.0, 10.0
SIDES = ("ours", "textbook")


def textbook(query: Tensor, key: Tensor, value: Tensor, score: Additive) -> Tensor:
    """Write down Bahdanau et al. 2015, A.1.2: softmax(v . tanh(W q + U k)) @ value."""
    hidden = torch.tanh(score.query(query).unsqueeze(-2) + score.key(key).unsqueeze(-3))  # [B H Q K E]
    weights = torch.softmax(score.vector(hidden).squeeze(-1), dim=-1)
    return weights @ value


def work(side: str, length: int, hidden: int) -> Callable[[], list[Tensor]]:
    """Return what a side does in a turn."""
    torch.manual_seed(1)
    score = Additive(hidden, hidden, hidden)
    query, key, value = (torch.randn(1, 1, length, hidden, requires_grad=True) for _ in range(3))
    wanted = [query, key, value, *score.parameters()]

    def run() -> list[Tensor]:
        context = textbook(query, key, value, score) if side == "textbook" else attend(query, key, value, score=score)
        return [context, *torch.autograd.grad(context.square().sum(), wanted)]

    return run


def check_equal(length: int, hidden: int) -> None:
    """Make sure that both compute the same."""
    for ours, theirs in zip(*(work(side, length, hidden)() for side in SIDES), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max().item())


def peak(side: str, length: int, hidden: int) -> int:
    """Return by how many bytes the resident set grows at most."""
    work(side, 16, hidden)()  # loads what is loaded once
    run = work(side, length, hidden)
    before = resident_at_most()
    run()
    return resident_at_most() - before


def resident_at_most() -> int:
    """Return the bytes of the largest resident set that this process had.

    Linux tells it of the process alone; what `getrusage` tells there begins with that of the process that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().split("\n") if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else 1024 * held


def peak_of_process(side: str, threads: int, options: argparse.Namespace) -> int:
    """Ask a process of its own."""
    sizes = ["--length", str(options.length), "--hidden", str(options.hidden), "--threads", str(threads)]
    command = [sys.executable, Path(__file__), "--peak", side, *sizes]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare(threads: int, options: argparse.Namespace) -> list[Figure]:
    """Let both sides take turns, and weigh them."""
    torch.set_num_threads(threads)
    runs = {side: work(side, options.length, options.hidden) for side in SIDES}
    seconds = in_turns(runs, options.rounds, chosen_clock(options))
    ours, theirs = (min(seconds[side]) for side in SIDES)
    memory = {side: peak_of_process(side, threads, options) for side in SIDES}
    sizes = f"N = M = {options.length}, hidden {options.hidden}"
    name = f"additive attention, {sizes}, forward and backward, {threads} threads"
    weights = " against ".join(f"{memory[side] / 2**20:,.0f} MiB" for side in SIDES)
    return [
        Figure(name, f"{ours:.3f} s against {theirs:.3f} s", times_faster(*seconds.values()), BAR_TIME),
        Figure(name, f"peak memory, {weights}", memory["textbook"] / max(1, memory["ours"]), BAR_MEMORY),
    ]


def main() -> None:
    """Print the figures for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--peak", choices=SIDES, help="print the bytes that this side's memory grows by, and end")
    add_round_options(parser)
    add_option(parser)
    options = parser.parse_args()
    if options.peak:
        torch.set_num_threads(options.threads[0])
        print(peak(options.peak, options.length, options.hidden))
        return
    print(machine(max(options.threads)), load_average(), sep="\n")
    check_equal(min(256, options.length), options.hidden)
    figures = [figure for threads in options.threads for figure in compare(threads, options)]
    show(figures)
    save(figures, options.figures)
    print(load_average())


if __name__ == "__main__":
    main()
