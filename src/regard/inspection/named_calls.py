"""Every call of a model with the name of the module that made it, to look at or to change while it runs."""

from collections.abc import Callable

from torch import Tensor, nn

from regard.attention.attend import Run
from regard.attention.call import AttentionCall
from regard.errors import WorkError
from regard.inspection.capture import untraced
from regard.inspection.watch import Watch

Handler = Callable[[str, AttentionCall, Run], Tensor]


class NamedCalls:
    """Hands every call of a model to a function `handle(name, call, run) -> context` while it is open.

    A module that ran and whose attention cannot be reached raises when this closes, as under the lens.
    """

    def __init__(self, model: nn.Module, handle: Handler) -> None:
        self.watch = Watch(model)
        self.handle = handle
        self.seen: dict[str, None] = {}
        self.placing: Callable[[], str | None] = self.watch.place

    def __enter__(self) -> "NamedCalls":
        assert not self.watch.opened, "this is open already"
        self.seen.clear()
        self.watch.open(self.around)
        self.placing = untraced(self.watch.place)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.watch.close()
        missing = self.watch.attendance.missing(self.seen)
        if missing and kind is None:
            raise WorkError(
                f"{missing[0] or 'The model'} ran and made no call of attention that can be reached: "
                f"{self.watch.attendance.reason(missing[0])}"
            )

    def around(self, call: AttentionCall, run: Run) -> Tensor:
        """Hand a call on, if it is the model's."""
        name = self.placing()
        if name is None:
            return run(call)
        self.seen[name] = None
        return self.handle(name, call, run)
