"""Time the ways of attention over sizes, types, masks and gradients on a CPU: what `auto` chooses by is read from this.

    python benchmarks/ways.py [--threads 1 2] [--rounds 5] [--lengths 8 16 32 64 128 256 512] [--cpu-time]

Ways run in turns and the least time counts; `--cpu-time` counts the process's own, for one thread on a busy machine.
The first table has every case; the second says, for every bound on the map's size (queries times keys), what it costs
to take products up to it and fused above it, and what it costs to take what `auto` chooses now: the mean over cases of
the time by the chosen way over that by the faster one. Sequences attend to themselves, and as in decoding a step of one
query, or of five beams, attends to what is kept.
"""

import argparse
import itertools
import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from figures import load_average, machine
from torch import Tensor

from regard.attention.attend import Run, attend, chosen_way, observers
from regard.attention.call import AttentionCall
from regard.attention.lengths import Padding
from regard.attention.masks import Everything, Mask
from regard.attention.patterns import Causal, TensorMask

WAYS = ("reference", "products", "fused")
LENGTHS = (8, 16, 32, 64, 128, 256, 512)
SHAPES = ((1, 8), (8, 8), (64, 4))  # batch entries, heads
WIDTHS = (32, 64)
TYPES = (torch.float32, torch.bfloat16)
MASKS = ("none", "padding", "causal")
STEPS = ((1, 16), (1, 64), (5, 15), (5, 80), (5, 320))  # queries, keys
MOST_SCORES = 2**25
"""Maps with more numbers than this are left out: they take long and the answer is known."""
LEAST_SECONDS = 2e-3
"""A turn runs a call so often that it lasts about so long."""


class Case(NamedTuple):
    """One call of attention."""

    queries: int
    keys: int
    batch: int
    heads: int
    width: int
    dtype: torch.dtype
    mask: str
    gradient: bool

    @property
    def scores(self) -> int:
        """Size of a head's map."""
        return self.queries * self.keys


class Times(NamedTuple):
    """Seconds of each way, and what `auto` chooses."""

    ways: dict[str, float]
    auto: str


def mask_of(case: Case) -> Mask:
    """Build the mask; padding hides up to a quarter of a row, the kin of a beam are a fifth of what is kept."""
    generator = torch.Generator().manual_seed(1)
    if case.mask == "padding":
        return Padding(torch.randint(3 * case.keys // 4, case.keys + 1, (case.batch,), generator=generator))
    if case.mask == "kin":
        kin = torch.rand(case.batch, 1, case.queries, case.keys, generator=generator) < 1 / case.queries
        kin[..., -case.queries :] |= torch.eye(case.queries, dtype=torch.bool)
        return TensorMask(kin)
    return Causal() if case.mask == "causal" else Everything()


def states_of(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Return query, key and value as a model leaves them: heads of a projection, or a view of a longer cache."""
    if case.queries == case.keys:
        states = torch.randn(case.batch, case.keys, 3, case.heads, case.width).to(case.dtype)
        query, key, value = states.permute(2, 0, 3, 1, 4).unbind(0)
    else:
        query = torch.randn(case.batch, case.queries, case.heads, case.width).to(case.dtype).transpose(1, 2)
        kept = torch.randn(2, case.batch, case.heads, 2 * case.keys, case.width).to(case.dtype)
        key, value = kept[:, :, :, : case.keys].unbind(0)
    if case.gradient:
        query, key, value = (part.detach().requires_grad_() for part in (query, key, value))
    return query, key, value


def run(case: Case, states: tuple[Tensor, Tensor, Tensor], mask: Mask, way: str) -> None:
    """Run one call, with the gradient of query, key and value if wanted."""
    with torch.set_grad_enabled(case.gradient):
        context = attend(*states, mask=mask, way=way)
        if case.gradient:
            torch.autograd.grad(context, states, context.detach())


def choice(case: Case, states: tuple[Tensor, Tensor, Tensor], mask: Mask) -> str:
    """Return the name of the way that `auto` chooses."""
    seen: list[str] = []

    def look(call: AttentionCall, run: Run) -> Tensor:
        seen.append(chosen_way(call).__name__.rpartition(".")[2])
        return run(call)

    observers.append(look)
    run(case, states, mask, "auto")
    observers.remove(look)
    return seen[0]


def measure(case: Case, rounds: int, clock: Callable[[], float]) -> Times:
    """Return the least seconds of each way."""
    states, mask = states_of(case), mask_of(case)
    least = dict.fromkeys(WAYS, math.inf)
    times = 1
    for _ in range(rounds + 1):
        for way in WAYS:
            started = clock()
            for _ in range(times):
                run(case, states, mask, way)
            least[way] = min(least[way], (clock() - started) / times)
        times = max(1, round(LEAST_SECONDS / min(least.values())))
    return Times(least, choice(case, states, mask))


def cases(lengths: Sequence[int]) -> list[Case]:
    """List the grid, but what is too large: sequences of these lengths, then steps of decoding."""
    grid = itertools.product(TYPES, (False, True), MASKS, WIDTHS, SHAPES, lengths)
    found = [
        Case(length, length, batch, heads, width, dtype, mask, gradient)
        for dtype, gradient, mask, width, (batch, heads), length in grid
    ]
    for dtype, width, (batch, heads), (queries, keys) in itertools.product(TYPES, WIDTHS, SHAPES, STEPS):
        mask = "none" if queries == 1 else "kin"
        found.append(Case(queries, keys, batch, heads, width, dtype, mask, False))
    return [case for case in found if case.batch * case.heads * case.scores <= MOST_SCORES]


def show_cases(times: dict[Case, Times]) -> None:
    """Print products' time in microseconds, and the others' over it, and what `auto` chooses."""
    print("\nqueries x keys, microseconds of products, reference / products, fused / products, choice of auto")
    for (*rest,), group in itertools.groupby(times, key=lambda case: case[2:]):
        batch, heads, width, dtype, mask, gradient = rest
        print(f"{kind(dtype)}, {'with' if gradient else 'no'} gradient, mask {mask}, B{batch} H{heads} D{width}:")
        for case in group:
            found = times[case].ways
            ratios = (found[way] / found["products"] for way in ("reference", "fused"))
            cells = " ".join(f"{ratio:8.2f}" for ratio in ratios)
            size = f"{case.queries} x {case.keys}"
            print(f"{size:>10} {1e6 * found['products']:10.0f} {cells}  {times[case].auto}")


def kind(dtype: torch.dtype) -> str:
    """Name a type."""
    return str(dtype).removeprefix("torch.")


def cost(times: dict[Case, Times], bound: int | None) -> float:
    """Return how much longer calls take by this bound, or by `auto`, than by the faster way, in the geometric mean."""
    logarithms = []
    for case, (found, auto) in times.items():
        by_bound = "products" if bound is not None and case.scores <= bound else "fused"
        chosen = auto if bound is None else by_bound
        logarithms.append(math.log(found[chosen] / min(found["products"], found["fused"])))
    return math.exp(sum(logarithms) / len(logarithms))


def groups(times: dict[Case, Times]) -> dict[str, dict[Case, Times]]:
    """Divide cases by what a rule may look at: type, need of gradient, and step or sequence."""
    divided: dict[str, dict[Case, Times]] = {}
    for case, found in times.items():
        shape = "sequence" if case.queries == case.keys else "step"
        gradient = "with gradient" if case.gradient else "no gradient"
        divided.setdefault(f"{kind(case.dtype)}, {shape}, {gradient}", {})[case] = found
    return divided | {"all": times}


def show_bounds(times: dict[Case, Times], lengths: Sequence[int]) -> None:
    """Print what each bound costs, and the cheapest."""
    print("\nmean cost, 1.00 being the faster way everywhere; products up to so many scores a head:")
    print(f"{'':34}", *(f"{f'{length}^2':>7}" for length in (0, *lengths)), "    auto  cheapest")
    for name, group in groups(times).items():
        costs = {length: cost(group, length**2) for length in (0, *lengths)}
        cheapest = min(costs, key=lambda length: costs[length])
        cells = " ".join(f"{found:7.2f}" for found in costs.values())
        print(f"{name:34} {cells} {cost(group, None):8.2f}  {cheapest}^2")


def main() -> None:
    """Print both tables for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--cpu-time", action="store_true")
    options = parser.parse_args()
    clock = time.process_time if options.cpu_time else time.perf_counter
    for threads in options.threads:
        torch.set_num_threads(threads)
        print(machine(threads), load_average(), sep="\n")
        times = {case: measure(case, options.rounds, clock) for case in cases(options.lengths)}
        show_cases(times)
        show_bounds(times, options.lengths)
        print(load_average())


if __name__ == "__main__":
    main()
