"""Time `regard.layers.dropout` against PyTorch's dropout on a CPU, forward and backward.

    python benchmarks/dropout.py [--threads 1 2] [--rounds 15]

Both run in turns; the ratio is the median of the ratios of neighbors. The shapes are the states of a batch of
Transformer-tiny, its feed-forward network's, and a base model's.
"""

import argparse
import statistics
import time

import torch
from figures import load_average, machine
from torch import Tensor, nn

from regard.layers.dropout import Dropout

SHAPES = ((256, 16, 128), (256, 16, 256), (256, 16, 512))
P = 0.3


def milliseconds(dropout: nn.Module, states: Tensor, gradient: Tensor) -> float:
    """Time dropping, there and back."""
    states.grad = None
    started = time.perf_counter()
    dropout(states).backward(gradient)
    return 1000 * (time.perf_counter() - started)


def compare(shape: tuple[int, ...], dtype: torch.dtype, rounds: int) -> tuple[float, float, float]:
    """Return medians of PyTorch's and ours, and the median of the ratios."""
    states = torch.randn(shape).to(dtype).requires_grad_()
    gradient = torch.randn(shape).to(dtype)
    modules = (nn.Dropout(P), Dropout(P))
    pairs = [[milliseconds(module, states, gradient) for module in modules] for _ in range(rounds + 2)][2:]
    theirs, ours = zip(*pairs, strict=True)
    ratio = statistics.median(slow / fast for slow, fast in pairs)
    return statistics.median(theirs), statistics.median(ours), ratio


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print(machine(max(options.threads)), load_average(), sep="\n")
    print("threads  type      shape             PyTorch ms    ours ms  PyTorch / ours")
    for threads in options.threads:
        torch.set_num_threads(threads)
        for dtype in (torch.bfloat16, torch.float32):
            for shape in SHAPES:
                theirs, ours, ratio = compare(shape, dtype, options.rounds)
                name = str(dtype).removeprefix("torch.")
                print(f"{threads:7}  {name:8}  {shape!s:16} {theirs:11.2f} {ours:10.2f} {ratio:15.1f}")


if __name__ == "__main__":
    main()
