"""Time a whole step of a tiny Transformer's decoder beside the same operations in one flat function, batch 1.

    python benchmarks/step.py [--threads 2 1] [--rounds 7] [--steps 16] [--cpu-time] [--figures FILE]

The flat function holds weights and caches in local variables and knows neither modules, masks, checks nor ways. Both
take turns; a turn is a few sentences of `--steps` steps, 15 source tokens, scores over a vocabulary of 10,000 included.
"""

import argparse
import statistics
from collections.abc import Callable

import torch
from figures import Figure, add_option, load_average, machine, save, show
from rounds import add_round_options, chosen_clock, in_turns, kind
from torch import Tensor
from torch.nn import functional

from regard.attention.call import Memory
from regard.generation.plain import plain
from regard.layers.transformer import DecoderLayer
from regard.models.transformer import Transformer, TransformerConfig, TransformerState

VOCAB, SOURCE = 10_000, 15
BAR = 1.25


def by_the_model(model: Transformer, memories: list[Memory], tokens: list[Tensor]) -> Tensor:
    """Take the steps by the model, as a search does."""
    model, state = plain(model), TransformerState(memories)
    scores = torch.empty(0)
    for token in tokens:
        scores = model.output(model.step(token, state))
    return scores


def flat_decoder(model: Transformer, memories: list[Memory]) -> Callable[[list[Tensor]], Tensor]:
    """Return a function that takes the same steps with nothing between the operations."""
    heads = model.config.num_heads
    width = model.config.model_dim // heads
    embedding, scale = model.target_embedding.weight, model.target_embedding.scale
    dtype = embedding.dtype
    positions = model.target_embedding.positions(0, 64).to(dtype)
    layers = []
    for layer in model.decoder:
        assert isinstance(layer, DecoderLayer)
        linears = (layer.self_attention.query_key_value, layer.self_attention.output, layer.cross_attention.query,
                   layer.cross_attention.output, layer.feed_forward.widen, layer.feed_forward.narrow)  # fmt: skip
        norms = (layer.around_self.norm, layer.around_cross.norm, layer.around_feed_forward.norm)
        layers.append([(part.weight, part.bias) for part in (*linears, *norms)])
    output = model.output.weight
    shape = (model.config.model_dim,)

    def decode(tokens: list[Tensor]) -> Tensor:
        caches = [torch.empty(2, 1, heads, 64, width, dtype=dtype) for _ in layers]
        scores = output
        for step, token in enumerate(tokens):
            x = functional.embedding(token, embedding) * scale + positions[step : step + 1]
            for (qkv, out, query, out2, widen, narrow, n1, n2, n3), cache, memory in zip(
                layers, caches, memories, strict=True
            ):
                q, k, v = functional.linear(x, *qkv).view(1, 1, 3, heads, width).permute(2, 0, 3, 1, 4).unbind(0)
                cache[0, :, :, step : step + 1] = k
                cache[1, :, :, step : step + 1] = v
                seen = cache[:, :, :, : step + 1]
                y = functional.scaled_dot_product_attention(q, seen[0], seen[1])
                y = functional.linear(y.transpose(1, 2).flatten(-2), *out)
                x = functional.layer_norm(x + y, shape, *n1)
                q = functional.linear(x, *query).view(1, 1, heads, width).transpose(1, 2)
                y = functional.scaled_dot_product_attention(q, memory.key, memory.value)
                y = functional.linear(y.transpose(1, 2).flatten(-2), *out2)
                x = functional.layer_norm(x + y, shape, *n2)
                y = functional.linear(torch.relu(functional.linear(x, *widen)), *narrow)
                x = functional.layer_norm(x + y, shape, *n3)
            scores = functional.linear(x, output)
        return scores

    return decode


def compare(dtype: torch.dtype, threads: int, options: argparse.Namespace) -> Figure:
    """Let both take turns."""
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = Transformer(TransformerConfig(), source_vocab=VOCAB, target_vocab=VOCAB).to(dtype).eval()
    with torch.inference_mode():
        memories = model.remember(model.encode(torch.randint(VOCAB, (1, SOURCE)), torch.tensor([SOURCE])))
        tokens = [torch.randint(VOCAB, (1, 1)) for _ in range(options.steps)]
        flat = flat_decoder(model, memories)
        scores = by_the_model(model, memories, tokens)
        torch.testing.assert_close(scores, flat(tokens), rtol=0, atol=1e-3 if dtype == torch.float32 else 0.2)
        seconds = in_turns(
            {"model": lambda: by_the_model(model, memories, tokens), "flat": lambda: flat(tokens)},
            options.rounds,
            chosen_clock(options),
        )
    ratios = [ours / theirs for ours, theirs in zip(seconds["model"], seconds["flat"], strict=True)]
    ours, theirs = (1e6 * statistics.median(seconds[side]) / options.steps for side in ("model", "flat"))
    name = f"a decoder's step, tiny, batch 1, {kind(dtype)}, {threads} threads"
    words = f"{ours:.0f} microseconds against {theirs:.0f} in a flat function, times as long"
    return Figure(name, words, statistics.median(ratios), BAR, "times")


def main() -> None:
    """Print the figures for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=16)
    add_round_options(parser)
    add_option(parser)
    options = parser.parse_args()
    print(machine(max(options.threads)), load_average(), sep="\n")
    types = (torch.float32, torch.bfloat16)
    figures = [compare(dtype, threads, options) for threads in options.threads for dtype in types]
    show(figures)
    save(figures, options.figures)
    print(load_average())


if __name__ == "__main__":
    main()
