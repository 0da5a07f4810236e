"""Every call of a model with the name of the module that made it, to look at or to change while it runs."""

from collections.abc import Callable
from typing import Self

from torch import Tensor, nn

from regard.attention.attend import Run
from regard.attention.call import AttentionCall
from regard.inspection.capture import untraced
from regard.inspection.watch import Watching

Handler = Callable[[str, AttentionCall, Run], Tensor]


class NamedCalls(Watching):
    """Hands every call of a model to a function `handle(name, call, run) -> context` while it is open.

    A module that ran and whose attention cannot be reached raises when this closes, as under the lens.
    """

    def __init__(self, model: nn.Module, handle: Handler) -> None:
        self.handle = handle
        self.seen: dict[str, None] = {}
        super().__init__(model, self.seen)
        self.placing: Callable[[], str | None] = self.watch.place

    def __enter__(self) -> Self:
        self.placing = untraced(self.watch.place)
        return super().__enter__()

    def around(self, call: AttentionCall, run: Run) -> Tensor:
        """Hand a call on, if it is the model's."""
        name = self.placing()
        if name is None:
            return run(call)
        self.seen[name] = None
        return self.handle(name, call, run)
