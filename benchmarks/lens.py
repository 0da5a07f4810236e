"""Measure the lens: what watching costs, statistics of long texts and of a corpus, telemetry, and pages.

    python benchmarks/lens.py [--only watching statistics corpus telemetry] [--threads 2] [--rounds 5] [--figures FILE]

Models have random weights; those of the library transformers (in the extra `conformance`) have BERT-base's and GPT-2's
sizes with positions enlarged. Both sides of a ratio take turns in one process, and the figure is the ratio of medians.

- watching: a forward of 2,048 tokens with the lens open, over the same without; outputs must be equal to the bit. For
  information the same where a list holds query, key and value: what is held the allocator cannot use again.
- statistics: one text of 32,768 tokens. One layer's statistics of all heads (entropy, distance, the 8 most attended
  keys, what keys receive, mass on three sets, 256 x 256 tiles) over the fused forward of the same call of attention;
  and once the whole model with statistics of all 12 layers, with the peak of the process's memory.
- corpus: 10,000 sentences in batches of like lengths: statistics of all heads while running over the plain forward.
- telemetry: a sampled training step of Transformer-tiny over plain ones, and so the share of the time at every 50th.
"""

import argparse
import gc
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from figures import Figure, add_option, load_average, machine, save, show
from torch import Tensor, nn
from torch.nn import functional

import regard
from regard.attention.attend import run_call
from regard.attention.call import AttentionCall
from regard.inspection.statistics.map_statistics import MapStatistics, map_statistics
from regard.inspection.statistics.running import RunningStatistics
from regard.inspection.statistics.telemetry import EVERY, Telemetry
from regard.models.catalogue import build_model
from regard.models.transformer import TransformerConfig
from regard.training.objectives import smoothed_cross_entropy

WATCHED_LENGTH = 2048
MOST_WATCHING = 1.05
MOST_STATISTICS = 3.0
MOST_MEMORY = 8.0
LEAST_THROUGHPUT = 0.7
MOST_TELEMETRY = 1.02
BATCH_TOKENS = 4096
VOCABULARY = 1000

Job = Callable[[], object]


def seconds(job: Job) -> float:
    """Time a job once."""
    gc.collect()
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def in_turns(one: Job, other: Job, rounds: int) -> tuple[float, float]:
    """Return the median seconds of two jobs that take turns, each having run once before."""
    one(), other()
    times = [(seconds(one), seconds(other)) for _ in range(rounds)]
    return statistics.median(first for first, _ in times), statistics.median(second for _, second in times)


def peak_gigabytes() -> float:
    """Return the most memory that the process has held, in units of 10^9 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def held_gigabytes() -> float:
    """Return the memory that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e9


def bert(length: int, layers: int = 12) -> nn.Module:
    """Build a BERT-base without its vocabulary head."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=length,
        num_hidden_layers=layers,
        attn_implementation="sdpa",
    )
    return BertModel(config, add_pooling_layer=False).eval()


def gpt2(length: int, layers: int = 12) -> nn.Module:
    """Build a GPT-2 of the smallest published size without its vocabulary head."""
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(vocab_size=VOCABULARY, n_positions=length, n_layer=layers, attn_implementation="sdpa")
    return GPT2Model(config).eval()


MODELS = {"BERT-base": bert, "GPT-2": gpt2}


def tokens_of(*shape: int) -> Tensor:
    """Draw tokens."""
    return torch.randint(5, VOCABULARY, shape, generator=torch.Generator().manual_seed(1))


def run_model(model: nn.Module, tokens: Tensor, **more: Any) -> Tensor:
    """Run a model of transformers as for reading states, without a cache."""
    if "Bert" not in type(model).__name__:
        more["use_cache"] = False
    found: Tensor = model(tokens, **more).last_hidden_state
    return found


@torch.no_grad()
def watching(options: argparse.Namespace) -> Iterator[Figure]:
    """Compare a forward under the lens with the same without."""
    for name, build in MODELS.items():
        model, tokens = build(WATCHED_LENGTH), tokens_of(1, WATCHED_LENGTH)

        def watched(model: nn.Module = model, tokens: Tensor = tokens) -> regard.inspection.lens.Lens:
            with regard.lens(model) as lens:
                run_model(model, tokens)
            return lens

        lens = watched()
        with regard.lens(model):
            same = torch.equal(run_model(model, tokens), run_model(model, tokens))
        plain, under = in_turns(lambda m=model, t=tokens: run_model(m, t), watched, options.rounds)
        kept = {part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for part in tensors_of(lens)}
        print(f"{name}: equal to the bit: {same}; {len(lens)} sites keep {sum(kept.values()) / 1e6:.1f} MB of storages")
        del lens
        pages = new_pages(lambda m=model, t=tokens: run_model(m, t)), new_pages(watched)
        print(f"{name}: new pages of memory a forward: {pages[0]:,} plain, {pages[1]:,} under the lens")
        words = f"{1e3 * under:.0f} ms over {1e3 * plain:.0f} ms"
        yield Figure(f"{name}, {WATCHED_LENGTH} tokens, watching", words, under / plain, MOST_WATCHING, "s/s")
        plain, held = in_turns(
            lambda m=model, t=tokens: run_model(m, t), lambda m=model, t=tokens: held_by_hand(m, t), options.rounds
        )
        words = f"{1e3 * held:.0f} ms over {1e3 * plain:.0f} ms"
        yield Figure(f"{name}, {WATCHED_LENGTH} tokens, held in a list", words, held / plain, None, "s/s")


def new_pages(job: Job) -> int:
    """Return how many pages of memory a job was given by the system: a page is slow when it is new."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    job()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def held_by_hand(model: nn.Module, tokens: Tensor) -> list[tuple[Tensor, ...]]:
    """Run a model and hold the tensors that its attention was given, without a lens."""
    original = functional.scaled_dot_product_attention
    held: list[tuple[Tensor, ...]] = []

    def holding(query: Tensor, key: Tensor, value: Tensor, *given: Any, **options: Any) -> Tensor:
        held.append((query, key, value))
        return original(query, key, value, *given, **options)

    functional.scaled_dot_product_attention = holding
    try:
        run_model(model, tokens)
    finally:
        functional.scaled_dot_product_attention = original
    assert held
    return held


def tensors_of(lens: Any) -> Iterator[Tensor]:
    """Go through queries, keys and values that a lens keeps."""
    for site in lens.values():
        for call in site:
            yield from (call.query, call.key, call.value)


def all_statistics(call: AttentionCall) -> MapStatistics:
    """Compute everything there is about a map."""
    keys = call.key.shape[2]
    places = torch.arange(keys)
    sets = {"first": places == 0, "separators": places % 512 == 511, "punctuation": places % 11 == 7}
    return map_statistics(call, top=8, sets=sets, tiles=256)


@torch.no_grad()
def long_texts(options: argparse.Namespace) -> Iterator[Figure]:
    """Compute all statistics of a long text: one layer timed, then all layers once."""
    for name, build in MODELS.items():
        tokens = tokens_of(1, options.length)
        model = build(options.length, layers=1)
        with regard.lens(model) as lens:
            run_model(model, tokens)
        (site,) = lens.values()
        call = site[0]
        fused, ours = in_turns(
            lambda c=call: run_call(c, "fused"), lambda c=call: all_statistics(c), max(1, options.rounds // 2)
        )
        words = f"{ours:.1f} s over {fused:.1f} s"
        yield Figure(f"{name}, {options.length} tokens, a layer", words, ours / fused, MOST_STATISTICS, "s/s")
        del lens, site, call, model
        model = build(options.length)
        found: dict[str, MapStatistics] = {}
        started = time.perf_counter()
        with regard.lens(model, keep=lambda name, call, found=found: found.update({name: all_statistics(call)})):
            run_model(model, tokens)
        words = f"{len(found)} layers in {time.perf_counter() - started:.0f} s, peak of the process"
        yield Figure(f"{name}, {options.length} tokens, memory", words, peak_gigabytes(), MOST_MEMORY, "GB")


def sentences(number: int) -> list[int]:
    """Draw lengths as a corpus has them, shortest first."""
    drawn = torch.empty(number).log_normal_(3.1, 0.5, generator=torch.Generator().manual_seed(1))
    return sorted(drawn.clamp(3, 128).long().tolist())


def batches(lengths: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield tokens and PyTorch's mask of padding of sentences of like lengths."""
    start = 0
    while start < len(lengths):
        stop = start + 1
        while stop < len(lengths) and (stop - start + 1) * lengths[stop] <= BATCH_TOKENS:
            stop += 1
        rows = torch.tensor(lengths[start:stop])
        width = int(rows.max())
        yield tokens_of(stop - start, width), (torch.arange(width) < rows.unsqueeze(1)).long()
        start = stop


@torch.no_grad()
def corpus(options: argparse.Namespace) -> Iterator[Figure]:
    """Sum up statistics of all heads over a corpus, batch by batch beside the plain forward."""
    model, running = bert(512), RunningStatistics()
    plain = under = 0.0
    memory = []
    for number, (tokens, mask) in enumerate(batches(sentences(options.sentences))):

        def watched(tokens: Tensor = tokens, mask: Tensor = mask) -> None:
            with regard.lens(model, keep=running):
                run_model(model, tokens, attention_mask=mask)

        def alone(tokens: Tensor = tokens, mask: Tensor = mask) -> None:
            run_model(model, tokens, attention_mask=mask)

        if number == 0:
            watched(), alone()
        if number % 2:
            under, plain = under + seconds(watched), plain + seconds(alone)
        else:
            plain, under = plain + seconds(alone), under + seconds(watched)
        memory.append(held_gigabytes())
    print(
        f"memory: {memory[0]:.2f} GB after the first batch, {max(memory):.2f} GB at most, {memory[-1]:.2f} at the end"
    )
    words = f"{options.sentences / plain:.0f} sentences/s plain, {options.sentences / under:.0f} with statistics"
    yield Figure("BERT-base, corpus, throughput", words, plain / under, LEAST_THROUGHPUT, "x")


def telemetry(options: argparse.Namespace) -> Iterator[Figure]:
    """Compare a sampled training step with plain ones."""
    model = build_model(TransformerConfig(), source_vocab=10_000, target_vocab=10_000)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    width = 32
    source, target, labels = (torch.randint(5, 10_000, (BATCH_TOKENS // width, width)) for _ in range(3))
    lengths = torch.full((len(source),), width)

    def step() -> None:
        hidden = model(source, lengths, target)
        output = model.output
        loss = smoothed_cross_entropy(
            hidden.flatten(0, 1), output.weight, output.bias, labels.flatten(), smoothing=0.1
        ).loss
        (loss / labels.numel()).backward()
        optimizer.step()
        optimizer.zero_grad()

    sampler = Telemetry(model, every=1, share=1.0)

    def sampled() -> None:
        sampler.updated(0)
        step()
        assert sampler.updated(1) is not None
        sampler.close()

    model.train()
    plain, watched = in_turns(step, sampled, 4 * options.rounds)
    words = f"sampled step {1e3 * watched:.0f} ms, plain {1e3 * plain:.0f} ms, every {EVERY}th"
    share = 1 + (watched / plain - 1) / EVERY
    yield Figure("Transformer-tiny, training with telemetry", words, share, MOST_TELEMETRY, "s/s")


PARTS = {"watching": watching, "statistics": long_texts, "corpus": corpus, "telemetry": telemetry}


def main() -> None:
    """Run the parts and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--length", type=int, default=32_768, help="tokens of the long text")
    parser.add_argument("--sentences", type=int, default=10_000, help="of the corpus")
    add_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine(options.threads), load_average(), sep="\n")
    found = []
    for name in options.only:
        for figure in PARTS[name](options):
            print(f"{figure.work}: {figure.measured}: {figure.value:.3f} {figure.unit}", flush=True)
            found.append(figure)
    print(load_average())
    show(found)
    save(found, options.figures)


if __name__ == "__main__":
    main()
