"""Interventions: what a model does when heads are off, or attend otherwise than they did.

    with intervene(model, {"decoder.3.cross_attention": HeadsOff([0, 2])}):
        model(source, lengths, target)

A change is an observer of calls, `change(call, run) -> context`: it runs the call and changes the context, or puts
another in its place. A name stands for every call that is made in that module or below it; "" is the whole model.
The pattern of a changed call is computed in full, queries times keys.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.attend import Observer, Run
from regard.attention.call import AttentionCall
from regard.attention.ways import reference
from regard.errors import OptionError, WorkError
from regard.inspection.named_calls import NamedCalls
from regard.inspection.selection import check_calls, in_float32, whole_numbers
from regard.inspection.watch import own_name

Change = Observer


class Intervention:
    """Changes the calls of a model while it is open, and fails on leaving where a change met no call."""

    def __init__(self, model: nn.Module, changes: Mapping[str, Change]) -> None:
        self.calls = NamedCalls(model, self.around)
        modules = [own_name(name) for name, _ in model.named_modules()]
        unknown = [name for name in changes if name not in modules]
        if unknown:
            some = ", ".join(filter(None, modules[:9]))
            raise OptionError(
                f"The model has no module {', '.join(map(repr, unknown))}. A change is given for a module that "
                f"attends, such as those that `regard.lens` names, or for one above: {some}."
            )
        for name, change in changes.items():
            if not callable(change):
                raise OptionError(
                    f"The change for {name!r} must be a function of (call, run) or one of `interventions`, such as "
                    f"HeadsOff([0]); it is {change!r}."
                )
        self.changes = changes
        self.met: set[str] = set()

    def __enter__(self) -> "Intervention":
        self.met.clear()
        self.calls.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.calls.__exit__(kind, *rest)
        idle = [repr(name) for name in self.changes if name not in self.met]
        if idle and kind is None:
            raise WorkError(
                f"No attention was seen at {', '.join(idle)}, so that nothing was changed there. "
                f"Calls were seen at: {', '.join(self.calls.seen) or 'no place'}."
            )

    def around(self, name: str, call: AttentionCall, run: Run) -> Tensor:
        """Put the changes for this place around the call, the first given outermost."""
        for place in reversed(list(self.changes)):
            if not place or name == place or name.startswith(f"{place}."):
                self.met.add(place)
                run = applied(self.changes[place], run, name)
        return run(call)


def intervene(model: nn.Module, changes: Mapping[str, Change]) -> Intervention:
    """Change calls of a model, by the names of the modules that make them, while this is open.

    Raises:
        OptionError: A name is no module's; on the way, a change does not fit its call.
        WorkError: On leaving, a change met no call.
    """
    return Intervention(model, changes)


def applied(change: Change, run: Run, name: str) -> Run:
    """Put a change around a way; what it refuses is told with the place."""

    def changed(call: AttentionCall) -> Tensor:
        runs = 0

        def counted(call: AttentionCall) -> Tensor:
            nonlocal runs
            runs += 1
            return run(call)

        try:
            context = change(call, counted)
            check_context(context, call)
        except MisfitError as error:
            raise OptionError(f"At {name}: {error}") from error
        if not runs:  # a lens that was opened before still sees the call, and functions return what they do beside
            run(call)
        return context

    return changed


class MisfitError(OptionError):
    """A change does not fit a call; told again with the place."""


def check_context(context: object, call: AttentionCall) -> None:
    """Raise if what a change returned cannot be the context of a call."""
    if not isinstance(context, Tensor):
        raise MisfitError(f"a change must return the context, a tensor; it returned {type(context).__name__}.")
    size = (*call.query.shape[:3], call.value.shape[3])
    if context.shape != size:
        raise MisfitError(f"a change must return a context {list(size)}; it returned one {list(context.shape)}.")


def head_numbers(heads: Sequence[int] | None, call: AttentionCall) -> list[int]:
    """Return which heads are meant, all if none are named."""
    number = call.query.shape[1]
    if heads is None:
        return list(range(number))
    if isinstance(heads, int):
        raise MisfitError(f"heads must be several numbers, or None for all; it is {heads}. Give [{heads}].")
    try:
        named = whole_numbers("heads", heads)
    except OptionError as error:
        raise MisfitError(str(error)) from error
    wrong = [head for head in named if not 0 <= head < number]
    if wrong:
        raise MisfitError(f"there is no head {', '.join(map(str, wrong))}; heads are counted from 0 to {number - 1}.")
    return sorted(set(named))


def only(
    heads: Sequence[int] | None, call: AttentionCall, run: Run, other: Callable[[], Tensor]
) -> Float[Tensor, "B H Q D"]:
    """Return the context of a call, of these heads another one."""
    numbers = head_numbers(heads, call)
    if len(numbers) == call.query.shape[1]:
        return other()
    index = torch.tensor(numbers, device=call.query.device)
    context = run(call)
    return context.index_copy(1, index, other().index_select(1, index).to(context.dtype))


def mixed(call: AttentionCall, weights: Tensor) -> Tensor:
    """Mix the values of a call by other weights, with its dropout."""
    weights = weights.to(call.value.dtype).expand(*call.query.shape[:3], call.key.shape[2])
    return reference.mix(torch.dropout(weights, call.dropout, train=call.dropout > 0), call.value)


@dataclass(frozen=True)
class HeadsOff:
    """Heads that add nothing: their context is zero. None stands for all heads."""

    heads: Sequence[int] | None = None

    def __call__(self, call: AttentionCall, run: Run) -> Tensor:
        """Run the call and put zeros there, so that not even what is not finite comes through."""
        off = torch.zeros(call.query.shape[1], dtype=torch.bool, device=call.query.device)
        off[head_numbers(self.heads, call)] = True
        return run(call).masked_fill(off[:, None, None], 0.0)


@dataclass(frozen=True, eq=False)
class Scaled:
    """A pattern times a number: the rows of its weights sum to that number. 0 is off and 1 changes nothing.

    `factor` may be a tensor that broadcasts to [batch, heads, queries, 1], and may need a gradient.
    """

    factor: float | Tensor
    heads: Sequence[int] | None = None

    def __call__(self, call: AttentionCall, run: Run) -> Tensor:
        """Scale the context, which is the same, since mixing is linear."""
        size = (*call.query.shape[:3], 1)
        if not isinstance(self.factor, Tensor | int | float):
            raise MisfitError(f"the factor must be a number or a tensor; it is {self.factor!r}.")
        if isinstance(self.factor, Tensor) and not broadcasts(self.factor.shape, size):
            raise MisfitError(f"the factor is {list(self.factor.shape)} and does not broadcast to {list(size)}.")
        context = run(call)
        return only(self.heads, call, lambda _: context, lambda: (context * self.factor).to(context.dtype))


@dataclass(frozen=True, eq=False)
class Rewritten:
    """Weights that are made of the ones that there were: `rewrite(weights, call) -> weights`, [B H Q K].

    With `Rewritten(lambda weights, call: weights.roll(1, dims=-1))` every query looks one key further.
    """

    rewrite: Callable[[Tensor, AttentionCall], Tensor]
    heads: Sequence[int] | None = None

    def __call__(self, call: AttentionCall, run: Run) -> Tensor:
        """Compute the weights, rewrite them and mix."""

        def other() -> Tensor:
            weights = self.rewrite(reference.weights(in_float32(call)), call)
            check_weights("what rewrite returned", weights, call)
            return mixed(call, weights)

        return only(self.heads, call, run, other)


@dataclass(frozen=True, eq=False)
class Replaced:
    """Other weights in the place of the pattern: a tensor that broadcasts to [batch, heads, queries, keys]."""

    weights: Float[Tensor, "..."]
    heads: Sequence[int] | None = None

    def __call__(self, call: AttentionCall, run: Run) -> Tensor:
        """Mix by them."""
        check_weights("weights", self.weights, call)
        weights = self.weights.to(call.query.device)
        return only(self.heads, call, run, lambda: mixed(call, weights))


def check_weights(name: str, given: object, call: AttentionCall) -> None:
    """Raise if these cannot be the weights of a call."""
    if not isinstance(given, Tensor):
        raise MisfitError(f"{name} must be a tensor; it is of type {type(given).__name__}.")
    size = (*call.query.shape[:3], call.key.shape[2])
    if not broadcasts(given.shape, size):
        raise MisfitError(
            f"{name} must broadcast to {list(size)}, the axes [batch, heads, queries, keys] of the call; it is "
            f"{list(given.shape)}."
        )


def check_pairs(name: str, given: object, size: Sequence[int], axes: str) -> None:
    """Raise if this is no tensor of booleans over these axes of a call."""
    if not isinstance(given, Tensor):
        raise MisfitError(f"{name} must be a tensor of booleans; it is of type {type(given).__name__}.")
    if given.dtype != torch.bool or not broadcasts(given.shape, size):
        raise MisfitError(
            f"{name} is {given.dtype} of shape {list(given.shape)}; it must be boolean and broadcast to {list(size)}, "
            f"the axes {axes} of the call."
        )


def broadcasts(shape: Sequence[int], size: Sequence[int]) -> bool:
    """Say whether a shape can be spread to a size."""
    pairs = zip(reversed(shape), reversed(size), strict=False)
    return len(shape) <= len(size) and all(given in (1, wanted) for given, wanted in pairs)


class Patched:
    """The patterns of another run: the n-th call takes the weights of the n-th recorded one.

        with regard.lens(model) as clean: model(this)
        with intervene(model, {name: Patched(clean[name])}): model(that)

    One object serves one run: where more calls come than were recorded, it raises.
    """

    def __init__(self, calls: Sequence[AttentionCall], heads: Sequence[int] | None = None) -> None:
        check_calls(calls)
        self.recorded = len(calls)
        self.rest: Iterator[AttentionCall] = iter(calls)
        self.heads = heads

    def __call__(self, call: AttentionCall, run: Run) -> Tensor:
        """Take the weights of the next recorded call."""
        source = next(self.rest, None)
        if source is None:
            raise MisfitError(
                f"{self.recorded} calls were recorded and here is one more. Give a new Patched for each run, and "
                "record as many steps as are to be patched."
            )
        with torch.no_grad():
            weights = reference.weights(in_float32(source))
        return Replaced(weights, self.heads)(call, run)


@dataclass(frozen=True, eq=False)
class Hidden:
    """Keys that are hidden beside those that the mask hides; what is left is normalized anew.

    `hidden` is boolean, True = may not look, and broadcasts to [batch, heads, queries, keys]. A query that may look
    at nothing then gets a context of zeros.
    """

    hidden: Tensor
    heads: Sequence[int] | None = None

    def __call__(self, call: AttentionCall, run: Run) -> Tensor:
        """Normalize the scores with a narrower mask."""
        size = (*call.query.shape[:3], call.key.shape[2])
        check_pairs("hidden", self.hidden, size, "[batch, heads, queries, keys]")
        seen = ~self.hidden.to(call.query.device).expand(size)

        def narrowed() -> Tensor:
            mask = call.dense_mask()
            return mixed(
                call, call.normalizer(reference.scores(in_float32(call)), seen if mask is None else seen & mask)
            )

        return only(self.heads, call, run, narrowed)


@dataclass(frozen=True, eq=False)
class ValuesOff:
    """Keys whose value counts as zero while the weights stay: value-zeroing (Mohebbi et al. 2023, 3.1).

    `off` is boolean and broadcasts to [batch, heads, keys], the heads being those of the queries.
    """

    off: Tensor
    heads: Sequence[int] | None = None

    def __call__(self, call: AttentionCall, run: Run) -> Tensor:
        """Mix by the weights without what goes to these keys."""
        size = (*call.query.shape[:2], call.key.shape[2])
        check_pairs("off", self.off, size, "[batch, heads, keys]")
        off = self.off.to(call.query.device).expand(size)

        def zeroed() -> Tensor:
            return mixed(call, reference.weights(in_float32(call)).masked_fill(off.unsqueeze(2), 0.0))

        return only(self.heads, call, run, zeroed)


def even_weights(call: AttentionCall) -> Float[Tensor, "B H Q K"]:
    """Return the same weight for every key that a query may look at: the control that knows nothing.

    A float mask of PyTorch's hides by -inf, or by the lowest number there is; both count as hidden.
    """
    scores = reference.scores(in_float32(call))
    seen = scores > torch.finfo(call.query.dtype).min / 2
    mask = call.dense_mask()
    seen = seen if mask is None else seen & mask
    weights = seen.to(scores.dtype)
    return weights / weights.sum(-1, keepdim=True).clamp(min=1.0)


def evened(heads: Sequence[int] | None = None) -> Rewritten:
    """Return the change to even weights."""
    return Rewritten(lambda weights, call: even_weights(call), heads)
