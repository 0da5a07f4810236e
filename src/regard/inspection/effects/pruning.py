"""Pruning: heads taken out of a model for good, so that what is left is smaller and computes what is left.

    prune(model, {"decoder.3.cross_attention": [0, 2]})

Our models can be pruned, and BERT, GPT-2, T5, ViT and their kin in the library transformers, which dropped its own
pruning in version 5 (`head_layouts`). A pruned model gives what it gave with the context of those heads at zero. Prune
before an optimizer is made: the parameters are new ones.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from regard.errors import OptionError
from regard.inspection.effects.head_layouts import Layout, layout_of
from regard.inspection.selection import whole_numbers


class Prunable:
    """A module with heads, known by the table, and its place in a model."""

    def __init__(self, model: nn.Module, name: str, layout: Layout) -> None:
        self.name = name
        self.module: Any = model.get_submodule(name)
        self.layout = layout
        path = self.layout.output
        beside = path.startswith("..")
        root = name.rpartition(".")[0] if beside else name
        self.output = model.get_submodule(".".join(filter(None, (root, path[2:] if beside else path))))
        self.inward = self.projections()
        self.head_dim: int = getattr(self.module, self.layout.head_dim)
        self.heads = width(self.output, "in") // self.head_dim
        self.shared = self.shared_heads()

    def projections(self) -> dict[str, str]:
        """Return the projections that there are; where the query has its own, a packed one makes keys and values."""
        there = {name: kinds for name, kinds in self.layout.inward.items() if hasattr(self.module, name)}
        alone = "q" in there.values()
        return {name: kinds.replace("q", "") if alone and len(kinds) == 3 else kinds for name, kinds in there.items()}

    def shared_heads(self) -> int:
        """Return how many heads keys and values have."""
        name, kinds = next((name, kinds) for name, kinds in self.inward.items() if "k" in kinds)
        total = width(getattr(self.module, name), "out") // self.head_dim
        shared: int = (total - self.heads * kinds.count("q")) // (len(kinds) - kinds.count("q"))
        return shared

    def cut(self, gone: Sequence[int]) -> None:
        """Take heads out."""
        kept = [head for head in range(self.heads) if head not in gone]
        kept_shared = self.shared_left(kept)
        for name, kinds in self.inward.items():
            rows, start = [], 0
            for kind in kinds:
                rows += [start + row for row in self.rows(kept if kind == "q" else kept_shared)]
                start += (self.heads if kind == "q" else self.shared) * self.head_dim
            narrow(getattr(self.module, name), "out", rows)
        narrow(self.output, "in", self.rows(kept))
        if getattr(self.module, "has_relative_attention_bias", False):
            narrow(self.module.relative_attention_bias, "out", kept)
        number, before = getattr(self.module, "original_heads", (self.heads, list(range(self.heads))))
        self.module.original_heads = (number, [before[head] for head in kept])
        self.layout.settle(self.module, len(kept), len(kept_shared))
        self.heads, self.shared = len(kept), len(kept_shared)

    def rows(self, heads: Sequence[int]) -> list[int]:
        """Return which rows of a projection belong to heads."""
        return [head * self.head_dim + row for head in heads for row in range(self.head_dim)]

    def shared_left(self, kept: Sequence[int]) -> list[int]:
        """Return which heads of keys and values are still used: all their queries' heads may go, or as many of each."""
        group = self.heads // self.shared
        left = [sum(head // group == number for head in kept) for number in range(self.shared)]
        if len({count for count in left if count}) > 1:
            raise OptionError(
                f"{self.name} has {self.heads} heads over {self.shared} heads of keys and values; what is asked for "
                f"leaves {left} of each. Prune as many of each, or all of one."
            )
        return [number for number, count in enumerate(left) if count]

    def check(self, gone: Sequence[int]) -> None:
        """Raise if these heads cannot go."""
        wrong = [head for head in gone if not 0 <= head < self.heads]
        if wrong or len(set(gone)) < len(gone):
            raise OptionError(
                f"{self.name} has heads 0 to {self.heads - 1}, counted as they are now; it was asked to lose "
                f"{', '.join(map(str, gone))}. Name each once."
            )
        if len(gone) == self.heads:
            raise OptionError(
                f"{self.name} cannot lose all of its {self.heads} heads. Leave one, or take the layer out of the model."
            )
        if any(True for part in getattr(self.module, "attention", nn.Identity()).parameters() if part.numel()):
            raise OptionError(
                f"{self.name} attends by parts with parameters of their own, which may be a head's. Prune models whose "
                "score and normalizer have none, or switch heads off with interventions.HeadsOff."
            )
        self.shared_left([head for head in range(self.heads) if head not in gone])


def prune(model: nn.Module, heads: Mapping[str, Sequence[int]]) -> None:
    """Take heads out of a model for good, by the names of the modules that `regard.lens` gives, all or none.

    Heads are counted as they are now, as everywhere: after head 0 is gone, head 1 is head 0. `pruned_heads` remembers
    how they were counted first.

    Raises:
        OptionError: A module is not known or has no such heads, or would lose all of them.
    """
    found = [(prunable(model, name), gone) for name, gone in named_heads(heads).items() if gone]
    names = [site.name for site, _ in found]
    if len(set(names)) < len(names):
        raise OptionError(f"heads names a module twice: {', '.join(names)}. Name each once.")
    for site, gone in found:
        site.check(gone)
    for site, gone in found:
        if site.layout.shares_bias:
            give_own_bias(model, site.name, site.layout.shares_bias)
        site.cut(gone)


def named_heads(heads: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Return heads as whole numbers by module, or raise where they are given otherwise."""
    if not isinstance(heads, Mapping):
        raise OptionError(f"heads must name modules, {{name: [0, 2]}}; it is of type {type(heads).__name__}.")
    return {name: whole_numbers(f"heads of {name}", gone) for name, gone in heads.items()}


def pruned_heads(model: nn.Module) -> dict[str, list[int]]:
    """Return which heads were pruned, by module and counted as the model was built: what prunes a fresh one alike."""
    found = {}
    for name, module in model.named_modules():
        number, kept = getattr(module, "original_heads", (0, []))
        if number:
            found[name] = sorted(set(range(number)) - set(kept))
    return found


def prunable(model: nn.Module, name: str) -> Prunable:
    """Find the module with heads by its name, or by that of the Attention inside."""
    modules = dict(model.named_modules())
    for place in (name, name.rpartition(".")[0]):
        layout = layout_of(modules.get(place))
        if layout is not None:
            return Prunable(model, place, layout)
    known = [place for place, module in modules.items() if layout_of(module) is not None]
    kind = f"is a {type(modules[name]).__name__}, which" if name in modules else "is no module of the model and"
    raise OptionError(
        f"{name!r} {kind} cannot be pruned. What can be: {', '.join(known) or 'nothing here'}. "
        "Any head can be switched off with interventions.HeadsOff."
    )


def width(projection: Any, side: str) -> int:
    """Return how much goes into a projection or comes out of it."""
    size: int = projection.weight.shape[axis_of(projection, side)]
    return size


def axis_of(projection: Any, side: str) -> int:
    """Return the axis of a side: [out, in] in a Linear, [in, out] in GPT-2's Conv1D and an Embedding."""
    return int((side == "in") == isinstance(projection, nn.Linear))


def narrow(projection: Any, side: str, kept: Sequence[int]) -> None:
    """Keep these rows or columns of a projection."""
    index = torch.tensor(kept, device=projection.weight.device)
    projection.weight = chosen(projection.weight, axis_of(projection, side), index)
    if side == "out" and getattr(projection, "bias", None) is not None:
        projection.bias = chosen(projection.bias, 0, index)
    for attribute in {"in": ("in_features", "nx"), "out": ("out_features", "nf", "embedding_dim")}[side]:
        if hasattr(projection, attribute):
            setattr(projection, attribute, len(kept))


def chosen(parameter: nn.Parameter, axis: int, index: Tensor) -> nn.Parameter:
    """Return a parameter of what is kept."""
    return nn.Parameter(parameter.detach().index_select(axis, index), requires_grad=parameter.requires_grad)


def give_own_bias(model: nn.Module, name: str, kind: str) -> None:
    """Give every layer of the stack around a module its own copy of the first one's position bias.

    T5's first layer computes the bias of all its heads and hands it to the layers behind it, which would not fit once
    they have other heads. Does nothing where it was done.
    """
    parts = name.split(".")
    above = [model.get_submodule(".".join(parts[:depth])) for depth in range(len(parts))]
    stack = next(module for module in above if type(module).__name__ == kind)
    class_of_member = type(model.get_submodule(name))
    members: dict[str, Any] = {
        place: module for place, module in stack.named_modules() if type(module) is class_of_member
    }
    first = next(iter(members.values()))
    if hasattr(first, "bias_is_own"):
        return
    for place, member in members.items():
        member.bias_is_own = True
        member.register_forward_pre_hook(without_shared_bias, with_kwargs=True)
        if place.endswith("SelfAttention") and not member.has_relative_attention_bias:
            member.has_relative_attention_bias = True
            member.relative_attention_bias = copy.deepcopy(first.relative_attention_bias)


def without_shared_bias(
    module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Drop the bias of another layer from the arguments, so that a layer computes its own."""
    return given, named | {"position_bias": None}
