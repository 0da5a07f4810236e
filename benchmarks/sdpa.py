"""Time `regard.attend` beside PyTorch's own choice, F.scaled_dot_product_attention, on a CPU.

    python benchmarks/sdpa.py [--threads 2 1] [--rounds 7] [--lengths 16 ... 4096] [--cpu-time] [--figures FILE]

Both take turns on the same tensors, over batch entries and heads, lengths, types, causal or not, forward alone and with
the gradient. The ratio is the median of the ratios of the rounds. A case is within bounds if `attend` is at least 0.95
times as fast, or no more than 15 microseconds slower. What `attend` itself adds is seen on one query and one key.
"""

import argparse
import itertools
import statistics
from collections.abc import Callable
from typing import NamedTuple

import torch
from figures import Figure, add_option, load_average, machine, save, show
from rounds import Clock, add_round_options, chosen_clock, geometric_mean, in_turns, kind, times_faster
from torch import Tensor
from torch.nn import functional

from regard.attention.attend import attend
from regard.attention.masks import Everything
from regard.attention.patterns import Causal

LENGTHS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
SHAPES = ((1, 8), (8, 8), (32, 4))  # batch entries, heads
WIDTH = 64
MOST_SCORES = 2**27
"""Maps of all heads with more numbers are left out: they take seconds."""
LEAST_RATIO, MOST_MICROSECONDS = 0.95, 15.0
BARS = {("float32", False): 1.0, ("float32", True): 1.0, ("bfloat16", False): 1.5, ("bfloat16", True): 2.5}
MOST_ADDED = 5.0


class Case(NamedTuple):
    """One call of attention."""

    dtype: torch.dtype
    gradient: bool
    causal: bool
    batch: int
    heads: int
    length: int


class Result(NamedTuple):
    """How many times as fast `attend` is, and how many microseconds PyTorch takes and `attend` takes longer."""

    ratio: float
    theirs: float
    longer: float

    @property
    def within_bounds(self) -> bool:
        """Whether it is no slower than it may be."""
        return self.ratio >= LEAST_RATIO or self.longer <= MOST_MICROSECONDS


def cases(lengths: list[int]) -> list[Case]:
    """List the grid, but what is too large."""
    grid = itertools.product((torch.float32, torch.bfloat16), (False, True), (False, True), SHAPES, lengths)
    found = [
        Case(dtype, gradient, causal, batch, heads, length) for dtype, gradient, causal, (batch, heads), length in grid
    ]
    return [case for case in found if case.batch * case.heads * case.length**2 <= MOST_SCORES]


def measure(case: Case, rounds: int, clock: Clock) -> Result:
    """Let both sides take turns at a case."""
    shape = (case.batch, case.heads, case.length, WIDTH)
    states = [torch.randn(shape).to(case.dtype).requires_grad_(case.gradient) for _ in range(3)]
    mask = Causal() if case.causal else Everything()
    sides: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: attend(*states, mask=mask),
        "theirs": lambda: functional.scaled_dot_product_attention(*states, is_causal=case.causal),
    }
    seconds = in_turns({name: with_gradient(run, states) for name, run in sides.items()}, rounds, clock)
    ours, theirs = (statistics.median(seconds[name]) for name in ("ours", "theirs"))
    return Result(times_faster(seconds["ours"], seconds["theirs"]), 1e6 * theirs, 1e6 * (ours - theirs))


def with_gradient(run: Callable[[], Tensor], states: list[Tensor]) -> Callable[[], None]:
    """Add the gradient of query, key and value, where they need one."""

    def work() -> None:
        with torch.set_grad_enabled(states[0].requires_grad):
            context = run()
            if states[0].requires_grad:
                torch.autograd.grad(context, states, context.detach())

    return work


def added(rounds: int, clock: Clock) -> float:
    """Return the microseconds that `attend` adds to PyTorch's function, for one query and one key."""
    states = [torch.randn(1, 1, 1, WIDTH) for _ in range(3)]
    with torch.no_grad():
        seconds = in_turns(
            {
                "ours": lambda: attend(*states),
                "theirs": lambda: functional.scaled_dot_product_attention(*states),
            },
            max(rounds, 21),
            clock,
        )
    return 1e6 * statistics.median(a - b for a, b in zip(seconds["ours"], seconds["theirs"], strict=True))


def show_cases(results: dict[Case, Result]) -> None:
    """Print every case."""
    for (dtype, gradient, causal, batch, heads), group in itertools.groupby(results, key=lambda case: case[:5]):
        words = f"{'with' if gradient else 'no'} gradient, {'causal' if causal else 'all'}"
        print(f"\n{kind(dtype)}, {words}, B{batch} H{heads}: length, PyTorch's microseconds, times as fast, longer by")
        for case in group:
            found = results[case]
            flag = "" if found.within_bounds else "  OUT OF BOUNDS"
            print(f"{case.length:6} {found.theirs:12.1f} {found.ratio:8.2f} {found.longer:12.1f}{flag}")


def summary(results: dict[Case, Result], microseconds: float, threads: int) -> list[Figure]:
    """Return the figures that have a bar."""
    bounded = [found.within_bounds for found in results.values()]
    worst = min(results.values(), key=lambda found: (found.within_bounds, found.ratio))
    name = f"attend against F.scaled_dot_product_attention, {threads} threads"
    figures = [
        Figure(name, f"share of {len(bounded)} cases within bounds; the worst is {worst.ratio:.2f} times as fast "
               f"and {worst.longer:.0f} microseconds longer", statistics.fmean(bounded), 1.0),
    ]  # fmt: skip
    for (dtype, gradient), bar in BARS.items():
        ratios = [
            found.ratio for case, found in results.items() if kind(case.dtype) == dtype and case.gradient == gradient
        ]
        words = f"{dtype}, {'forward and backward' if gradient else 'forward'}, geometric mean of {len(ratios)} cases"
        figures.append(Figure(name, words, geometric_mean(ratios), bar))
    own = Figure(f"attend itself, {threads} threads", "adds to one query and key", microseconds, MOST_ADDED, "us")
    return [*figures, own]


def main() -> None:
    """Print every case, then the figures, for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    add_round_options(parser)
    add_option(parser)
    options = parser.parse_args()
    figures = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        print(machine(threads), load_average(), sep="\n")
        microseconds = added(options.rounds, chosen_clock(options))
        results = {case: measure(case, options.rounds, chosen_clock(options)) for case in cases(options.lengths)}
        show_cases(results)
        figures += summary(results, microseconds, threads)
        print(load_average())
    show(figures)
    save(figures, options.figures)


if __name__ == "__main__":
    main()
