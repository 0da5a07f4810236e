"""Word alignments as sets of links: reading, writing, joining two directions, scoring against gold.

This file knows numbers only, no tensors, so that links can be judged without loading torch.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from regard.data.text import read_lines
from regard.errors import DataError, OptionError

Link = tuple[int, int]
Links = frozenset[Link]
"""Pairs (source word, target word), counted from 0."""

_LINK = re.compile(r"([0-9]{1,9})([-p?])([0-9]{1,9})")


class Gold(NamedTuple):
    """The alignment of one sentence by hand (Och & Ney 2003, section 5).

    Attributes:
        sure: Links that must be there.
        possible: Links that may be there; holds the sure ones too.
    """

    sure: Links
    possible: Links


def parse_pharaoh(
    line: str, *, base: int = 0, where: str = "alignment", lengths: tuple[int, int] | None = None
) -> Gold:
    """Read one line of links: `i-j` is sure, `ipj` and `i?j` are possible; source words stand first.

    Args:
        line: Links between blanks; a line without links aligns nothing.
        base: What the first word of a sentence is called: 0 or 1. Hansards' gold counts from 1.
        where: Names the line in a message, such as `gold.txt:7`.
        lengths: Words of the source and of the target sentence; links beyond them are faults.

    Raises:
        DataError: With a sentence for each link that cannot be read.
    """
    if base not in (0, 1):
        raise OptionError(f"base ({base}) must be 0 or 1: the number of a sentence's first word.")
    sure, possible, faults = set(), set(), []
    for number, word in enumerate(re.split(r"[ \t]+", line.strip(" \t")), start=1):
        if not word:
            continue
        match = _LINK.fullmatch(word)
        if not match:
            faults.append(f"word {number} ({word!r}) is no link: write i-j if sure, ipj or i?j if possible.")
            continue
        link = int(match[1]) - base, int(match[3]) - base
        if fault := _misplaced(link, base, lengths):
            faults.append(f"word {number} ({word!r}) {fault}")
            continue
        possible.add(link)
        if match[2] == "-":
            sure.add(link)
    if faults:
        raise DataError([f"{where}: {fault}" for fault in faults])
    return Gold(frozenset(sure), frozenset(possible))


def _misplaced(link: Link, base: int, lengths: tuple[int, int] | None) -> str | None:
    """What is wrong with the place of a link, in words."""
    if min(link) < 0:
        return "counts from 0, but base is 1: use base=0."
    for side, place, length in zip(("source", "target"), link, lengths, strict=True) if lengths else ():
        if place >= length:
            return (
                f"points at {side} word {place + base}, but the {side} sentence has {length} words"
                f" and counts from {base}."
            )
    return None


def format_pharaoh(links: Gold | AbstractSet[Link], *, base: int = 0) -> str:
    """Write links as `i-j`, those that are only possible as `ipj`, sorted: equal links give equal bytes."""
    gold = as_gold(links)
    return " ".join(
        f"{source + base}{'-' if (source, target) in gold.sure else 'p'}{target + base}"
        for source, target in sorted(gold.sure | gold.possible)
    )


def read_pharaoh(path: Path, *, base: int = 0, lengths: Sequence[tuple[int, int]] | None = None) -> list[Gold]:
    """Read a file of links, a sentence a line; a blank line aligns nothing.

    Args:
        path: UTF-8 text, plain or gzip; lines end at LF or CRLF.
        base: As in `parse_pharaoh`.
        lengths: Words of source and target for each sentence, to find links that lie outside.

    Raises:
        DataError: With every fault of the file, each with its line.
    """
    lines = read_lines(path)
    golds, faults = [], []
    if lengths is not None and len(lengths) != len(lines):
        faults.append(f"{path} has {len(lines)} lines of links for {len(lengths)} sentence pairs: each needs one.")
    for number, (line, size) in enumerate(zip_longest(lines, (lengths or ())[: len(lines)]), start=1):
        try:
            golds.append(parse_pharaoh(line, base=base, where=f"{path}:{number}", lengths=size))
        except DataError as error:
            faults += error.faults
    if faults:
        raise DataError(faults)
    return golds


def as_gold(links: Gold | AbstractSet[Link]) -> Gold:
    """Take plain links for sure ones."""
    return links if isinstance(links, Gold) else Gold(frozenset(links), frozenset(links))


class _Growth(NamedTuple):
    """How a joined alignment grows. The order matters: a link that enters may bar another.

    Attributes:
        major: Which side orders the links when they are visited: 0 source, 1 target.
        steps: From a link to its neighbors, in the order in which they are tried.
        free: How many words of a link must still be without a link for it to enter.
    """

    major: int
    steps: Sequence[Link]
    free: int

    def visit(self, links: Iterable[Link]) -> list[Link]:
        """Links in the order in which they are visited."""
        return sorted(links, key=lambda link: (link[self.major], link[1 - self.major]))


# As the program symal of Moses goes about it: by target word, first the straight neighbors, then the diagonal.
_MOSES = _Growth(1, ((0, -1), (-1, 0), (0, 1), (1, 0), (-1, -1), (1, -1), (-1, 1), (1, 1)), free=1)
# A straight neighbor shares a word with a link that stands, so two free words leave the diagonal ones.
_STRICT = _Growth(0, ((-1, 1), (-1, -1), (1, -1), (1, 1)), free=2)


class _Joined:
    """Links that were taken and the words that they cover."""

    def __init__(self, links: Iterable[Link]) -> None:
        self.links = set(links)
        self.covered = {source for source, _ in self.links}, {target for _, target in self.links}

    def take(self, link: Link, *, free: int) -> bool:
        """Take a link if at least `free` of its two words have none yet; say whether it was taken."""
        source, target = link
        enters = (source not in self.covered[0]) + (target not in self.covered[1]) >= free
        if enters:
            self.links.add(link)
            self.covered[0].add(source)
            self.covered[1].add(target)
        return enters


def _grow_diag(forward: Links, reverse: Links, growth: _Growth) -> _Joined:
    """Start from the intersection and take neighbors out of the union until nothing changes."""
    joined, union = _Joined(forward & reverse), forward | reverse
    order = growth.visit(union)
    changed = True
    while changed:
        changed = False
        for source, target in order:
            if (source, target) not in joined.links:
                continue
            for step in growth.steps:
                neighbor = source + step[0], target + step[1]
                if neighbor in union and joined.take(neighbor, free=growth.free):
                    changed = True
    return joined


def _grow(forward: Links, reverse: Links, growth: _Growth, final: int | None = None) -> Links:
    """Grow; then, with `final`, take what is left of forward, then of reverse, where so many words are free."""
    joined = _grow_diag(forward, reverse, growth)
    if final is not None:
        for link in growth.visit(forward) + growth.visit(reverse):
            joined.take(link, free=final)
    return frozenset(joined.links)


_METHODS: dict[str, Callable[[Links, Links], Links]] = {
    "intersection": Links.intersection,
    "union": Links.union,
    "grow-diag": partial(_grow, growth=_MOSES),
    "grow-diag-final": partial(_grow, growth=_MOSES, final=1),
    "grow-diag-final-and": partial(_grow, growth=_MOSES, final=2),
    "grow-diag-strict": partial(_grow, growth=_STRICT),
    "grow-diag-final-strict": partial(_grow, growth=_STRICT, final=2),
}
SYMMETRIZATIONS: tuple[str, ...] = tuple(_METHODS)
"""The names that `symmetrize` knows."""


def symmetrize(forward: AbstractSet[Link], reverse: AbstractSet[Link], method: str = "grow-diag-final-and") -> Links:
    """Join the links of the two directions of translation (Och & Ney 2003, section 4; Koehn et al. 2003).

    - `intersection`, `union`: links that both directions have, or either.
    - `grow-diag`: the intersection, then again and again its neighbors out of the union (the eight around a
      link) that cover **at least one** word without a link.
    - `grow-diag-final`: then also links of either direction that cover at least one word without a link.
    - `grow-diag-final-and`: instead only those **both** of whose words have none.
    - `grow-diag-strict`, `grow-diag-final-strict`: a link enters only if both its words have none, in growing
      too. That is the rule of lilt/alignment-scripts, which calls them grow-diagonal and grow-diagonal-final.

    Where links bar one another the order decides: it is that of Moses' program symal, or of those scripts, to
    the link. So exchanging source and target may change a link in a grown alignment.

    Args:
        forward: Links (source, target) of the model from source to target: mostly one for each target word.
        reverse: Links of the model from target to source, **turned** to (source, target): see `swap`.
        method: One of `SYMMETRIZATIONS`.
    """
    if method not in _METHODS:
        raise OptionError(f"method {method!r} is unknown: use one of {', '.join(SYMMETRIZATIONS)}.")
    return _METHODS[method](frozenset(forward), frozenset(reverse))


def swap(links: AbstractSet[Link]) -> Links:
    """Exchange the sides: (target, source) becomes (source, target)."""
    return frozenset((second, first) for first, second in links)


@dataclass(frozen=True)
class AlignmentScore:
    """How near links are to gold, over a whole corpus (Och & Ney 2003, section 5).

    Attributes:
        error_rate: 1 - (|A & sure| + |A & possible|) / (|A| + |sure|), from 0, best, to 1.
        precision: Share of the links A that are possible; 1 if there are none.
        recall: Share of the sure links that are in A; 1 if there are none.
        links: How many links were judged, |A|.
    """

    error_rate: float
    precision: float
    recall: float
    links: int

    def __str__(self) -> str:
        return (
            f"AER {self.error_rate:.1%} (precision {self.precision:.1%}, recall {self.recall:.1%}, {self.links} links)"
        )


def alignment_error_rate(
    hypotheses: Sequence[AbstractSet[Link]], golds: Sequence[Gold | AbstractSet[Link] | None]
) -> AlignmentScore:
    """Score links against gold over a corpus: counts are added up first, then divided once.

    Args:
        hypotheses: Links for each sentence.
        golds: For each sentence its gold; plain links count as sure. None is a sentence nobody aligned:
            it is left out. Gold without links is a judgment: every link there is wrong.
    """
    if len(hypotheses) != len(golds):
        raise DataError(
            f"There are {len(hypotheses)} sentences of links and {len(golds)} of gold: give one gold for each."
        )
    judged = list(_judged(hypotheses, golds))
    if not judged:
        raise DataError(f"None of the {len(golds)} sentences has gold links: give gold for at least one.")
    links = sum(len(found) for found, _ in judged)
    sure = sum(len(gold.sure) for _, gold in judged)
    hits = sum(len(found & gold.sure) for found, gold in judged)
    allowed = sum(len(found & (gold.sure | gold.possible)) for found, gold in judged)
    return AlignmentScore(
        error_rate=1 - (hits + allowed) / (links + sure) if links + sure else 0.0,
        precision=allowed / links if links else 1.0,
        recall=hits / sure if sure else 1.0,
        links=links,
    )


def _judged(
    hypotheses: Sequence[AbstractSet[Link]], golds: Sequence[Gold | AbstractSet[Link] | None]
) -> Iterator[tuple[AbstractSet[Link], Gold]]:
    """Sentences that have gold."""
    for found, gold in zip(hypotheses, golds, strict=True):
        if gold is not None:
            yield found, as_gold(gold)
