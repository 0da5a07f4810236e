"""Which weights of a model are its alignment: one head, or the mean over a layer's heads, at one of two steps.

A word can be read off the step that emits it or off the next one, which reads it: upper layers of a Transformer mostly
align the word to come, lower ones the word just read (Chen et al. 2020, "Accurate word alignment induction from neural
machine translation"). Seen on XL-WA English-Portuguese with a Marian Transformer of two decoder layers: the best head
has an error rate of 18.7 % emitting (layer 2) and 16.4 % reading (layer 1); with the wrong step both are above 80 %.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal, NamedTuple

from regard.errors import DataError
from regard.inspection.alignments.links import AlignmentScore, Gold, Link, alignment_error_rate

Step = Literal["emitting", "reading"]


class SiteName(NamedTuple):
    """A candidate.

    Attributes:
        layer: Name of the attention, as the lens calls it.
        head: Its head, counted from 0; None is the mean over all heads.
        step: Whether a word's row is that of the step that emits it, or of the next one, which reads it.
    """

    layer: str
    head: int | None
    step: Step = "emitting"


@dataclass(frozen=True)
class AlignmentSite:
    """The weights that are taken for the alignment, and why. config.json stores its fields.

    Attributes:
        layer: As in `SiteName`, like `head` and `step`.
        head: Counted from 0; None is the mean.
        chosen_by: What decided: gold links, a word table, or the user.
        score: Alignment error rate against what decided, on validation; None where a user decided.
        step: "emitting" or "reading".
    """

    layer: str
    head: int | None
    chosen_by: Literal["gold", "word table", "user"]
    score: float | None = None
    step: Step = "emitting"

    def __str__(self) -> str:
        place = f"{self.layer}, {'mean over heads' if self.head is None else f'head {self.head}'}, {self.step} step"
        return f"{place} (by {self.chosen_by}{'' if self.score is None else f', AER {self.score:.1%}'})"


def rate_sites(
    sentences: Iterable[Mapping[SiteName, AbstractSet[Link]]],
    references: Sequence[Gold | AbstractSet[Link] | None],
) -> dict[SiteName, AlignmentScore]:
    """Score every candidate on a validation set.

    Args:
        sentences: For each sentence the links that each candidate gives. Read once, so it may be a generator.
        references: For each sentence the links to be compared with: gold, or `WordTable.references`.
    """
    links: dict[SiteName, list[AbstractSet[Link]]] = {}
    for number, candidates in enumerate(sentences):
        if number == 0:
            links = {name: [] for name in candidates}
        assert links.keys() == candidates.keys(), "every sentence must name the same candidates"
        for name, found in candidates.items():
            links[name].append(found)
    return {name: alignment_error_rate(found, references) for name, found in links.items()}


def choose_site(
    sentences: Iterable[Mapping[SiteName, AbstractSet[Link]]],
    references: Sequence[Gold | AbstractSet[Link] | None],
    *,
    chosen_by: Literal["gold", "word table"],
) -> AlignmentSite:
    """Choose the candidate with the lowest alignment error rate; the first of equals."""
    scores = rate_sites(sentences, references)
    if not scores:
        raise DataError("There is no candidate to choose an alignment from: give at least one layer and sentence.")
    best = min(scores, key=lambda name: scores[name].error_rate)
    return AlignmentSite(best.layer, best.head, chosen_by, scores[best].error_rate, best.step)
