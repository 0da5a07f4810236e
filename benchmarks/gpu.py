"""Time `regard.attend` in bfloat16 on a GPU beside the best of PyTorch's backends, dense, windowed and over documents.

    python benchmarks/gpu.py [--rounds 9] [--lengths 1024 2048 ... 32768] [--figures FILE]

Sides take turns, timed by events; ratios are medians of the ratios of the rounds. Dense and causal calls are held
against the fastest backend that runs; windows and documents against dense attention, by the same backend.
"""

import argparse
import statistics
from collections.abc import Callable

import torch
from figures import Figure, add_option, load_average, save, show
from rounds import geometric_mean, times_faster
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from regard.attention.attend import EVERYTHING, attend
from regard.attention.lengths import Documents
from regard.attention.masks import Mask
from regard.attention.patterns import Causal, Window

LENGTHS = (1024, 2048, 4096, 8192, 16_384, 32_768)
TOKENS = 32_768
"""Positions of all batch entries together."""
HEADS, WIDTH, REACH, DOCUMENT = 16, 64, 256, 512
BACKENDS = (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION)
BAR_DENSE, BAR_SPARSE = 0.97, 3.0

Work = Callable[[], object]


def milliseconds(work: Work) -> float:
    """Time some work by the device's own clock."""
    started, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    started.record()
    work()
    ended.record()
    torch.cuda.synchronize()
    return started.elapsed_time(ended)


def in_turns(sides: dict[str, Work], rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of each side, round by round; the first rounds compile and warm up."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 3):
        for name, work in sides.items():
            took = milliseconds(work)
            found[name] += [took] if turn >= 3 else []
    return found


def with_gradient(run: Callable[[], Tensor], states: list[Tensor]) -> Work:
    """Add the gradient of query, key and value, where they need one."""

    def work() -> None:
        context = run()
        if states[0].requires_grad:
            torch.autograd.grad(context, states, context.detach())

    return work


def backends(states: list[Tensor], causal: bool) -> dict[str, Work]:
    """Return PyTorch's backends that run here."""
    found: dict[str, Work] = {}
    for backend in BACKENDS:

        def run(backend: SDPBackend = backend) -> Tensor:
            with sdpa_kernel(backend):
                return functional.scaled_dot_product_attention(*states, is_causal=causal)

        try:
            with_gradient(run, states)()
        except RuntimeError:
            continue  # it does not run on this device
        found[backend.name] = with_gradient(run, states)
    return found


def compare(length: int, gradient: bool, rounds: int) -> dict[str, float]:
    """Return how many times as fast `attend` is, by kind of mask."""
    shape = (max(1, TOKENS // length), HEADS, length, WIDTH)
    states = [torch.randn(shape, device="cuda", dtype=torch.bfloat16, requires_grad=gradient) for _ in range(3)]
    documents = Documents((torch.arange(length) // DOCUMENT).expand(shape[0], -1))
    kinds: dict[str, tuple[Mask, bool]] = {
        "dense": (EVERYTHING, False),
        "causal": (Causal(), True),
        "window": (Window(REACH, REACH), False),
        "documents": (documents, False),
    }
    found = {}
    for name, (mask, causal) in kinds.items():
        ours = with_gradient(lambda mask=mask: attend(*states, mask=mask), states)
        times = in_turns({"ours": ours, **backends(states, causal)}, rounds)
        theirs = min((times[side] for side in times if side != "ours"), key=statistics.median)
        found[name] = times_faster(times["ours"], theirs)
        took = [statistics.median(side) for side in (times["ours"], theirs)]
        print(
            f"{length:6} {'with' if gradient else 'no'} gradient {name:10} {took[0]:8.3f} ms against {took[1]:8.3f} ms"
        )
    return found


def main() -> None:
    """Print every case, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--rounds", type=int, default=9)
    add_option(parser)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("There is no CUDA device here.")
    print(torch.cuda.get_device_name(), f"torch {torch.__version__}", load_average(), sep="\n")
    figures = []
    for gradient in (False, True):
        ratios = {length: compare(length, gradient, options.rounds) for length in options.lengths}
        words = "forward and backward" if gradient else "forward"
        for kind in ("dense", "causal", "window", "documents"):
            long = [found[kind] for length, found in ratios.items() if kind in ("dense", "causal") or length >= 8192]
            bar = BAR_DENSE if kind in ("dense", "causal") else BAR_SPARSE
            if long:
                described = f"{words}; the least {min(long):.2f}, here the geometric mean"
                figures.append(Figure(f"GPU, bfloat16, {kind}", described, geometric_mean(long), bar))
    show(figures)
    save(figures, options.figures)


if __name__ == "__main__":
    main()
