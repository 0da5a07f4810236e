"""Time the attention step of a Bahdanau decoder with keys that are remembered, beside keys projected at each step.

    python benchmarks/bahdanau.py [--threads 2 1] [--rounds 7] [--batch 64] [--words 20] [--hidden 256] [--cpu-time]

Both take turns; a turn is one step: one query a sentence, additive attention to its source.
"""

import argparse

import torch
from figures import Figure, add_option, load_average, machine, save, show
from rounds import add_round_options, chosen_clock, in_turns, times_faster

from regard.attention.attend import Attention, attend
from regard.attention.lengths import Padding
from regard.attention.scores import Additive

BAR, WANTED = 3.0, 10.0


def compare(threads: int, options: argparse.Namespace) -> Figure:
    """Let both take turns; a bidirectional encoder leaves states of twice the width."""
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    hidden = options.hidden
    score = Additive(hidden, 2 * hidden, hidden)
    query = torch.randn(options.batch, 1, 1, hidden)
    states = torch.randn(options.batch, 1, options.words, 2 * hidden)
    mask = Padding(torch.randint(options.words // 2, options.words + 1, (options.batch,)))
    attention = Attention(score).eval()
    with torch.inference_mode():
        memory = attention.remember(states, states, mask)
        seconds = in_turns(
            {
                "ours": lambda: attention(query, memory),
                "anew": lambda: attend(query, states, states, score=score, mask=mask),
            },
            options.rounds,
            chosen_clock(options),
        )
    ours, anew = (1e6 * min(seconds[side]) for side in ("ours", "anew"))
    name = f"a Bahdanau decoder's attention step, batch {options.batch}, {options.words} words, {threads} threads"
    words = f"{ours:.0f} microseconds against {anew:.0f} with keys projected anew; {WANTED:.0f} x wanted"
    return Figure(name, words, times_faster(*seconds.values()), BAR)


def main() -> None:
    """Print the figure for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--words", type=int, default=20)
    parser.add_argument("--hidden", type=int, default=256)
    add_round_options(parser)
    add_option(parser)
    options = parser.parse_args()
    print(machine(max(options.threads)), load_average(), sep="\n")
    figures = [compare(threads, options) for threads in options.threads]
    show(figures)
    save(figures, options.figures)
    print(load_average())


if __name__ == "__main__":
    main()
