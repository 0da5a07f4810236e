"""Time PyTorch's softmax of short rows in bfloat16 against the same through float32, forward and gradient, on a CPU.

    python benchmarks/softmax.py [--threads 1 2] [--rounds 15]

`src/regard/attention/ways/products.py` goes through float32 by this. Both run in turns; the ratio is the median of the
ratios of neighbors. The rows are those of a batch of Transformer-tiny: maps of all heads, as many keys as queries.
"""

import argparse
import statistics
import time

import torch
from figures import load_average, machine
from torch import Tensor

SHAPES = ((2048, 8, 8), (1024, 16, 16), (512, 30, 30))
TYPES = (torch.bfloat16, torch.float32)  # of the computation


def milliseconds(scores: Tensor, gradient: Tensor, dtype: torch.dtype) -> tuple[float, float]:
    """Time the softmax computed in a type, and its gradient."""
    scores.grad = None
    started = time.perf_counter()
    weights = torch.softmax(scores, dim=-1, dtype=dtype).to(scores.dtype)
    between = time.perf_counter()
    weights.backward(gradient)
    return 1000 * (between - started), 1000 * (time.perf_counter() - between)


def compare(shape: tuple[int, ...], rounds: int) -> list[tuple[float, float, float]]:
    """Return, forward and backward, the medians in bfloat16 and through float32 and the median of the ratios."""
    scores = torch.randn(shape).bfloat16().requires_grad_()
    gradient = torch.randn(shape).bfloat16()
    runs = [[milliseconds(scores, gradient, dtype) for dtype in TYPES] for _ in range(rounds + 2)][2:]
    found = []
    for part in (0, 1):
        half, through = zip(*((one[part], other[part]) for one, other in runs), strict=True)
        ratio = statistics.median(slow / fast for slow, fast in zip(half, through, strict=True))
        found.append((statistics.median(half), statistics.median(through), ratio))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print(machine(max(options.threads)), load_average(), sep="\n")
    print("threads  shape             part      bfloat16 ms  float32 ms  bfloat16 / float32")
    for threads in options.threads:
        torch.set_num_threads(threads)
        for shape in SHAPES:
            for part, (half, through, ratio) in zip(
                ("forward", "gradient"), compare(shape, options.rounds), strict=True
            ):
                print(f"{threads:7}  {shape!s:16}  {part:8} {half:12.2f} {through:11.2f} {ratio:19.1f}")


if __name__ == "__main__":
    main()
