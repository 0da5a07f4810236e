"""Time the ways of attention over sizes, types, masks and gradients on a CPU: what `auto` chooses by is read from this.

    python benchmarks/ways.py [--threads 1 2] [--rounds 5] [--lengths 8 16 32 64 128 256 512]

Ways run in turns and the least time counts. The first table has every case; the second says, for every bound on
the map's size (queries times keys), what it costs to take products up to it and fused above it: the mean over cases of
the time by the chosen way over that by the faster one.
"""

import argparse
import itertools
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from figures import load_average, machine
from torch import Tensor

from regard.attention.attend import attend
from regard.attention.masks import Causal, Everything, Mask, Padding

WAYS = ("reference", "products", "fused")
LENGTHS = (8, 16, 32, 64, 128, 256, 512)
SHAPES = ((1, 8), (8, 8), (64, 4))  # batch entries, heads
WIDTHS = (32, 64)
TYPES = (torch.float32, torch.bfloat16)
MASKS = ("none", "padding", "causal")
MOST_SCORES = 2**25
"""Maps with more numbers than this are left out: they take long and the answer is known."""
LEAST_SECONDS = 2e-3
"""A turn runs a call so often that it lasts about so long."""


class Case(NamedTuple):
    """One call of attention."""

    length: int
    batch: int
    heads: int
    width: int
    dtype: torch.dtype
    mask: str
    gradient: bool


Times = dict[str, float]


def mask_of(case: Case) -> Mask:
    """Build the mask; padding hides up to a quarter of a row."""
    if case.mask == "padding":
        generator = torch.Generator().manual_seed(1)
        return Padding(torch.randint(3 * case.length // 4, case.length + 1, (case.batch,), generator=generator))
    return Causal() if case.mask == "causal" else Everything()


def run(case: Case, heads: Tensor, gradient: Tensor, mask: Mask, way: str) -> None:
    """Run one call, with the gradient of query, key and value if wanted."""
    heads.grad = None
    with torch.set_grad_enabled(case.gradient):
        query, key, value = heads.unbind(0)
        context = attend(query, key, value, mask=mask, way=way)
        if case.gradient:
            context.backward(gradient)


def measure(case: Case, rounds: int) -> Times:
    """Return the least seconds of each way."""
    # As a model's projection leaves them: heads lie side by side.
    states = torch.randn(case.batch, case.length, 3, case.heads, case.width).to(case.dtype)
    heads = states.permute(2, 0, 3, 1, 4).requires_grad_(case.gradient)
    gradient, mask = torch.randn(case.batch, case.heads, case.length, case.width).to(case.dtype), mask_of(case)
    least = dict.fromkeys(WAYS, math.inf)
    times = 1
    for _ in range(rounds + 1):
        for way in WAYS:
            started = time.perf_counter()
            for _ in range(times):
                run(case, heads, gradient, mask, way)
            least[way] = min(least[way], (time.perf_counter() - started) / times)
        times = max(1, round(LEAST_SECONDS / min(least.values())))
    return least


def cases(lengths: Sequence[int]) -> list[Case]:
    """List the grid, but what is too large."""
    grid = itertools.product(TYPES, (False, True), MASKS, WIDTHS, SHAPES, lengths)
    found = [
        Case(length, batch, heads, width, dtype, mask, gradient)
        for dtype, gradient, mask, width, (batch, heads), length in grid
    ]
    return [case for case in found if case.batch * case.heads * case.length**2 <= MOST_SCORES]


def show_cases(times: dict[Case, Times]) -> None:
    """Print one line for all lengths of a case: products' time in microseconds, and the others' over it."""
    print("\nmicroseconds of products | reference / products | fused / products, by length")
    for (*rest,), group in itertools.groupby(times, key=lambda case: case[1:]):
        batch, heads, width, dtype, mask, gradient = rest
        print(f"{kind(dtype)}, {'with' if gradient else 'no'} gradient, mask {mask}, B{batch} H{heads} D{width}:")
        for case in group:
            found = times[case]
            ratios = (found[way] / found["products"] for way in ("reference", "fused"))
            print(
                f"{case.length:8} {1e6 * found['products']:10.0f}", *(f"{ratio:8.2f}" for ratio in ratios), flush=True
            )


def kind(dtype: torch.dtype) -> str:
    """Name a type."""
    return str(dtype).removeprefix("torch.")


def cost(times: dict[Case, Times], bound: int) -> float:
    """Return how much longer calls take by this bound than by the faster way, in the geometric mean."""
    logarithms = []
    for case, found in times.items():
        chosen = "products" if case.length**2 <= bound else "fused"
        logarithms.append(math.log(found[chosen] / min(found["products"], found["fused"])))
    return math.exp(sum(logarithms) / len(logarithms))


def show_bounds(times: dict[Case, Times], lengths: Sequence[int]) -> None:
    """Print what each bound costs, by type and need of gradient and over all, and the cheapest."""
    groups = {
        f"{kind(dtype)}, {'with' if gradient else 'no'} gradient": {
            case: found for case, found in times.items() if (case.dtype, case.gradient) == (dtype, gradient)
        }
        for dtype, gradient in itertools.product(TYPES, (False, True))
    }
    groups["all"] = times
    print("\nmean cost of the bound, 1.00 being the faster way everywhere")
    print(f"{'products up to':26}", *(f"{f'{length}^2':>7}" for length in (0, *lengths)), "  cheapest")
    for name, group in groups.items():
        costs = {length: cost(group, length**2) for length in (0, *lengths)}
        cheapest = min(costs, key=lambda length: costs[length])
        print(f"{name:26}", *(f"{found:7.2f}" for found in costs.values()), f"  {cheapest}^2")


def main() -> None:
    """Print both tables for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    options = parser.parse_args()
    for threads in options.threads:
        torch.set_num_threads(threads)
        print(machine(threads), load_average(), sep="\n")
        times = {case: measure(case, options.rounds) for case in cases(options.lengths)}
        show_cases(times)
        show_bounds(times, options.lengths)
        print(load_average())


if __name__ == "__main__":
    main()
