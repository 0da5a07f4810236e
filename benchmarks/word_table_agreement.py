"""See whether agreement with a word table puts links in the order of their true error rate.

    python benchmarks/word_table_agreement.py --data PATH

A run without gold alignments chooses its alignment's layer and head by agreement with an IBM model 1 (`wordtable.py`).
Here gold is known: fast_align's and GIZA++'s links on the Hansards, with a table from Tatoeba (other sentences, another
kind of text) and the 447 sentences themselves; and XL-WA, with tables from its own 1,352 pairs and from 300. Beside the
aligners' links stand made-up heads: one source word for each target word, spoilt by degrees in five ways.

For each set: Kendall's tau between the two rates, over the pairs of candidates whose true rates differ by 1 and by 3
points at least; and the true rate of the candidate that agrees most, beside the best there is.
"""

import argparse
import random
import re
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

from regard.data.text import read_lines, split_words
from regard.inspection.alignments.links import (
    SYMMETRIZATIONS,
    Gold,
    Links,
    alignment_error_rate,
    parse_pharaoh,
    read_pharaoh,
    swap,
    symmetrize,
)
from regard.inspection.alignments.wordtable import WordTable

Lengths = tuple[int, int]
Candidates = dict[str, Sequence[Links]]

# How a spoilt head looks instead: from the right source word, the target word and both lengths.
SPOILERS: dict[str, Callable[[random.Random, int, int, Lengths], int]] = {
    "anywhere": lambda draw, source, target, lengths: draw.randrange(lengths[0]),
    "nearby": lambda draw, source, target, lengths: source + draw.choice((-2, -1, 1, 2)),
    "word before": lambda draw, source, target, lengths: source - 1,
    "diagonal": lambda draw, source, target, lengths: target * lengths[0] // lengths[1],
    "last word": lambda draw, source, target, lengths: lengths[0] - 1,
}
SHARES = (0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


def as_head(links: Links, lengths: Lengths) -> Links:
    """Give each target word one source word: its first link, or the diagonal where it has none."""
    first = {target: source for source, target in sorted(links, reverse=True)}
    return frozenset((first.get(target, target * lengths[0] // lengths[1]), target) for target in range(lengths[1]))


def made_up_heads(best: Sequence[Links], lengths: Sequence[Lengths], name: str) -> Candidates:
    """Spoil the links of a head by degrees."""
    heads: Candidates = {name: best}
    for way, spoil in SPOILERS.items():
        for share in SHARES:
            draw = random.Random(f"{name} {way} {share}")
            heads[f"{name}, {share:.0%} {way}"] = [
                frozenset(
                    (min(size[0] - 1, max(0, spoil(draw, *link, size))) if draw.random() < share else link[0], link[1])
                    for link in sorted(links)
                )
                for links, size in zip(best, lengths, strict=True)
            ]
    return heads


def kendall(truth: Sequence[float], found: Sequence[float], *, apart: float) -> float:
    """Kendall's tau over the pairs whose true values lie `apart`: 1 if all stand in the right order, -1 if none."""
    pairs = [pair for pair in combinations(range(len(truth)), 2) if abs(truth[pair[0]] - truth[pair[1]]) >= apart]
    signs = [(truth[i] - truth[j]) * (found[i] - found[j]) for i, j in pairs]
    return sum((sign > 0) - (sign < 0) for sign in signs) / len(pairs)


def report(
    title: str,
    table: WordTable,
    sources: Sequence[str],
    targets: Sequence[str],
    golds: Sequence[Gold],
    some: Candidates,
) -> None:
    """Print a line of the result."""
    references = table.align(sources, targets)
    truth = [alignment_error_rate(links, golds).error_rate for links in some.values()]
    found = [alignment_error_rate(links, references).error_rate for links in some.values()]
    chosen = min(range(len(found)), key=found.__getitem__)
    print(
        f"{title}: {len(some)} candidates with AER {min(truth):.1%} to {max(truth):.1%};"
        f" the table's own {alignment_error_rate(references, golds).error_rate:.1%};"
        f" tau {kendall(truth, found, apart=0.01):.3f} and {kendall(truth, found, apart=0.03):.3f};"
        f" chosen {list(some)[chosen]!r} with {truth[chosen]:.1%}"
    )


def lengths_of(sources: Sequence[str], targets: Sequence[str]) -> list[Lengths]:
    """Count the words of each pair."""
    return [
        (len(split_words(source)), len(split_words(target))) for source, target in zip(sources, targets, strict=True)
    ]


def hansards(data: Path) -> None:
    """Judge aligners and heads on the Hansards by a table from Tatoeba."""
    folder = data / "alignments" / "hansards-en-fr"
    pairs = [line.split("|||") for line in read_lines(folder / "sentences.src-tgt.txt")]
    sources, targets = [source for source, _ in pairs], [target for _, target in pairs]
    golds = read_pharaoh(folder / "gold.1-based.txt", base=1)
    words = re.compile(r"\w+['’]?|[^\w\s]")
    tatoeba = [line.split("\t") for line in read_lines(data / "tatoeba" / "eng-fra.tsv")]
    english, french = ([" ".join(words.findall(row[side])) for row in tatoeba] for side in (0, 1))
    table = WordTable.estimate([*english, *sources], [*french, *targets])
    joined: Candidates = {}
    heads: Candidates = {}
    for aligner in ("fastalign", "giza"):
        forward = [gold.sure for gold in read_pharaoh(folder / "aligners" / f"{aligner}.talp")]
        reverse = [swap(gold.sure) for gold in read_pharaoh(folder / "aligners" / f"{aligner}.reverse.talp")]
        joined |= {f"{aligner} forward": forward, f"{aligner} reverse": reverse}
        for method in SYMMETRIZATIONS:
            joined[f"{aligner} {method}"] = [symmetrize(*both, method) for both in zip(forward, reverse, strict=True)]
        sizes = lengths_of(sources, targets)
        heads |= made_up_heads([as_head(*pair) for pair in zip(forward, sizes, strict=True)], sizes, aligner)
    report("Hansards, aligners", table, sources, targets, golds, joined)
    report("Hansards, heads", table, sources, targets, golds, heads)


def xl_wa(data: Path) -> None:
    """Judge heads on XL-WA's dev and test sentences by tables from few pairs."""
    folder = data / "alignments" / "xl-wa-en-pt"
    parts = {name: read_lines(folder / f"{name}.tsv") for name in ("train", "dev", "test")}
    rows = [line.split("\t") for lines in parts.values() for line in lines]
    sources, targets = [row[0] for row in rows], [row[1] for row in rows]
    judged = slice(len(parts["train"]), None)
    golds = [parse_pharaoh(row[2]) for row in rows[judged]]
    sizes = lengths_of(sources[judged], targets[judged])
    best = [as_head(gold.sure, size) for gold, size in zip(golds, sizes, strict=True)]
    for count in (len(rows), 300):
        table = WordTable.estimate(sources[-count:], targets[-count:])
        title = f"XL-WA, heads, table from {count} pairs"
        report(title, table, sources[judged], targets[judged], golds, made_up_heads(best, sizes, "gold"))


def main() -> None:
    """Print a line for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    hansards(data)
    xl_wa(data)


if __name__ == "__main__":
    main()
