"""Every call of a model with the name of the module that made it, to look at or to change while it runs."""

import threading
from collections.abc import Callable
from contextlib import ExitStack

from torch import Tensor, nn

from regard.attention import attend
from regard.attention.attend import Run
from regard.attention.call import AttentionCall
from regard.errors import WorkError
from regard.inspection.capture import foreign_calls, place_of_call, untraced
from regard.inspection.lens import own_name
from regard.inspection.unwatched import Attendance

Handler = Callable[[str, AttentionCall, Run], Tensor]


class NamedCalls:
    """Hands every call of a model to a function `handle(name, call, run) -> context` while it is open.

    A module that ran and whose attention cannot be reached raises when this closes, as under the lens.
    """

    def __init__(self, model: nn.Module, handle: Handler) -> None:
        self.model = model  # kept, for its modules are known by their addresses
        self.names = {id(module): own_name(name) for name, module in model.named_modules()}
        self.handle = handle
        self.attendance = Attendance(self.names, model)
        self.seen: dict[str, None] = {}
        self.opened: list[ExitStack] = []
        self.thread = 0
        self.placing: Callable[[], str | None] = self.place

    def __enter__(self) -> "NamedCalls":
        assert not self.opened, "this is open already"
        self.seen.clear()
        stack = ExitStack()
        stack.enter_context(foreign_calls())
        attend.observers.append(self.around)
        stack.callback(attend.observers.remove, self.around)
        self.attendance.open()
        stack.callback(self.attendance.close)
        self.opened.append(stack)
        self.thread = threading.get_ident()
        self.placing = untraced(self.place)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.opened.pop().close()
        missing = self.attendance.missing(self.seen)
        if missing and kind is None:
            raise WorkError(
                f"{missing[0] or 'The model'} ran and made no call of attention that can be reached: "
                f"{self.attendance.reason(missing[0], self.model)}"
            )

    def around(self, call: AttentionCall, run: Run) -> Tensor:
        """Hand a call on, if it is the model's."""
        name = self.placing()
        if name is None:
            return run(call)
        self.seen[name] = None
        return self.handle(name, call, run)

    def place(self) -> str | None:
        """Name the module that makes the call; None if it is another model's."""
        return place_of_call(self.names) if threading.get_ident() == self.thread else None
