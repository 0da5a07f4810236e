"""What is kept of a call until it is read: references that notice a change, or copies.

A reference costs no memory, and raises when what it points to was written since. Tensors of inference mode have no
version to notice it by, and are copied. Where keys grow by steps only the new rows are kept.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from regard.attention.biases import Bias
from regard.attention.call import AttentionCall
from regard.attention.masks import Mask
from regard.errors import OptionError, WorkError

Policy = Literal["reference", "copy", "bfloat16", "cpu"]

Place = tuple[Any, ...]


class Guarded(NamedTuple):
    """A tensor as it was.

    Attributes:
        tensor: A detached alias, or a copy.
        version: How often the alias had been written; None for a copy.
    """

    tensor: Tensor
    version: int | None

    @property
    def intact(self) -> bool:
        """Whether it is still what it was."""
        return self.version is None or self.tensor._version == self.version

    def read(self) -> Tensor:
        """Return the tensor, or raise if it was written since."""
        if not self.intact:
            raise WorkError(
                "a tensor of this call was written after the call (a cache filled in place, an optimizer's step), so "
                'that its weights are lost. Open the lens with keep="copy".'
            )
        return self.tensor


class Rows:
    """Keys or values of one call: those of an earlier call, and the new rows."""

    def __init__(self, new: Guarded, earlier: "Rows | None" = None) -> None:
        self.new = new
        self.earlier = earlier
        self.length: int = new.tensor.shape[2] + (earlier.length if earlier else 0)

    def chain(self) -> Iterator[Guarded]:
        """Go through the parts, the newest first."""
        part: Rows | None = self
        while part is not None:
            yield part.new
            part = part.earlier

    @property
    def intact(self) -> bool:
        """Whether all parts are still what they were."""
        return all(part.intact for part in self.chain())

    def read(self) -> Tensor:
        """Return all rows."""
        parts = [part.read() for part in self.chain()]
        return parts[0] if len(parts) == 1 else torch.cat(parts[::-1], dim=2)


class Kept(NamedTuple):
    """One call as it was kept.

    Attributes:
        parts: The call with its parts; its tensors stand in the other fields.
        query: The queries.
        key: The keys, whose rows later calls may share.
        value: The values, likewise.
        guards: The tensors of mask, bias, score and normalizer.
        dtype: Of the call, which copies may be narrower than.
    """

    parts: AttentionCall
    query: Guarded
    key: Rows
    value: Rows
    guards: list[Guarded]
    dtype: torch.dtype

    def read(self) -> AttentionCall:
        """Return the call, or raise if something of it was written since."""
        return self.read_with(self.key.read().to(self.dtype), self.value.read().to(self.dtype))

    def read_before(self, later: "Kept", call: AttentionCall) -> AttentionCall:
        """Return the call, with views of the keys of the call after it where that one shares them."""
        key, value = (
            whole[:, :, : rows.length] if rows in (after, after.earlier) else rows.read().to(self.dtype)
            for rows, after, whole in ((self.key, later.key, call.key), (self.value, later.value, call.value))
        )
        return self.read_with(key, value)

    def read_with(self, key: Tensor, value: Tensor) -> AttentionCall:
        """Return the call with keys and values that were read."""
        for guard in self.guards:
            guard.read()
        return self.parts._replace(query=self.query.read().to(self.dtype), key=key, value=value)


class Deferred(NamedTuple):
    """The arguments of a function that computes queries and keys inside, to be read when they are asked for."""

    reader: Callable[..., AttentionCall]
    arguments: list[Any]
    options: dict[str, Any]
    autocast: dict[str, Any]

    def read(self) -> AttentionCall:
        """Compute queries and keys as the function did, under the autocast that it ran under."""
        with torch.no_grad(), torch.autocast(**self.autocast):
            return self.reader(*map(released, self.arguments), **{k: released(v) for k, v in self.options.items()})


class Unreadable(NamedTuple):
    """A call that no reader can read, with the reason, which is raised when it is asked for."""

    fault: Exception

    def read(self) -> AttentionCall:
        """Raise the reason."""
        raise self.fault


def released(argument: Any) -> Any:
    """Return what was guarded."""
    return argument.read() if isinstance(argument, Guarded) else argument


class Keeper:
    """Keeps calls by a policy; masks and biases once a storage."""

    def __init__(self, policy: Policy) -> None:
        if policy not in get_args(Policy):
            raise OptionError(
                f"keep={policy!r} is unknown; there are {', '.join(map(repr, get_args(Policy)))}, and any function of "
                "(name, call), which gets every call as it runs while nothing is kept."
            )
        self.policy = policy
        self.shared: dict[Place, Guarded] = {}
        self.modules: dict[Place, nn.Module] = {}

    def keep(self, call: AttentionCall, before: Any = None) -> Kept:
        """Keep a call; `before` is what was kept of the call at the same site before it, whose rows may be shared."""
        if torch.is_grad_enabled() or not isinstance(before, Kept):
            before = None
        with torch.no_grad():
            return self.kept(call, before)

    def kept(self, call: AttentionCall, before: Kept | None) -> Kept:
        """Keep a call, sharing rows with one before it."""
        guards: list[Guarded] = []
        parts = call._replace(
            query=EMPTY,
            key=EMPTY,
            value=EMPTY,
            score=self.module(call.score, guards),
            normalizer=self.module(call.normalizer, guards),
            mask=self.part(call.mask, guards),
            bias=None if call.bias is None else self.part(call.bias, guards),
        )
        key = self.rows(call.key, None if before is None else before.key)
        if call.value.data_ptr() == call.key.data_ptr() and call.value.shape == call.key.shape:
            value = key
        else:
            value = self.rows(call.value, None if before is None else before.value)
        return Kept(parts, self.tensor(call.query, narrow=True), key, value, guards, call.query.dtype)

    @torch.no_grad()
    def defer(self, reader: Callable[..., AttentionCall], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Keep the arguments of a function; where copies are wanted, what is read from them."""
        if self.policy != "reference":
            return self.kept(reader(*arguments, **options), None)

        def keep(given: Any) -> Any:
            return self.tensor(given) if isinstance(given, Tensor) else given

        kept = {name: keep(given) for name, given in options.items()}
        return Deferred(reader, [*map(keep, arguments)], kept, autocast_of([*arguments, *options.values()]))

    def tensor(self, tensor: Tensor, *, narrow: bool = False) -> Guarded:
        """Keep a tensor; a wide one may be narrowed where the policy is to narrow."""
        if self.policy == "reference" and not tensor.is_inference():
            return Guarded(tensor.detach(), tensor._version)
        kept = tensor.detach()
        if self.policy == "bfloat16" and narrow:
            kept = kept.to(torch.bfloat16)
        elif self.policy == "cpu":
            kept = kept.cpu()
        return Guarded(kept.clone() if kept.data_ptr() == tensor.data_ptr() else kept, None)

    def rows(self, tensor: Tensor, before: Rows | None) -> Rows:
        """Keep keys or values; rows that the call before had are shared with it."""
        if before is None or not before.intact:
            return Rows(self.tensor(tensor, narrow=True))
        known = before.length
        last = before.new.tensor
        fits = tensor.shape[:2] == last.shape[:2] and tensor.shape[3] == last.shape[3] and known <= tensor.shape[2]
        if not fits:
            return Rows(self.tensor(tensor, narrow=True))
        if not torch.equal(self.narrowed(tensor[:, :, :known], last), before.read()):
            return Rows(self.tensor(tensor, narrow=True))
        if known == tensor.shape[2]:
            return before
        new = self.narrowed(tensor[:, :, known:], last)
        return Rows(Guarded(new.detach().clone(), None), before)

    @staticmethod
    def narrowed(tensor: Tensor, like: Tensor) -> Tensor:
        """Return a tensor as another is kept."""
        return tensor.to(like.device, like.dtype)

    def once(self, tensor: Tensor, guards: list[Guarded]) -> Tensor:
        """Keep a tensor of a mask or bias, once a storage."""
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        known = self.shared.get(place)
        if known is not None and known.version is None and torch.equal(known.tensor.to(tensor.device), tensor):
            return known.tensor
        kept = self.tensor(tensor)
        if kept.version is None:
            self.shared[place] = kept
        guards.append(kept)
        return kept.tensor

    def part(self, part: Any, guards: list[Guarded]) -> Any:
        """Keep a mask or bias with the tensors and parts that it is made of."""
        changed: dict[str, Any] = {}
        for name, held in vars(part).items():
            if isinstance(held, Tensor):
                changed[name] = self.once(held, guards)
            elif isinstance(held, Mask | Bias):
                changed[name] = self.part(held, guards)
            elif callable(held):
                guards += [self.tensor(tensor) for tensor in enclosed(held)] if self.policy == "reference" else []
        if not changed:
            return part
        kept = copy.copy(part)
        for name, held in changed.items():
            object.__setattr__(kept, name, held)
        return kept

    def module(self, module: nn.Module, guards: list[Guarded]) -> Any:
        """Keep a score or normalizer; where copies are wanted, one a state of its parameters."""
        held = [*module.parameters(), *module.buffers()]
        score_mod = getattr(module, "score_mod", None)
        if self.policy == "reference":
            guards += [self.tensor(tensor) for tensor in (*held, *enclosed(score_mod))]
            return module
        if not held:
            return module
        place = (id(module), *(tensor._version for tensor in held))
        if place not in self.modules:
            self.modules[place] = copy.deepcopy(module)
            if self.policy == "cpu":
                self.modules[place].cpu()
        return self.modules[place]


EMPTY = torch.empty(0)


def autocast_of(given: Iterable[Any]) -> dict[str, Any]:
    """Return the state of autocast where the first tensor is, as `torch.autocast` takes it."""
    kind = next(one.device.type for one in given if isinstance(one, Tensor))
    if kind == "meta" or not torch.is_autocast_enabled(kind):
        return {"device_type": "cpu" if kind == "meta" else kind, "enabled": False}
    return {"device_type": kind, "dtype": torch.get_autocast_dtype(kind)}


def enclosed(function: Any) -> list[Tensor]:
    """Return the tensors that a function closes over."""
    cells = getattr(function, "__closure__", None) or ()
    found: list[Tensor] = []
    for cell in cells:
        try:
            held = cell.cell_contents
        except ValueError:  # not yet filled
            continue
        found += [held] if isinstance(held, Tensor) else enclosed(held) if callable(held) else []
    return found
