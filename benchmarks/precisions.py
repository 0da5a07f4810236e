"""Compare training in bfloat16 with float32 by the size of the model, and what `precision="auto"` makes of it.

    python benchmarks/precisions.py [--threads 2 1] [--rounds 7]

Updates of whole models (forward, backward, optimizer) of several widths over drawn tokens, both sides in turns. The
figure is the speed of the number type that `auto` takes over that of the faster one: 1 where it takes the right one.
The shapes of a size are always the same; what other shapes in each batch cost, `batches.py` measures.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from figures import Figure, add_option, load_average, machine, save, show
from rounds import add_round_options, chosen_clock, in_turns, kind, times_faster

from regard.models.catalogue import build_model
from regard.models.recurrent import RecurrentConfig
from regard.models.transformer import TransformerConfig
from regard.training import precision
from regard.training.objectives import smoothed_cross_entropy
from regard.training.optimizers import Optimizer

LEAST = 0.95
LONGEST = 32  # tokens of a sentence
KINDS = (torch.float32, torch.bfloat16)


class Size(NamedTuple):
    """What is trained.

    Attributes:
        model: "transformer" or "recurrent".
        width: Its dimension.
        layers: Of each side.
        vocabulary: Tokens of each side.
        tokens: Of a batch and side, padding included.
    """

    model: str
    width: int
    layers: int
    vocabulary: int
    tokens: int

    def __str__(self) -> str:
        return f"{self.model} {self.width}, {self.layers} layers, {self.vocabulary} types, {self.tokens} tokens"


SIZES = (
    Size("transformer", 64, 2, 2_000, 2_048),
    Size("transformer", 128, 1, 2_000, 2_048),
    Size("transformer", 128, 4, 10_000, 4_096),
    Size("transformer", 192, 2, 4_000, 2_048),
    Size("transformer", 256, 2, 2_000, 2_048),
    Size("transformer", 256, 4, 10_000, 4_096),
    Size("transformer", 512, 2, 10_000, 2_048),
    Size("recurrent", 128, 1, 2_000, 2_048),
    Size("recurrent", 256, 1, 10_000, 4_096),
    Size("recurrent", 512, 1, 10_000, 2_048),
)


def update(size: Size, dtype: torch.dtype) -> Callable[[], object]:
    """Return what does one update in a number type."""
    torch.manual_seed(1)
    config = (
        TransformerConfig(
            model_dim=size.width,
            feed_forward_dim=2 * size.width,
            num_heads=4,
            encoder_layers=size.layers,
            decoder_layers=size.layers,
        )
        if size.model == "transformer"
        else RecurrentConfig(model_dim=size.width, hidden_dim=size.width)
    )
    model = build_model(config, source_vocab=size.vocabulary, target_vocab=size.vocabulary).train()
    optimizer = Optimizer(model, masters=precision.cast(model, dtype))
    rows = size.tokens // LONGEST
    source, target, labels = (torch.randint(5, size.vocabulary, (rows, LONGEST)) for _ in range(3))
    lengths = torch.randint(LONGEST // 2, LONGEST + 1, (rows,)).sort(descending=True).values
    lengths[0] = LONGEST

    def work() -> None:
        hidden = model(source, lengths, target)
        loss = smoothed_cross_entropy(
            hidden.flatten(0, 1), model.output.weight, model.output.bias, labels.flatten(), smoothing=0.1
        ).loss
        loss.backward()
        optimizer.step(1e-4, divisor=labels.numel())

    return work


def measured(options: argparse.Namespace, threads: int) -> Iterator[Figure]:
    """Let both number types take turns for each size, and print each as it comes."""
    torch.set_num_threads(threads)
    for size in SIZES:
        sides = {kind(dtype): update(size, dtype) for dtype in KINDS}
        times = in_turns(sides, options.rounds, chosen_clock(options))
        faster = times_faster(times["bfloat16"], times["float32"])
        rates = {name: size.tokens / statistics.median(seconds) for name, seconds in times.items()}
        taken = kind(precision.choose("auto", torch.device("cpu")).dtype)
        lost = faster if taken == "bfloat16" else 1 / faster
        words = ", ".join(f"{name} {rate:,.0f} tokens/s" for name, rate in rates.items())
        words = f"{words}, {faster:.2f} times; auto: {taken}"
        figure = Figure(f"{size}, {threads} threads", words, min(1.0, lost), LEAST)
        print(f"{figure.work}: {figure.measured}", flush=True)
        yield figure


def main() -> None:
    """Print each size as it comes, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_round_options(parser)
    add_option(parser)
    options = parser.parse_args()
    print(machine(max(options.threads)), load_average(), sep="\n")
    figures = [figure for threads in options.threads for figure in measured(options, threads)]
    show(figures)
    save(figures, options.figures)
    print(load_average())


if __name__ == "__main__":
    main()
