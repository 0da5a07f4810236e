"""A model that is watched: its modules by name, and an observer that sees every call while the watch is open.

The lens, which looks, and `NamedCalls`, which may change what it sees, open it alike.
"""

import threading
from contextlib import ExitStack

from torch import nn

from regard.attention import attend
from regard.attention.attend import Observer
from regard.errors import OptionError
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
        stack.enter_context(foreign_calls())
        attend.observers.append(observer)
        stack.callback(attend.observers.remove, observer)
        self.attendance.open()
        stack.callback(self.attendance.close)
        self.thread = threading.get_ident()

    def close(self) -> None:
        """Leave everything as it was."""
        assert self.opened is not None, "this is not open"
        stack, self.opened = self.opened, None
        stack.close()

    def place(self) -> str | None:
        """Name the module that makes the call; None if it is another model's, or comes from another thread."""
        return place_of_call(self.names) if threading.get_ident() == self.thread else None


def own_name(name: str) -> str:
    """Return a module's name without the wrapper that torch.compile puts around a model."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")
