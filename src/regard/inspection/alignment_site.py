"""Which weights of a model are its alignment: one head, or the mean over a layer's heads."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from regard.errors import DataError
from regard.inspection.alignments import AlignmentScore, Gold, Link, alignment_error_rate

SiteName = tuple[str, int | None]
"""A layer's name and a head's number; None is the mean over its heads."""


@dataclass(frozen=True)
class AlignmentSite:
    """The weights that are taken for the alignment, and why. config.json stores its fields.

    Attributes:
        layer: Name of the attention, as the lens calls it.
        head: Its head, counted from 0; None is the mean over all heads.
        chosen_by: What decided: gold links, a word table, or the user.
        score: Alignment error rate against what decided, on validation; None where a user decided.
    """

    layer: str
    head: int | None
    chosen_by: Literal["gold", "word table", "user"]
    score: float | None = None

    def __str__(self) -> str:
        place = f"{self.layer}, {'mean over heads' if self.head is None else f'head {self.head}'}"
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
    layer, head = min(scores, key=lambda name: scores[name].error_rate)
    return AlignmentSite(layer, head, chosen_by, scores[layer, head].error_rate)
