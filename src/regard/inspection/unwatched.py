"""Modules that attend in a way that cannot be watched: they ran, and no call was seen. The lens is never silent."""

import threading
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from regard.inspection.capture import untraced

REMEDIES = {"sdpa": "_supports_sdpa", "flex_attention": "_supports_flex_attn"}
"""What the lens sees of the library transformers, with what says that a model can run it; the first is preferred."""


class Attendance:
    """Notes which modules of attention ran, by hooks on those modules alone; those of TorchScript count as run.

    PyTorch's own modules get none, since a hook would switch their fast path off; their calls are all watched.
    """

    def __init__(self, names: Mapping[int, str], model: nn.Module) -> None:
        self.model = model
        self.suspects = {names[id(module)]: module for module in suspects(model) if id(module) in names}
        self.ran: set[str] = set()
        self.elsewhere: set[str] = set()
        self.thread = 0
        self.handles: list[RemovableHandle] = []

    def open(self) -> None:
        """Put the hooks on; what ran before is forgotten."""
        self.thread = threading.get_ident()
        self.ran.clear()
        self.elsewhere.clear()
        for name, module in self.suspects.items():
            if isinstance(module, torch.jit.ScriptModule):  # takes no hooks; it is there to be run
                self.ran.add(name)
                continue
            self.handles.append(module.register_forward_pre_hook(self.note(name)))

    def close(self) -> None:
        """Take the hooks off."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()

    def note(self, name: str) -> Any:
        """Return a hook that notes that a module ran."""
        ran, elsewhere, thread = self.ran, self.elsewhere, self.thread

        def hook(module: nn.Module, _: Any) -> None:
            (ran if threading.get_ident() == thread else elsewhere).add(name)

        return untraced(hook)

    def missing(self, seen: Collection[str]) -> list[str]:
        """Return the innermost modules that ran and made no call that was seen, nor did one within or beside them."""
        ran = self.ran | self.elsewhere
        unseen = [name for name in self.suspects if name in ran and not any(within(site, name) for site in seen)]
        missing = [name for name in unseen if not self.belongs(name, seen)]
        return [name for name in missing if not any(other != name and within(other, name) for other in missing)]

    def belongs(self, name: str, seen: Collection[str]) -> bool:
        """Say whether the module is a part of another of attention, which made a call: a projection, a norm."""
        above = name.rpartition(".")[0]
        return above in self.suspects and any(within(site, above) for site in seen)

    def reason(self, name: str) -> str:
        """Say why a module cannot be watched, and what to do."""
        module = self.suspects[name]
        kind = kind_of(module)
        if name not in self.ran:
            return f"{kind} ran in another thread, whose calls are not watched. Watch it in the thread that runs it."
        if isinstance(module, torch.jit.ScriptModule):
            return f"{kind} was compiled by TorchScript, which runs past Python. Open the lens on the module before it."
        chosen = getattr(getattr(module, "config", None), "_attn_implementation", None)
        chosen = chosen or getattr(getattr(self.model, "config", None), "_attn_implementation", None)
        able = [name for name, flag in REMEDIES.items() if getattr(self.model, flag, False)]
        if chosen is not None and chosen not in REMEDIES and able:
            return (
                f"{kind} attends by its attention {chosen!r}, step by step or in a kernel of its own. "
                f'Call model.set_attn_implementation("{able[0]}") before the model runs.'
            )
        return (
            f"{kind} computes attention by operations of its own. Make it call F.scaled_dot_product_attention, or "
            "regard.attend, which the lens sees; where it has a mode that returns weights, use that."
        )


def suspects(model: nn.Module) -> list[nn.Module]:
    """Return the modules that are called after attention, but for PyTorch's own and the inside of their layers."""
    own = (nn.MultiheadAttention, nn.TransformerEncoderLayer)
    beyond = {id(inner) for module in model.modules() if isinstance(module, own) for inner in module.modules()}
    scripted: set[int] = set()
    found: list[nn.Module] = []
    for module in model.modules():
        if id(module) in beyond or id(module) in scripted:
            continue
        if isinstance(module, torch.jit.ScriptModule):
            scripted |= {id(inner) for inner in module.modules()}
            if any(called_attention(inner) for inner in module.modules()):
                found.append(module)
        elif called_attention(module):
            found.append(module)
    return found


def called_attention(module: nn.Module) -> bool:
    """Say whether a module is called after attention."""
    kind = kind_of(module).lower()
    return "attention" in kind or "attn" in kind


def kind_of(module: nn.Module) -> str:
    """Return the name of a module's class, as it was before TorchScript."""
    return str(getattr(module, "original_name", type(module).__name__))


def within(name: str, above: str) -> bool:
    """Say whether a module is another, or lies within it."""
    return above in ("", name) or name.startswith(f"{above}.")
