"""The lens: which calls of attention a model makes, and what they look at.

    with regard.lens(model) as lens:
        model(source, lengths, target)
    lens["decoder.3.cross_attention"].weights()

It watches any PyTorch program: what calls `regard.attend`, `F.scaled_dot_product_attention`, `flex_attention` or
PyTorch's own modules. It records calls, never weights: weights are computed afterwards, exactly, for what is asked
for. Watching changes nothing in the run. A call is named by the nearest `self` on the stack that is a module of the
model.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self, overload

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional

from regard.attention.attend import Run
from regard.attention.autocast import without_autocast
from regard.attention.call import AttentionCall
from regard.attention.ways import reference
from regard.errors import UnknownNameError, WorkError, counted
from regard.inspection.capture import Source, Watcher, unseen, untraced
from regard.inspection.keeping import Deferred, Keeper, Kept, Policy, Unreadable
from regard.inspection.selection import Choice, computed, in_float32, indices
from regard.inspection.watch import Watching

Receiver = Callable[[str, AttentionCall], object]
"""Gets the name and the call while it runs: for statistics of calls that are not kept."""


class Record(Protocol):
    """What was kept of a call."""

    def read(self) -> AttentionCall:
        """Return the call, or raise what keeps it from being read."""


class Site(Sequence[AttentionCall]):
    """The calls made at one place of a model, in order. Calls over the same or growing keys read as one map.

    Attributes:
        name: Where in the model.
    """

    def __init__(self, name: str, records: Sequence[Record] = ()) -> None:
        self.name = name
        self.records = list(records)

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"Site({self.name!r}, {counted(len(self), 'call')})"

    @overload
    def __getitem__(self, index: int) -> AttentionCall: ...
    @overload
    def __getitem__(self, index: slice) -> "Site": ...
    def __getitem__(self, index: int | slice) -> "AttentionCall | Site":
        if isinstance(index, slice):
            return Site(self.name, self.records[index])
        return self.read(index, None)

    def read(self, index: int, after: AttentionCall | None) -> AttentionCall:
        """Read a call, sharing what keys it can with the one after it, which was read."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.name or 'The model itself'} made {counted(len(self), 'call')}: {index} is none.")
        try:
            record = self.records[index]
            later = None if after is None else self.records[index + 1]
            if isinstance(record, Kept) and isinstance(later, Kept) and after is not None:
                return record.read_before(later, after)
            return record.read()
        except (WorkError, ValueError) as fault:
            raise WorkError(f"Call {index} at {self.name or 'the model itself'} cannot be read: {fault}") from fault

    @property
    def calls(self) -> list[AttentionCall]:
        """The calls, in order; where keys grow they are views of the last."""
        found: list[AttentionCall] = []
        for index in reversed(range(len(self))):
            found.append(self.read(index, found[-1] if found else None))
        return found[::-1]

    def weights(self, batch: Choice = None, heads: Choice = None, queries: Choice = None) -> Float[Tensor, "B H Q K"]:
        """Return how much each query used each key, before dropout, in at least float32.

        The queries are those of all calls in order. Each choice is a number, a slice, or several numbers; nothing else
        is computed.

        Raises:
            WorkError: The calls look at different keys, so that they are no one map; or what they looked at was
                written since.
        """
        return self.maps(reference.weights, batch, heads, queries)

    def scores(self, batch: Choice = None, heads: Choice = None, queries: Choice = None) -> Float[Tensor, "B H Q K"]:
        """Return how alike queries and keys were, with the bias, before the mask and the normalizer.

        Keys that came after a query's call get -inf.
        """
        return self.maps(reference.scores, batch, heads, queries, beyond=-torch.inf)

    @torch.no_grad()
    def maps(
        self,
        compute: Callable[[AttentionCall], Tensor],
        batch: Choice = None,
        heads: Choice = None,
        queries: Choice = None,
        *,
        beyond: float = 0.0,
    ) -> Float[Tensor, "B H Q K"]:
        """Compute one map a call and put them one below the other; `beyond` stands where a call had no key yet."""
        calls = self.calls
        check_one_map(self.name, calls)
        with unseen(), without_autocast(calls[-1].query):
            if len(calls) == 1:
                return computed(in_float32(calls[0]), compute, batch, heads, queries)
            keys = calls[-1].key.shape[2]
            rows = [
                functional.pad(
                    computed(in_float32(call), compute, batch, heads, rows), (0, keys - call.key.shape[2]), value=beyond
                )
                for call, rows in shared_out(calls, queries)
            ]
        return torch.cat(rows, dim=2)


def shared_out(calls: list[AttentionCall], queries: Choice) -> list[tuple[AttentionCall, Choice]]:
    """Say which calls have the chosen queries, as counted through all of them, and which of their own these are."""
    if queries is None:
        return [(call, None) for call in calls]
    owners = [(number, own) for number, call in enumerate(calls) for own in range(call.query.shape[2])]

    return [(calls[number], own) for number, own in (owners[i] for i in indices("queries", queries, len(owners)))]


def check_one_map(name: str, calls: list[AttentionCall]) -> None:
    """Raise unless each call looks at the keys that the one before it could see, and maybe at more."""
    for before, call in itertools.pairwise(calls):
        if begins_anew(before, call):
            raise WorkError(
                f"The calls at {name} are not one map: each begins anew with the queries of the one before, as "
                f"generation without a cache does. Read the last, lens[{name!r}][-1:], or generate with a cache."
            )
        if not (grows(before.key, call.key) or fills(before, call)):
            sizes = sorted({tuple(call.key.shape[:3]) for call in calls})
            kind = f"keys of different shapes {sizes}" if len(sizes) > 1 else "different keys"
            raise WorkError(
                f"The calls at {name} look at {kind}: they are not one map. Read them one by one, lens[{name!r}][0:1] "
                "being the first, or decode under teacher forcing."
            )
    if not calls:
        raise WorkError(f"No call was kept at {name}.")


def begins_anew(before: AttentionCall, after: AttentionCall) -> bool:
    """Say whether a call goes over the queries of the one before it, and over more."""
    queries = before.query.shape[2]
    if after.query.shape[2] <= queries or queries == 0:
        return False
    if before.query.shape[:2] != after.query.shape[:2] or before.query.shape[3] != after.query.shape[3]:
        return False
    return torch.allclose(before.query, after.query[:, :, :queries], rtol=1e-3, atol=1e-5)


def fills(before: AttentionCall, after: AttentionCall) -> bool:
    """Say whether all keys that the call before could see are still there: a cache of a fixed size hides the others."""
    batch, _, keys, _ = before.key.shape
    mask = before.dense_mask()
    if mask is None or not mask.any() or len(after.key) != batch or after.key.shape[2] < keys:
        return False
    unseen = ~mask.any(dim=(1, 2)).expand(batch, keys)[:, None, :, None]  # [B 1 K 1]
    first, then = (call.key[:, :, :keys].masked_fill(unseen, 0.0) for call in (before, after))
    return grows(first, then)


def grows(before: Float[Tensor, "B G K D"], after: Float[Tensor, "B J L D"]) -> bool:
    """Say whether keys go on with what they were; heads that share keys may have been given copies of them."""
    if before.shape[0] != after.shape[0] or before.shape[2] > after.shape[2] or before.shape[3] != after.shape[3]:
        return False
    alike = before.shape[1] == after.shape[1] and before.stride() == after.stride()
    if alike and before.data_ptr() == after.data_ptr() and before.dtype == after.dtype:
        return True
    heads = max(before.shape[1], after.shape[1])
    if heads % before.shape[1] or heads % after.shape[1]:
        return False
    first, then = (key.repeat_interleave(heads // key.shape[1], dim=1) for key in (before, after))
    return torch.equal(first, then[:, :, : first.shape[2]])


class Lens(Watching, Watcher, Mapping[str, Site]):
    """The sites of a model that were seen, by name, in the order in which they came.

    What is kept of a call is up to `keep`: "reference" costs no memory and raises if a tensor was written since;
    "copy", "bfloat16" and "cpu" copy; a function of (name, call) gets each call as it runs, and nothing is kept.
    A lens that is opened again forgets what it saw. Unless `partial`, a module of attention that ran and could not be
    watched raises when the lens closes.
    """

    def __init__(self, model: nn.Module, *, keep: Policy | Receiver = "reference", partial: bool = False) -> None:
        self.sites: dict[str, Site] = {}
        super().__init__(model, self.sites, partial=partial)
        self.keeper = None if callable(keep) else Keeper(keep)
        self.receiver = keep if callable(keep) else None
        self.noting: Callable[[AttentionCall], None] = self.note

    def __enter__(self) -> Self:
        self.noting = untraced(self.note)
        return super().__enter__()

    def fault_of_missing(self) -> str:
        """Name the modules that ran unwatched, with the reason of the first."""
        first, more = self.missing[0], len(self.missing) - 1
        others = f" (and {more} more)" if more else ""
        return (
            f"{first or 'The model'}{others} ran and made no call of attention that can be watched: "
            f"{self.watch.attendance.reason(first)} With partial=True the lens shows what it saw of the rest."
        )

    def around(self, call: AttentionCall, run: Run) -> Tensor:
        """Note a call, and run it as it would have run."""
        self.noting(call)
        return run(call)

    def note(self, call: AttentionCall) -> None:
        """Note a call of ours."""
        name = self.watch.place()
        if name is None:
            return
        try:
            check_numbers_are_held((call.query, call.key, call.value))
        except WorkError as fault:
            self.record(name, Unreadable(fault))
        else:
            self.take(name, call)

    def see(self, source: Source, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Note a call of PyTorch's functions."""
        name = self.watch.place()
        if name is None:
            return
        name = ".".join(filter(None, (name, source.part)))
        with unseen():
            try:
                check_numbers_are_held([*arguments, *options.values()])
                if source.whole and self.keeper is not None:
                    self.record(name, self.keeper.defer(source.read, arguments, options))
                    return
                with torch.no_grad():
                    call = source.read(*arguments, **options)
            except (ValueError, WorkError) as fault:  # the run goes on; who asks for the call gets the reason
                self.record(name, Unreadable(fault))
                return
        self.take(name, call)

    def take(self, name: str, call: AttentionCall) -> None:
        """Keep a call, or pass it on."""
        with unseen():
            if self.receiver is not None:
                self.sites.setdefault(name, Site(name))
                with torch.no_grad():
                    self.receiver(name, detached(call))
            elif self.keeper is not None:
                before = self.sites[name].records[-1] if name in self.sites and self.sites[name].records else None
                self.record(name, self.keeper.keep(call, before))

    def record(self, name: str, record: "Kept | Deferred | Unreadable") -> None:
        """Put a call to its site."""
        self.sites.setdefault(name, Site(name)).records.append(record)

    def __getitem__(self, name: str) -> Site:
        """Return a site by its name, or by a beginning of its name that no other site shares."""
        if not isinstance(name, str):
            raise UnknownNameError(f"A site is asked for by its name; {name!r} is none. list(lens) has the names.")
        if name in self.sites:
            return self.sites[name]
        alike = self.alike(name)
        if len(alike) == 1:
            return self.sites[alike[0]]
        unwatched = [missing for missing in self.missing if missing.startswith(name)]
        if unwatched and not alike:
            raise WorkError(f"{unwatched[0]} was not seen: {self.watch.attendance.reason(unwatched[0])}")
        seen = ", ".join(self.sites) or (
            "none: nothing that attends ran under the lens in the thread that opened it, and other threads are not "
            "watched, nor functions of attention that an object beside the model's modules held before"
        )
        fault = f"belongs to several ({', '.join(alike)})" if alike else "was not seen"
        raise UnknownNameError(f"The site {name!r} {fault}. The sites seen are: {seen}.")

    def __contains__(self, name: object) -> bool:
        """Say whether the name, or the beginning of a name, is that of one site."""
        return name in self.sites or (isinstance(name, str) and len(self.alike(name)) == 1)

    def alike(self, beginning: str) -> list[str]:
        """Return the sites whose names begin so."""
        return [site for site in self.sites if site.startswith(beginning)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sites)

    def __repr__(self) -> str:
        return f"Lens of {counted(len(self), 'site')}: {list(self)}"

    def __len__(self) -> int:
        return len(self.sites)


def lens(model: nn.Module, *, keep: Policy | Receiver = "reference", partial: bool = False) -> Lens:
    """Watch a model: `with regard.lens(model) as lens: model(...)`, then `lens["decoder.3.cross_attention"]`.

    Args:
        model: Any module; one of ours, of PyTorch's, of the library transformers.
        keep: What is kept of each call; see `Lens`.
        partial: Whether to go on where a module of attention that ran cannot be watched.
    """
    return Lens(model, keep=keep, partial=partial)


def check_numbers_are_held(given: Iterable[Any]) -> None:
    """Raise for tensors that stand for others while a function is transformed or traced, and are gone after it."""
    for one in given:
        if isinstance(one, Tensor) and (is_functorch_wrapped_tensor(one) or isinstance(one, FakeTensor)):
            raise WorkError(
                "it ran inside of torch.func (vmap, grad, jvp) or torch.export, on tensors that hold no numbers of "
                "their own. Run the model by itself under the lens."
            )


def detached(call: AttentionCall) -> AttentionCall:
    """Return a call apart from the graph of gradients."""
    return call._replace(query=call.query.detach(), key=call.key.detach(), value=call.value.detach())
