"""Time the ways of attention over sizes, types, masks and gradients on a CPU: what `auto` chooses by is read from this.

    python benchmarks/ways.py [--threads 2 1] [--rounds 7] [--lengths 16 32 ... 2048] [--cpu-time] [--cases]

Ways take turns and the least time counts; `--cpu-time` counts the process's own, for one thread on a busy machine. The
table says for each type, gradient and mask, and each length, how much longer every way takes than the fastest, in the
geometric mean over batch sizes and widths, and what it costs to take what `auto` takes now; `--cases` prints each case.
Sequences attend to themselves; as in decoding, a step of one query, or of five beams, attends to what is kept.
Constants that are read from it: CUT, LONG and the shares in `attend.py`; CACHED in
`ways/products.py`, ROWS and COLUMNS in `ways/windowed.py`, which `--set ways.windowed.ROWS=256` tries out.
"""

import argparse
import importlib
import itertools
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from figures import load_average, machine
from rounds import Clock, add_round_options, chosen_clock, geometric_mean, kind
from torch import Tensor

from regard.attention.attend import WAYS as ALL_WAYS
from regard.attention.attend import Run, attend, chosen_way, observers
from regard.attention.call import AttentionCall
from regard.attention.lengths import Padding
from regard.attention.masks import Everything, Mask
from regard.attention.patterns import Causal, TensorMask, Window

WAYS = ("products", "fused", "windowed", "streamed")
LENGTHS = (16, 32, 64, 128, 256, 512, 1024, 2048)
SHAPES = ((1, 8), (8, 8), (64, 4))  # batch entries, heads
WIDTHS = (32, 64)
TYPES = (torch.float32, torch.bfloat16)
MASKS = ("none", "padding", "causal", "causal, padding", "window")
STEPS = ((1, 16), (1, 64), (1, 512), (5, 15), (5, 80), (5, 320))  # queries, keys
MOST_SCORES = 2**25
"""Maps with more numbers than this are left out: they take long and the answer is known."""
LEAST_SECONDS = 2e-3
"""A turn runs a call so often that it lasts about so long."""
SHORTEST = 64
"""Ways that cut a map are left out where it is shorter."""


class Case(NamedTuple):
    """One call of attention."""

    dtype: torch.dtype
    gradient: bool
    mask: str
    queries: int
    keys: int
    batch: int
    heads: int
    width: int

    @property
    def scores(self) -> int:
        """Size of all maps."""
        return self.batch * self.heads * self.queries * self.keys


class Times(NamedTuple):
    """Seconds of each way, and what `auto` chooses."""

    ways: dict[str, float]
    auto: str

    def cost(self, way: str) -> float:
        """Return how much longer a way takes than the fastest."""
        return self.ways[way] / min(self.ways.values())


def mask_of(case: Case) -> Mask:
    """Build the mask; padding hides up to a quarter of a row, the kin of a beam are a fifth of what is kept."""
    generator = torch.Generator().manual_seed(1)
    if case.mask == "kin":
        kin = torch.rand(case.batch, 1, case.queries, case.keys, generator=generator) < 1 / case.queries
        kin[..., -case.queries :] |= torch.eye(case.queries, dtype=torch.bool)
        return TensorMask(kin)
    padding = Padding(torch.randint(3 * case.keys // 4, case.keys + 1, (case.batch,), generator=generator))
    masks: dict[str, Mask] = {
        "none": Everything(),
        "padding": padding,
        "causal": Causal(),
        "causal, padding": Causal() & padding,
        "window": Window(case.keys // 16, case.keys // 16),
    }
    return masks[case.mask]


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
        chosen = chosen_way(call)
        seen.extend(name for name, way in ALL_WAYS.items() if way is chosen)
        return run(call)

    observers.append(look)
    run(case, states, mask, "auto")
    observers.remove(look)
    return seen[0]


def measure(case: Case, rounds: int, clock: Clock) -> Times:
    """Return the least seconds of each way."""
    states, mask = states_of(case), mask_of(case)
    auto = choice(case, states, mask)
    cutting = ("windowed", "streamed") if case.queries >= SHORTEST else ()
    least = dict.fromkeys((way for way in WAYS if way in ("products", "fused", auto, *cutting)), math.inf)
    times = 1
    for _ in range(rounds + 1):
        for way in least:
            started = clock()
            for _ in range(times):
                run(case, states, mask, way)
            least[way] = min(least[way], (clock() - started) / times)
        times = max(1, round(LEAST_SECONDS / min(least.values())))
    return Times(least, auto)


def cases(lengths: Sequence[int]) -> list[Case]:
    """List the grid, but what is too large: sequences of these lengths, then steps of decoding."""
    grid = itertools.product(TYPES, (False, True), MASKS, lengths, SHAPES, WIDTHS)
    found = [
        Case(dtype, gradient, mask, length, length, batch, heads, width)
        for dtype, gradient, mask, length, (batch, heads), width in grid
    ]
    for dtype, (queries, keys), (batch, heads), width in itertools.product(TYPES, STEPS, SHAPES, WIDTHS):
        found.append(Case(dtype, False, "none" if queries == 1 else "kin", queries, keys, batch, heads, width))
    return [case for case in found if case.scores <= MOST_SCORES]


def show_cases(times: dict[Case, Times]) -> None:
    """Print the microseconds of every way in every case, and what `auto` chooses."""
    for case, found in times.items():
        words = f"{kind(case.dtype)}, {'with' if case.gradient else 'no'} gradient, mask {case.mask}"
        sizes = f"{case.queries} x {case.keys} B{case.batch} H{case.heads} D{case.width}"
        cells = ", ".join(f"{way} {1e6 * seconds:.0f}" for way, seconds in found.ways.items())
        print(f"{words}: {sizes}: {cells}; auto {found.auto}")


def show_costs(times: dict[Case, Times]) -> None:
    """Print how much longer each way takes than the fastest, and `auto`'s choice."""
    for group, of_group in itertools.groupby(times, key=lambda case: (*case[:3], case.queries == case.keys)):
        dtype, gradient, mask, sequence = group
        title = f"{kind(dtype)}, {'with' if gradient else 'no'} gradient, mask {mask}"
        print(f"\n{title}{'' if sequence else ', step'}: queries x keys, times as long as the fastest way")
        print(f"{'':>12}", *(f"{way:>10}" for way in (*WAYS, "auto")), "  taken")
        for size, of_size in itertools.groupby(of_group, key=lambda case: (case.queries, case.keys)):
            found = [times[case] for case in of_size]
            costs = [
                geometric_mean([each.cost(way) for each in found])
                if all(way in each.ways for each in found)
                else math.nan
                for way in WAYS
            ]
            auto = geometric_mean([each.cost(each.auto) for each in found])
            taken = ", ".join(sorted({each.auto for each in found}))
            cells = " ".join("         -" if math.isnan(cost) else f"{cost:10.2f}" for cost in (*costs, auto))
            print(f"{f'{size[0]} x {size[1]}':>12} {cells}  {taken}")


def set_constant(text: str) -> None:
    """Set a constant of a way, such as windowed.ROWS=256."""
    place, _, value = text.partition("=")
    module, _, name = place.rpartition(".")
    setattr(importlib.import_module(f"regard.attention.{module}"), name, float(value) if "." in value else int(value))


def main() -> None:
    """Print the table for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--cases", action="store_true", help="print every case")
    parser.add_argument("--types", nargs="+", choices=[kind(dtype) for dtype in TYPES], help="these types alone")
    parser.add_argument("--set", nargs="+", default=[], help="constants, such as ways.windowed.ROWS=256")
    add_round_options(parser)
    options = parser.parse_args()
    for text in options.set:
        set_constant(text)
    for threads in options.threads:
        torch.set_num_threads(threads)
        print(machine(threads), load_average(), sep="\n")
        started = time.perf_counter()
        chosen = [case for case in cases(options.lengths) if kind(case.dtype) in (options.types or map(kind, TYPES))]
        times = {case: measure(case, options.rounds, chosen_clock(options)) for case in chosen}
        if options.cases:
            show_cases(times)
        show_costs(times)
        print(f"{load_average()}, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
