"""A model without the ceremony of modules, for the many short steps of a search.

PyTorch finds a part of a module by a function in Python and calls it by two more: at a tiny model's step, a sentence
and a token at a time, that takes longer than the arithmetic (`benchmarks/step.py`).
"""

from typing import Any, TypeVar, cast

from torch import nn
from torch.jit import ScriptModule
from torch.nn.modules import module as modules

from regard.attention.attend import observers
from regard.attention.normalizers import Normalizer
from regard.attention.scores import Score

Model = TypeVar("Model", bound=nn.Module)

_GLOBAL_HOOKS = ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks")
_plain_kinds: dict[Any, type[nn.Module] | None] = {}


def plain(model: Model) -> Model:
    """Return a view of a model: the same parameters and code, its parts found and called directly.

    The view is of the model as it is now: what is replaced or hooked later is not seen. A module with hooks stays a
    module, with all that it holds; and the model stays itself where attention is observed, for observers ask which
    module makes a call.
    """
    if observers or any(getattr(modules, f"_global_{name}") for name in _GLOBAL_HOOKS):
        return model
    return cast(Model, _view(model))


def _view(module: nn.Module) -> nn.Module:
    own = module.__dict__
    kind = _plain_kind(type(module))
    if (
        kind is None
        or own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or "forward" in own
    ):
        return module
    view: Any = kind.__new__(kind)
    view.__dict__ = {**own, **own["_parameters"], **own["_buffers"]}
    if own["_modules"]:
        parts = {name: part and _view(part) for name, part in own["_modules"].items()}
        view.__dict__.update(parts, _modules=parts)
    return cast(nn.Module, view)


def _plain_kind(kind: type[nn.Module]) -> type[nn.Module] | None:
    """Return a kind of modules whose call is its `forward`; None where a call is more, or others ask for the type."""
    if kind not in _plain_kinds:
        if kind.__call__ is not nn.Module.__call__ or issubclass(kind, ScriptModule | Score | Normalizer):
            _plain_kinds[kind] = None
        else:
            own = {"__call__": kind.forward, "__setattr__": _set, "__module__": kind.__module__}
            _plain_kinds[kind] = type(kind.__name__, (kind,), own)
    return _plain_kinds[kind]


def _set(view: nn.Module, name: str, value: Any) -> None:
    """Keep what a part sets while it runs, such as a table that grows: the view sees it, and a buffer's model too."""
    nn.Module.__setattr__(view, name, value)
    view.__dict__[name] = value
