"""A model without the ceremony of modules, for the many short steps of a search.

PyTorch finds a part of a module by a function in Python and calls it by two more: at a tiny model's step, a sentence
and a token at a time, that takes longer than the arithmetic (`benchmarks/step.py`).
"""

from typing import Any, TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.jit import ScriptModule
from torch.nn import functional
from torch.nn.modules import module as modules

from regard.attention.attend import AUTO, EVERYTHING, STEADY, Attention, observers
from regard.attention.autocast import autocasts
from regard.attention.biases import Bias
from regard.attention.call import Memory
from regard.attention.masks import Everything, Mask
from regard.attention.normalizers import Normalizer, Softmax
from regard.attention.scores import ScaledDot, Score

Model = TypeVar("Model", bound=nn.Module)

_GLOBAL_HOOKS = ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks")
_plain_kinds: dict[Any, type[nn.Module] | None] = {}


def plain(model: Model) -> Model:
    """Return a view of a model: the same parameters and code, its parts found and called directly.

    The view is of the model as it is now: what others replace or hook later is not seen. A module with hooks stays a
    module, with all that it holds; and the model stays itself where attention is observed, for observers ask which
    module makes a call.
    """
    if observers or any(getattr(modules, f"_global_{name}") for name in _GLOBAL_HOOKS):
        return model
    return cast(Model, _view(model))


class _FusedAttention(Attention):
    """Attention as most models have it: where nothing is hidden or added, PyTorch's function is all there is to do."""

    def forward(
        self,
        query: Float[Tensor, "B H Q D"],
        memory: Memory,
        *,
        mask: Mask | Tensor = EVERYTHING,
        bias: Bias | Tensor | None = None,
        offset: int = 0,
    ) -> Float[Tensor, "B H Q E"]:
        """Attend without a call where nobody would see it."""
        key, value, hidden, _ = memory
        if (
            not observers
            and bias is None
            and isinstance(mask, Everything)
            and isinstance(hidden, Everything)
            and query.dtype in (torch.float32, torch.float64)  # half precision goes other ways on CPUs
            and query.shape[1] == key.shape[1]
            and not autocasts(query)
        ):
            return functional.scaled_dot_product_attention(query, key, value)
        return super().forward(query, memory, mask=mask, bias=bias, offset=offset)


def _fuses(module: nn.Module) -> bool:
    """Say whether a module's attention is the softmax of scaled products, with nothing else."""
    return (
        type(module) is Attention
        and type(module.score) is ScaledDot
        and type(module.normalizer) is Softmax
        and module.soft_cap is None
        and module.scale is None
        and module.way in (AUTO, STEADY)
        and not (module.training and module.dropout)
    )


def _view(module: nn.Module) -> nn.Module:
    own = module.__dict__
    kind = _plain_kind(_FusedAttention if _fuses(module) else type(module))
    if (
        kind is None
        or own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or "forward" in own
        or own.get("_compiled_call_impl") is not None
    ):
        return module
    view: Any = kind.__new__(kind)
    view.__dict__.update(own, **own["_parameters"], **own["_buffers"], _module=module)
    if own["_modules"]:
        parts = {name: part and _view(part) for name, part in own["_modules"].items()}
        view.__dict__.update(parts, _modules=parts)
    return cast(nn.Module, view)


def _set(view: nn.Module, name: str, value: object) -> None:
    """Let the module have what its `forward` keeps, a table that grows for instance."""
    setattr(view.__dict__["_module"], name, value)
    view.__dict__[name] = value


def _plain_kind(kind: type[nn.Module]) -> type[nn.Module] | None:
    """Return a kind of modules whose call is its `forward`; None where a call is more, or others ask for the type."""
    if kind not in _plain_kinds:
        if kind.__call__ is not nn.Module.__call__ or issubclass(kind, ScriptModule | Score | Normalizer):
            _plain_kinds[kind] = None
        else:
            own = {"__call__": kind.forward, "__setattr__": _set, "__module__": kind.__module__}
            _plain_kinds[kind] = type(kind.__name__, (kind,), own)
    return _plain_kinds[kind]
