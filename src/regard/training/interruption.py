"""SIGINT and SIGTERM as a wish that the loop fulfils at the next place where stopping costs nothing.

The first signal only leaves a note, but for work whose results can be thrown away (validation), which it breaks off.
A second SIGINT is the user's impatience: KeyboardInterrupt at once. Files are whole at every moment.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class BrokenOffError(BaseException):
    """Raised inside `Interruption.breakable` by the first signal; no `except Exception` can swallow it."""


class Interruption:
    """Watches for signals while entered. Outside the main thread, where Python delivers none, it sees none.

    Attributes:
        signal: The first signal that came, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._breakable = False
        self._owner = os.getpid()
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether a signal came."""
        return self.signal is not None

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._owner:
            return  # a forked loader worker: its parent decides
        if self.requested:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self.signal = number
        if self._breakable:
            raise BrokenOffError

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """Let the first signal break off what runs inside, by `BrokenOffError`."""
        if self.requested:
            raise BrokenOffError
        self._breakable = True
        try:
            yield
        finally:
            self._breakable = False
