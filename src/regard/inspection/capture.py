"""Calls of attention that PyTorch's own functions make, handed to the observers of `attend`.

While `foreign_calls(model)` is open, PyTorch's functions of attention are replaced, in their module and wherever a
loaded module, a module of the model or its class holds the same object, by wrappers that read an `AttentionCall` from
the arguments and call the original: the same kernel runs, on the same tensors. What watches through a
TorchFunctionMode or hooks on modules switches PyTorch's fast path off, and changes the numbers.
"""

import inspect
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import FrameType, FunctionType, ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from regard.attention import attend
from regard.attention.attend import Run
from regard.attention.call import AttentionCall
from regard.errors import WorkError
from regard.inspection import readers


class Source(NamedTuple):
    """A function of attention.

    Attributes:
        home: The module that defines it.
        name: Its name there.
        read: Its reader.
        whole: Whether it projects as well, so that it hands no context out, and cannot be intervened in.
        part: What the attention is called below the module that calls it.
    """

    home: str
    name: str
    read: Callable[..., AttentionCall]
    whole: bool = False
    part: str = ""


SOURCES = (
    Source("torch.nn.functional", "scaled_dot_product_attention", readers.read_products),
    Source("torch.nn.functional", "multi_head_attention_forward", readers.read_module, whole=True),
    Source("torch", "_native_multi_head_attention", readers.read_fast_module, whole=True),
    Source("torch", "_transformer_encoder_layer_fwd", readers.read_fast_layer, whole=True, part="self_attn"),
    Source("torch.nn.attention.flex_attention", "flex_attention", readers.read_flex),
    # The library transformers calls FlexAttention as compiled before the lens was opened.
    Source("transformers.integrations.flex_attention", "compile_friendly_flex_attention", readers.read_flex),
)

HOMES = {source.home: {other.name for other in SOURCES if other.home == source.home} for source in SOURCES}

WHY_NOT_TRACED = (
    "a lens is open, which watches each call of attention as it runs: torch.compile breaks the graph there. "
    "Compile without fullgraph=True, or open the lens on the model as it was before compiling."
)


class Watcher:
    """An observer that only looks, so that it may also be shown what cannot be intervened in."""

    def see(self, source: Source, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Look at the call that a function of attention is given."""
        raise NotImplementedError

    def around(self, call: AttentionCall, run: Run) -> Tensor:
        """Look at a call, and run it as it would have run."""
        raise NotImplementedError


class Inside(threading.local):
    """Whether this thread is inside a call that the observers were shown."""

    busy = False


inside = Inside()


@contextmanager
def unseen() -> Iterator[None]:
    """Show no call that is made in here to anybody."""
    before, inside.busy = inside.busy, True
    try:
        yield
    finally:
        inside.busy = before


def untraced(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keep torch.compile out of a function, where it is loaded at all: loading it takes a second."""
    if "torch._dynamo" not in sys.modules:
        return function
    disabled: Callable[..., Any] = torch.compiler.disable(function, reason=WHY_NOT_TRACED)
    return disabled


def quietly(call: AttentionCall, run: Run) -> Tensor:
    """Run a call of ours, whose ways may call PyTorch's functions: the innermost observer."""
    with unseen():
        return run(call)


class Patches:
    """What is replaced while anybody watches; one for all of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.wrappers: dict[int, tuple[Any, Any]] = {}
        self.held: list[tuple[Any, str, Any, Any]] = []
        self.innermost: Callable[..., Tensor] = quietly

    def open(self, model: nn.Module) -> None:
        """Replace the functions, unless another has, and what the model holds of them."""
        with self.lock:
            self.users += 1
            if self.users == 1:
                self.innermost = untraced(quietly)
                attend.observers.insert(0, self.innermost)
                for source in SOURCES:
                    original = vars(sys.modules.get(source.home, object)).get(source.name)
                    if original is not None:
                        self.wrappers[id(original)] = (original, wrapper(source, original))
                self.replace({key: new for key, (_, new) in self.wrappers.items()}, compiled=True)
            self.replace_held(holders(model))

    def close(self) -> None:
        """Put the functions back, when the last one closes."""
        with self.lock:
            self.users -= 1
            if self.users == 0:
                for owner, name, held, new in self.held:
                    if vars(owner).get(name) is new:
                        put(owner, name, held)
                self.held.clear()
                self.replace({id(new): old for old, new in self.wrappers.values()}, compiled=False)
                self.wrappers.clear()
                attend.observers.remove(self.innermost)

    def replace(self, exchange: dict[int, Any], *, compiled: bool) -> None:
        """Exchange objects wherever a loaded module holds them, and with them what torch.compile made of them."""
        compiled = compiled and "torch._dynamo" in sys.modules
        for name, module in list(sys.modules.items()):
            names = vars(module) if isinstance(module, ModuleType) else {}
            if not exchange.keys().isdisjoint(map(id, list(names.values()))):
                # What a home calls inside of what is watched is left alone: the library compiles it, and keeps that.
                for held in HOMES.get(name, names.keys()) & names.keys():
                    names[held] = exchange.get(id(names[held]), names[held])
            if compiled and not name.startswith("torch."):
                self.replace_compiled(names)

    def replace_compiled(self, names: dict[str, Any]) -> None:
        """Wrap what torch.compile made of FlexAttention, as programs hold it under a name of their own."""
        for name, held in [(name, held) for name, held in names.items() if isinstance(held, FunctionType)]:
            inner = vars(held).get("_torchdynamo_orig_callable")
            source = next((source for source in SOURCES if source.name == getattr(inner, "__name__", None)), None)
            if source is not None and id(inner) in self.wrappers:
                new = wrapper(source, held)
                self.wrappers[id(held)] = (held, new)
                names[name] = new

    def replace_held(self, owners: Iterable[object]) -> None:
        """Replace what objects hold as attributes of their own."""
        for owner in owners:
            for name, held in list(vars(owner).items()):
                new = self.stand_in(held)
                if new is None:
                    continue
                if isinstance(owner, type) and not isinstance(held, FunctionType | staticmethod | partial):
                    new = staticmethod(new)  # a builtin is no method of the class that holds it
                put(owner, name, new)
                self.held.append((owner, name, held, new))

    def stand_in(self, held: object) -> Any:
        """Return what stands in for a function, with arguments that were set before or none; None for all else."""
        if type(held) is partial:
            inner = self.stand_in(held.func)
            return None if inner is None else partial(inner, *held.args, **held.keywords)
        if type(held) is staticmethod:
            inner = self.stand_in(held.__func__)
            return None if inner is None else staticmethod(inner)
        _, new = self.wrappers.get(id(held), (None, None))
        return new


patches = Patches()


def holders(model: nn.Module) -> list[object]:
    """Return the modules of a model and their classes: what a program may have set a function of attention on."""
    modules = list(model.modules())
    classes = dict.fromkeys(kind for module in modules for kind in type(module).__mro__ if kind is not object)
    return [*modules, *classes]


def put(owner: Any, name: str, value: object) -> None:
    """Set an attribute of a class or of a module itself, past what `nn.Module` does at that."""
    if isinstance(owner, type):
        setattr(owner, name, value)
    else:
        vars(owner)[name] = value


@contextmanager
def foreign_calls(model: nn.Module) -> Iterator[None]:
    """Hand the calls of PyTorch's functions to `attend.observers`, the last of them first, while this is open.

    They are those of the whole program, but for what objects hold by themselves: of these only the model's are known.

    An observer may intervene in `F.scaled_dot_product_attention` and `flex_attention`. The fast path of
    `nn.TransformerEncoderLayer` must be off for it: `torch.backends.mha.set_fastpath_enabled(False)`.
    """
    patches.open(model)
    try:
        yield
    finally:
        patches.close()


def wrapper(source: Source, original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what stands in for a function."""

    def shown(*arguments: Any, **options: Any) -> Any:
        if inside.busy or all(observer is patches.innermost for observer in attend.observers):
            return original(*arguments, **options)
        return pass_on(source, original, arguments, options)

    shown = untraced(shown)

    def watched(*arguments: Any, **options: Any) -> Any:
        # What was compiled or imported while a lens was open is the function itself again when none is.
        return shown(*arguments, **options) if attend.observers else original(*arguments, **options)

    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(watched, name, getattr(original, name, None))
    watched.__wrapped__ = original  # type: ignore[attr-defined]
    return watched


def pass_on(source: Source, original: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Show a call to the observers, and run it."""
    if source.read is readers.read_module and not wants_weights(arguments, options):
        return original(*arguments, **options)  # it calls F.scaled_dot_product_attention, which is watched
    if source.read is readers.read_products and heads_are_packed(arguments[0] if arguments else options["query"]):
        source = source._replace(read=readers.read_packed)
    lookers = [owner for owner in map(owner_of, attend.observers) if isinstance(owner, Watcher)]
    if len(lookers) == len(attend.observers) - 1:  # the other is the innermost
        for looker in reversed(lookers):
            looker.see(source, arguments, options)
        with unseen():
            return original(*arguments, **options)
    if source.whole:
        raise WorkError(
            f"{source.home}.{source.name} does more than attend, so that nothing can intervene in it. "
            + (
                "Call nn.MultiheadAttention with need_weights=False."
                if source.read is readers.read_module
                else "Call torch.backends.mha.set_fastpath_enabled(False) before."
            )
        )
    return intervened(source, original, arguments, options)


def heads_are_packed(query: Tensor) -> bool:
    """Say whether the library transformers (5.2 on) laid the heads that share keys in the place of queries.

    It does so where there is one query; its function then knows of fewer queries than it hands over.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") in (__name__, "torch._dynamo.eval_frame"):
        frame = frame.f_back
    if frame is None or frame.f_globals.get("__name__") != "transformers.integrations.sdpa_attention":
        return False
    return bool(local(frame, "q_length") not in (None, query.shape[-2]))


def owner_of(observer: Callable[..., Tensor]) -> object:
    """Return the object that an observer is a method of."""
    return getattr(observer, "__self__", None)


def wants_weights(arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Say whether `F.multi_head_attention_forward` is to return weights, so that it computes them step by step."""
    return bool(arguments[15] if len(arguments) > 15 else options.get("need_weights", True))


def intervened(
    source: Source, original: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    """Run a call through all observers, of which one may change it or its context."""
    given = source.read(*arguments, **options)
    answers: list[tuple[Any, Tensor]] = []

    def run(call: AttentionCall) -> Tensor:
        with unseen():
            if call is not given:
                return attend.run_by("auto", call)
            answer = original(*arguments, **options)
            context: Tensor = answer[0] if isinstance(answer, tuple) else answer
            answers.append((answer, context.reshape(*call.query.shape[:3], -1)))
            return answers[-1][1]

    chain: Run = run
    for around in attend.observers[1:]:
        chain = attend.watched(around, chain)
    context = chain(given)
    for answer, own in answers:
        if context is own:  # nobody changed it
            return answer
    shape = [*leading(arguments, options), context.shape[-1]]
    context = context.reshape(shape)
    if answers and isinstance(answers[-1][0], tuple):
        return (context, *answers[-1][0][1:])
    return context


def leading(arguments: tuple[Any, ...], options: dict[str, Any]) -> list[int]:
    """Return the axes of a context before its width."""
    query, key = arguments[0] if arguments else options["query"], arguments[1] if arguments[1:] else options["key"]
    batch = torch.broadcast_shapes(query.shape[:-3], key.shape[:-3])
    heads = [max(query.shape[-3], key.shape[-3])] if query.dim() > 2 else []
    return [*batch, *heads, query.shape[-2]]


def place_of_call(names: Mapping[int, str]) -> str | None:
    """Name the nearest `self` on the stack that is a module of the model.

    None if the call is another model's, or recomputes in backward what was seen before.
    """
    found: str | None = None
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if found is None:
            owner = own_self(frame)
            if isinstance(owner, nn.Module):
                found = names.get(id(owner))
        if frame.f_globals.get("__name__") == "torch.autograd.graph" and frame.f_code.co_name == "_engine_run_backward":
            return None
        frame = frame.f_back
    return found


def own_self(frame: FrameType) -> object:
    """Return the `self` of a method's frame."""
    return local(frame, "self") if "self" in frame.f_code.co_varnames[:1] else None


def local(frame: FrameType, name: str) -> object:
    """Return a variable of a function's frame."""
    names = frame.f_locals
    held = names.get(name)
    if sys.version_info < (3, 13) and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        names.clear()  # a copy that would keep the function's tensors alive; Python 3.13 makes none
    return held
