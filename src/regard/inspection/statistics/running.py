"""Running statistics: what the heads of a model do over any number of sentences, in constant memory.

    running = RunningStatistics()
    for batch in corpus:
        with regard.lens(model, keep=running):
            model(batch)
    running["encoder.3.self_attention"].mean("entropy")    one number a head

Each call is summed up as it runs; nothing of it is kept.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regard.attention.biases import TensorBias
from regard.attention.call import AttentionCall
from regard.errors import OptionError, ShapeError, UnknownNameError
from regard.inspection.alignments.links import Link
from regard.inspection.statistics.map_statistics import MapStatistics, map_statistics

Sets = Callable[[str, AttentionCall], Mapping[str, Bool[Tensor, "#B K"]]]
"""Gives the sets of keys of a call by the name of its site."""
Counts = Callable[[str, AttentionCall], Bool[Tensor, "#B Q"] | None]
"""Gives the queries of a call that count; None for all."""
FindLinks = Callable[[str, AttentionCall], Sequence[Iterable[Link]] | None]
"""Gives the links of a call, an iterable a batch entry; None where there are none."""


class HeadSums:
    """Sums over queries, for each head of one site.

    Attributes:
        heads: How many heads there are.
        calls: How many calls were taken.
        names: What was summed up: `entropy`, `distance`, `greatest` (the greatest weight of a query), the names of the
            sets, and with links `aligned` and `linked`, as in `MapStatistics`.
    """

    def __init__(self, heads: int) -> None:
        self.heads = heads
        self.calls = 0
        self._sums: dict[str, Float[Tensor, "3 H"]] = {}  # number of queries, sum, sum of squares

    @property
    def names(self) -> tuple[str, ...]:
        """What was summed up."""
        return tuple(self._sums)

    def take(self, found: MapStatistics) -> None:
        """Add the statistics of a call, of queries that count and see anything."""
        seeing = (found.counts.unsqueeze(1) & (found.total != 0)).double()  # [B H Q]
        greatest = found.top_weights[..., 0] if found.top_weights.shape[-1] else found.total  # without keys it is 0
        values = {"entropy": found.entropy, "distance": found.distance, "greatest": greatest}
        for name, amount in (values | dict(found.sets)).items():
            self._add(name, amount, seeing)
        if found.aligned is not None and found.linked is not None:
            linking = seeing * ~found.aligned.isnan()
            self._add("aligned", found.aligned.nan_to_num(), linking)
            self._add("linked", found.linked, linking)
        self.calls += 1

    def _add(self, name: str, values: Tensor, share: Tensor) -> None:
        values = values.double()
        sums = torch.stack([(part * share).sum(dim=(0, 2)) for part in (torch.ones_like(values), values, values**2)])
        self._sums[name] = self._sums[name] + sums if name in self._sums else sums

    def number(self, name: str) -> Float[Tensor, "H"]:
        """Return of how many queries a head's mean is."""
        return self._of(name)[0]

    def mean(self, name: str) -> Float[Tensor, "H"]:
        """Return the mean over queries; NaN for a head that had none."""
        number, total, _ = self._of(name).unbind()
        return total / number

    def deviation(self, name: str) -> Float[Tensor, "H"]:
        """Return the standard deviation over queries."""
        number, total, squares = self._of(name).unbind()
        return (squares / number - (total / number) ** 2).clamp(min=0.0).sqrt()

    def _of(self, name: str) -> Float[Tensor, "3 H"]:
        if name not in self._sums:
            raise OptionError(f"{name!r} was not summed up; there are {', '.join(self._sums) or 'no sums yet'}.")
        return self._sums[name]


def first_seen(name: str, call: AttentionCall) -> dict[str, Bool[Tensor, "#B K"]]:
    """Name the first key that any query of its entry may see `first`."""
    seen = seen_keys(call)
    keys = call.key.shape[2]
    if seen is None:
        return {"first": torch.arange(keys, device=call.key.device) == 0}
    return {"first": seen & (seen.long().cumsum(dim=1) == 1)}


def queries_seen(name: str, call: AttentionCall) -> Bool[Tensor, "#B Q"] | None:
    """Count the queries that are keys themselves which somebody may see, or all where queries are no keys.

    So padding does not count, where a mask hides it or a tensor that is added to scores.
    """
    extent = call.extent()
    return seen_keys(call) if extent.query_positions == extent.key_positions else None


def seen_keys(call: AttentionCall) -> Bool[Tensor, "#B K"] | None:
    """Return which keys any query of their entry may see; None for all.

    Models that mask by adding add the least number that there is, which is as good as hidden where others are not.
    """
    extent = call.extent()
    seen = call.mask.seen(extent)
    if not isinstance(call.bias, TensorBias):
        return seen
    added = call.bias.dense(extent)
    shown = (added > torch.finfo(added.dtype).min / 2).any(dim=2).any(dim=1).expand(-1, extent.keys)  # [#B K]
    return shown if seen is None else seen & shown


class RunningStatistics(Mapping[str, HeadSums]):
    """Sums over the calls of each site, by its name: give it to a lens as `keep`.

    Args:
        sets: Gives the sets of keys to sum weights over.
        counts: Gives the queries that count.
        links: Gives what is linked with what.
    """

    def __init__(
        self, *, sets: Sets = first_seen, counts: Counts = queries_seen, links: FindLinks | None = None
    ) -> None:
        self.sets, self.counts, self.links = sets, counts, links
        self.sites: dict[str, HeadSums] = {}

    def __call__(self, name: str, call: AttentionCall) -> None:
        """Take a call of a site."""
        self.take(name, call, self.counts(name, call))

    @torch.no_grad()
    def take(self, name: str, call: AttentionCall, counts: Bool[Tensor, "#B Q"] | None) -> None:
        """Take a call of which these queries count."""
        heads = call.query.shape[1]
        site = self.sites.setdefault(name, HeadSums(heads))
        if site.heads != heads:
            raise ShapeError(f"A call at {name} has {heads} heads and those before it had {site.heads}.")
        found = map_statistics(
            call,
            top=1,
            sets=self.sets(name, call),
            links=None if self.links is None else self.links(name, call),
            counts=counts,
        )
        site.take(found)

    def table(self) -> dict[str, dict[str, list[float | None]]]:
        """Return the mean of everything, a number a head, by site and name, as JSON holds it."""
        return {
            name: {what: [finite(x) for x in site.mean(what).tolist()] for what in site.names}
            for name, site in self.sites.items()
        }

    def __getitem__(self, name: str) -> HeadSums:
        if name not in self.sites:
            raise UnknownNameError(
                f"The site {name!r} was not seen. The sites seen are: {', '.join(self.sites) or 'none'}."
            )
        return self.sites[name]

    def __contains__(self, name: object) -> bool:
        return name in self.sites

    def __iter__(self) -> Iterator[str]:
        return iter(self.sites)

    def __len__(self) -> int:
        return len(self.sites)


def finite(value: float) -> float | None:
    """Return a number, or None for what JSON has no number for."""
    return value if math.isfinite(value) else None
