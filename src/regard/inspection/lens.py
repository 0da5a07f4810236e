"""The lens: which calls of attention a model makes, and what they look at.

    with regard.lens(model) as lens:
        model(source, lengths, target)
    lens["decoder.3.cross_attention"].weights()

It records calls, never weights: weights are computed afterwards, exactly, for what is asked for. Watching changes
nothing in the run. A call is named by the nearest `self` on the stack that is a module of the model.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention import attend
from regard.attention.attend import Run
from regard.attention.call import AttentionCall
from regard.attention.ways import reference
from regard.errors import OptionError, WorkError


class Site(Sequence[AttentionCall]):
    """The calls made at one place of a model, in order. Calls over the same keys read as one map.

    Attributes:
        name: Where in the model.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[AttentionCall] = []

    def __len__(self) -> int:
        return len(self.calls)

    def __getitem__(self, index: int) -> AttentionCall:  # type: ignore[override]
        return self.calls[index]

    def weights(self) -> Float[Tensor, "B H Q K"]:
        """Return how much each query used each key, in at least float32, the queries of all calls in order.

        Raises:
            WorkError: The calls look at different keys, so that they are no one map.
        """
        return self.maps(reference.weights)

    def scores(self) -> Float[Tensor, "B H Q K"]:
        """Return how alike queries and keys were, before the mask and the normalizer."""
        return self.maps(reference.scores)

    @torch.no_grad()
    def maps(self, compute: Callable[[AttentionCall], Tensor]) -> Float[Tensor, "B H Q K"]:
        """Compute one map a call and put them one below the other."""
        sizes = {tuple(call.key.shape[:3]) for call in self.calls}
        if len(sizes) != 1:
            raise WorkError(
                f"The calls at {self.name} look at keys of different shapes {sorted(sizes)}: "
                "they are not one map. Read them one by one, or decode under teacher forcing."
            )
        return torch.cat([compute(widened(call)) for call in self.calls], dim=2)


class Lens(Mapping[str, Site]):
    """The sites of a model that were seen, by name, in the order in which they came."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model  # kept, for its modules are known by their addresses
        self.names: dict[int, str] = {id(module): name for name, module in model.named_modules()}
        self.sites: dict[str, Site] = {}

    def __enter__(self) -> "Lens":
        attend.observers.append(self.around)
        return self

    def __exit__(self, *_: object) -> None:
        attend.observers.remove(self.around)

    def around(self, call: AttentionCall, run: Run) -> Tensor:
        """Note a call, and run it as it would have run."""
        name = self.name_of_caller()
        if name is not None:
            kept = call._replace(query=call.query.detach(), key=call.key.detach(), value=call.value.detach())
            self.sites.setdefault(name, Site(name)).calls.append(kept)
        return run(call)

    def name_of_caller(self) -> str | None:
        """Find the nearest module of the model on the stack; None if the call is another model's."""
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            owner = frame.f_locals.get("self")
            if isinstance(owner, nn.Module) and id(owner) in self.names:
                return self.names[id(owner)]
            frame = frame.f_back
        return None

    def __getitem__(self, name: str) -> Site:
        """Return a site by its name, or by a beginning of its name that no other site shares."""
        if name in self.sites:
            return self.sites[name]
        alike = [site for site in self.sites if site.startswith(name)]
        if len(alike) == 1:
            return self.sites[alike[0]]
        seen = ", ".join(self.sites) or "none: nothing that attends ran under the lens"
        fault = f"belongs to several ({', '.join(alike)})" if alike else "was not seen"
        raise OptionError(f"The site {name!r} {fault}. The sites seen are: {seen}.")

    def __iter__(self) -> Iterator[str]:
        return iter(self.sites)

    def __len__(self) -> int:
        return len(self.sites)


def lens(model: nn.Module) -> Lens:
    """Watch a model: `with regard.lens(model) as lens: model(...)`, then `lens["decoder.3.cross_attention"]`."""
    return Lens(model)


def widened(call: AttentionCall) -> AttentionCall:
    """Return a call of half precision in float32, where its score has no parameters of its own."""
    if call.query.dtype not in (torch.bfloat16, torch.float16) or not call.score.product:
        return call
    return call._replace(query=call.query.float(), key=call.key.float(), value=call.value.float())
