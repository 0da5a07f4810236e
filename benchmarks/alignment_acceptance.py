"""Compare our alignment error rates and symmetrizations with published ones, on the Hansards.

    python benchmarks/alignment_acceptance.py --data PATH

PATH holds alignments/hansards-en-fr: `gold.1-based.txt` and, in aligners/, what fast_align and GIZA++ gave (`*.talp`,
counted from 0; `*.reverse.talp` is written target-source), with the error rates published beside them in
`*.results.txt` (lilt/alignment-scripts). Exits with 1 if a rate of ours is off by more than 0.1 points.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from regard.inspection.alignments.links import (
    SYMMETRIZATIONS,
    Gold,
    Links,
    alignment_error_rate,
    read_pharaoh,
    swap,
    symmetrize,
)

PUBLISHED_NAMES = {  # ours: theirs
    "intersection": "intersection",
    "union": "union",
    "grow-diag-strict": "grow-diagonal",
    "grow-diag-final-strict": "grow-diagonal-final",
}
TOLERANCE = 0.1  # points
ROW = "{:10} {:24} {:>9} {:>6} {:>10} {:>6}  {}"


class Row(NamedTuple):
    """One line of the table; rates in percent, None where nothing is published."""

    aligner: str
    method: str
    published: float | None
    ours: float
    links: int
    differing_sentences: int | None

    @property
    def difference(self) -> float:
        """Ours less published, in points; 0 where nothing is published."""
        return 0.0 if self.published is None else self.ours - self.published

    def __str__(self) -> str:
        if self.published is None:
            return ROW.format(self.aligner, self.method, "-", f"{self.ours:.2f}", "-", self.links, "-")
        cells = f"{self.published:.1f}", f"{self.ours:.2f}", f"{self.difference:+.2f}"
        return ROW.format(self.aligner, self.method, *cells, self.links, self.differing_sentences)


def published_rates(path: Path) -> dict[str, float]:
    """Read lines such as `test.enfr.union.talp: 9.9% (...)`; the file also has rates of runs on subwords."""
    found = re.findall(r"^test\.enfr(?:\.([a-z-]+))?\.talp: ([0-9.]+)%", path.read_text(encoding="utf-8"), re.M)
    return {name or "forward": float(rate) for name, rate in found}


def read_links(path: Path) -> list[Links]:
    """Read a file whose links are all sure."""
    return [gold.sure for gold in read_pharaoh(path)]


def rows(folder: Path, gold: list[Gold], aligner: str) -> Iterator[Row]:
    """Judge an aligner's two directions and each way of joining them."""
    published = published_rates(folder / f"{aligner}.results.txt")
    forward = read_links(folder / f"{aligner}.talp")
    reverse = [swap(links) for links in read_links(folder / f"{aligner}.reverse.talp")]
    for name, links in (("forward", forward), ("reverse", reverse)):
        score = alignment_error_rate(links, gold)
        yield Row(aligner, name, published[name], 100 * score.error_rate, score.links, 0)
    for method in SYMMETRIZATIONS:
        ours = [symmetrize(*directions, method) for directions in zip(forward, reverse, strict=True)]
        score, rate, differing = alignment_error_rate(ours, gold), None, None
        if name := PUBLISHED_NAMES.get(method, ""):
            theirs = read_links(folder / f"{aligner}.{name}.talp")
            rate, differing = published[name], sum(a != b for a, b in zip(ours, theirs, strict=True))
        yield Row(aligner, method, rate, 100 * score.error_rate, score.links, differing)


def main() -> int:
    """Print the table; give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    folder = parser.parse_args().data / "alignments" / "hansards-en-fr"
    gold = read_pharaoh(folder / "gold.1-based.txt", base=1)
    print(ROW.format("aligner", "method", "published", "ours", "difference", "links", "sentences that differ"))
    worst = 0.0
    for aligner in ("fastalign", "giza"):
        for row in rows(folder / "aligners", gold, aligner):
            print(row)
            worst = max(worst, abs(row.difference))
    print(f"Largest difference: {worst:.2f} points; {TOLERANCE} are allowed.")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
