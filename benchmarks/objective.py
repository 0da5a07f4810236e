"""Time the objective against the plain expression, forward and backward, on this machine.

    python benchmarks/objective.py [--threads 1 2] [--widths 128 256 512] [--types bfloat16 float32] [--device cpu]

Both run in turns, so that a busy machine slows both; the ratio is the median of the ratios of neighbors.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from regard.training.objectives import smoothed_cross_entropy


def plain(hidden: Tensor, weight: Tensor, labels: Tensor) -> None:
    """Run the expression that one would write: all logits, in float32."""
    logits = functional.linear(hidden, weight).float()
    functional.cross_entropy(logits, labels, label_smoothing=0.1, reduction="sum").backward()


def ours(hidden: Tensor, weight: Tensor, labels: Tensor) -> None:
    """Run regard's objective."""
    smoothed_cross_entropy(hidden, weight, None, labels, smoothing=0.1).loss.backward()


def seconds(work: Callable[[], None], device: str) -> float:
    """Time one call."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(
    *, tokens: int, words: int, width: int, dtype: torch.dtype, device: str, rounds: int
) -> tuple[float, float, float]:
    """Give median seconds of both and the median of the ratios."""
    torch.manual_seed(1)
    hidden = torch.randn(tokens, width, device=device).to(dtype).requires_grad_()
    weight = (torch.randn(words, width, device=device) * width**-0.5).to(dtype).requires_grad_()
    labels = torch.randint(words, (tokens,), device=device)
    pairs = []
    for _ in range(rounds + 2):
        pair = []
        for work in (plain, ours):
            hidden.grad = weight.grad = None
            pair.append(seconds(lambda work=work: work(hidden, weight, labels), device))  # type: ignore[misc]
        pairs.append(pair)
    pairs = pairs[2:]
    ratio = statistics.median(slow / fast for slow, fast in pairs)
    return statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs), ratio


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--types", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--words", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    print(f"{options.tokens} tokens, {options.words} words, torch {torch.__version__}, {options.device}")
    print("threads  type      width   plain ms    ours ms   plain / ours")
    for threads in options.threads:
        torch.set_num_threads(threads)
        for name in options.types:
            for width in options.widths:
                slow, fast, ratio = compare(
                    tokens=options.tokens,
                    words=options.words,
                    width=width,
                    dtype=getattr(torch, name),
                    device=options.device,
                    rounds=options.rounds,
                )
                print(f"{threads:7}  {name:8} {width:6} {slow * 1e3:10.2f} {fast * 1e3:10.2f} {ratio:14.2f}")


if __name__ == "__main__":
    main()
