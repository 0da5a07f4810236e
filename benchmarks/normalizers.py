"""Time sparsemax and entmax against the package entmax, on a CPU, forward alone and with the gradient.

    python benchmarks/normalizers.py [--threads 2 1] [--rounds 9] [--rows 512] [--cpu-time] [--figures FILE]

Both take turns on the same scores, and the ratio is the median of the ratios of neighbors; `--cpu-time` counts the
process's own, for one thread on a busy machine. Weights and gradients are compared first. The bars are for rows of 4096
keys; short rows, and alphas that both sides find by halving, are for information. Scores of deviation 1 leave a handful
of keys, those of deviation 0.01 hundreds or all of them.
Needs the package in the same environment: `pip install entmax`.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from figures import Figure, add_option, load_average, machine, save, show
from torch import Tensor

from regard.attention.normalizers import AdaptiveEntmax, Entmax, Entmax15, Normalizer, Sparsemax

try:
    import entmax
except ImportError:
    raise SystemExit("The package entmax is not installed here: pip install entmax.") from None

BAR = 2.0
KEYS = 4096
HEADS = 4

Run = Callable[[Tensor], Tensor]
Clock = Callable[[], float]


class Case(NamedTuple):
    """One mechanism on rows of one kind.

    Attributes:
        name: The mechanism.
        ours: Our normalizer.
        theirs: The package's function.
        keys: Length of a row.
        deviation: Of the scores.
        bar: How many times as fast ours is to be; None where it is for information.
    """

    name: str
    ours: Normalizer
    theirs: Run
    keys: int
    deviation: float
    bar: float | None


def cases() -> list[Case]:
    """List what is compared."""
    adaptive = AdaptiveEntmax(HEADS)
    both: list[tuple[str, Normalizer, Run]] = [
        ("sparsemax", Sparsemax(), lambda scores: entmax.sparsemax(scores, dim=-1)),
        ("entmax-1.5", Entmax15(), lambda scores: entmax.entmax15(scores, dim=-1)),
    ]
    found = [Case(*one, KEYS, deviation, BAR) for one in both for deviation in (1.0, 0.1, 0.01)]
    found += [Case(*one, keys, 1.0, None) for one in both for keys in (64, 512)]
    found.append(Case("entmax-1.3", Entmax(1.3), lambda scores: entmax.entmax_bisect(scores, 1.3), KEYS, 1.0, None))
    found.append(Case("entmax-3", Entmax(3.0), lambda scores: entmax.entmax_bisect(scores, 3.0), KEYS, 1.0, None))
    found.append(
        Case(
            "entmax, alphas of heads",
            adaptive,
            lambda scores: entmax.entmax_bisect(scores, adaptive.alpha().detach().view(-1, 1, 1)),
            KEYS,
            1.0,
            None,
        )
    )
    return found


def scores_of(case: Case, rows: int) -> Tensor:
    """Draw scores, [B H Q K], of as many rows; more where rows are short."""
    queries = max(1, rows * KEYS // case.keys // HEADS)
    drawn = case.deviation * torch.randn(1, HEADS, queries, case.keys)
    return drawn.requires_grad_()


def our_run(case: Case) -> Run:
    """Return our normalizer as a function of scores alone; alphas are held, as theirs are."""
    case.ours.requires_grad_(False)
    return lambda scores: case.ours(scores, None)


def gradient(run: Run, scores: Tensor, factors: Tensor) -> Tensor:
    """Return the gradient of the scores."""
    return torch.autograd.grad(run(scores), scores, factors)[0]


def check(case: Case, scores: Tensor, factors: Tensor) -> None:
    """Raise if the two sides do not compute the same; in float64, since the package loses digits at alpha = 3."""
    case.ours.double()
    ours = our_run(case)
    scores, factors = scores.detach().double().requires_grad_(), factors.double()
    torch.testing.assert_close(ours(scores), case.theirs(scores), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(
        gradient(ours, scores, factors), gradient(case.theirs, scores, factors), rtol=1e-4, atol=1e-6
    )
    case.ours.float()


def seconds(run: Run, scores: Tensor, factors: Tensor | None, clock: Clock) -> float:
    """Time one run; with the gradient where its factors are given."""
    started = clock()
    if factors is None:
        with torch.no_grad():
            run(scores)
    else:
        gradient(run, scores, factors)
    return clock() - started


def compare(case: Case, rows: int, rounds: int, clock: Clock, *, backward: bool) -> Figure:
    """Return how many times as fast as the package ours is."""
    scores = scores_of(case, rows)
    factors = torch.randn(scores.shape)
    check(case, scores, factors)
    ours = our_run(case)
    given = factors if backward else None
    pairs = [[seconds(run, scores, given, clock) for run in (case.theirs, ours)] for _ in range(rounds + 1)][1:]
    theirs_median, ours_median = (
        1e6 * case.keys * statistics.median(side) / scores.numel() for side in zip(*pairs, strict=True)
    )
    ratio = statistics.median(slow / fast for slow, fast in pairs)
    what = "forward+backward" if backward else "forward"
    work = f"{case.name}, rows of {case.keys}, deviation {case.deviation:g}, {what}"
    return Figure(work, f"{theirs_median:.1f} against {ours_median:.1f} us a row", ratio, case.bar)


def measure(threads: int, rows: int, rounds: int, clock: Clock) -> list[Figure]:
    """Run all cases with so many threads."""
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    print(machine(threads), load_average(), sep="\n")
    figures = [compare(case, rows, rounds, clock, backward=backward) for case in cases() for backward in (False, True)]
    show(figures)
    print(load_average())
    return [figure._replace(work=f"{figure.work}, {threads} threads") for figure in figures]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--cpu-time", action="store_true")
    add_option(parser)
    options = parser.parse_args(arguments)
    clock = time.process_time if options.cpu_time else time.perf_counter
    figures = [
        figure for threads in options.threads for figure in measure(threads, options.rows, options.rounds, clock)
    ]
    save(figures, options.figures)


if __name__ == "__main__":
    main()
