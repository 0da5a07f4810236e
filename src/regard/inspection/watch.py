"""A model that is watched: its modules by name, and an observer that sees every call while the watch is open.

The lens, which looks, and `NamedCalls`, which may change what it sees, are opened and closed alike, as `Watching`.
"""

import threading
from collections.abc import MutableMapping
from contextlib import ExitStack
from typing import Any, Self

from torch import Tensor, nn

from regard.attention import attend
from regard.attention.attend import Observer, Run
from regard.attention.call import AttentionCall
from regard.errors import OptionError, WorkError
from regard.inspection.capture import foreign_calls, place_of_call
from regard.inspection.unwatched import Attendance


class Watch:
    """Puts an observer in place while it is open, and names the module that makes a call.

    Attributes:
        attendance: Which modules of attention ran.
    """

    def __init__(self, model: nn.Module) -> None:
        if not isinstance(model, nn.Module):
            remedy = " Give its `model`." if isinstance(getattr(model, "model", None), nn.Module) else ""
            raise OptionError(f"model must be a torch.nn.Module; it is of type {type(model).__name__}.{remedy}")
        self.model = model  # kept, for its modules are known by their addresses
        self.names = {id(module): own_name(name) for name, module in model.named_modules()}
        self.attendance = Attendance(self.names, model)
        self.opened: ExitStack | None = None
        self.thread = 0

    def open(self, observer: Observer) -> None:
        """Show the observer the calls that this thread makes from now on."""
        self.opened = stack = ExitStack()
        stack.enter_context(foreign_calls(self.model))
        attend.observers.append(observer)
        stack.callback(attend.observers.remove, observer)
        self.attendance.open()
        stack.callback(self.attendance.close)
        self.thread = threading.get_ident()

    def close(self) -> None:
        """Leave everything as it was."""
        if self.opened is None:
            raise WorkError("This is not open: there is nothing to close.")
        stack, self.opened = self.opened, None
        stack.close()

    def place(self) -> str | None:
        """Name the module that makes the call; None if it is another model's, or comes from another thread."""
        return place_of_call(self.names) if threading.get_ident() == self.thread else None


class Watching:
    """Is shown every call of a model from entering to leaving it.

    Args:
        model: The model.
        seen: Holds the names of the places that calls were seen at; emptied on entering.
        partial: Whether a module of attention may have run without a call that was seen; else that raises on leaving.
    """

    def __init__(self, model: nn.Module, seen: MutableMapping[str, Any], *, partial: bool = False) -> None:
        self.watch = Watch(model)
        self.seen = seen
        self.partial = partial
        self.missing: list[str] = []

    def __enter__(self) -> Self:
        if self.watch.opened:
            raise WorkError("This is open already. Make another one of the same model.")
        self.seen.clear()
        self.missing = []
        self.watch.open(self.around)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.watch.close()
        self.missing = self.watch.attendance.missing(self.seen)
        if self.missing and kind is None and not self.partial:
            raise WorkError(self.fault_of_missing())

    def around(self, call: AttentionCall, run: Run) -> Tensor:
        """Take a call, and return its context."""
        raise NotImplementedError

    def fault_of_missing(self) -> str:
        """Name the first module that ran unseen, with the reason."""
        first = self.missing[0]
        return (
            f"{first or 'The model'} ran and made no call of attention that can be reached: "
            f"{self.watch.attendance.reason(first)}"
        )


def own_name(name: str) -> str:
    """Return a module's name without the wrapper that torch.compile puts around a model."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")
