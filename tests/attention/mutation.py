"""Whether checks see a mutant: the code with one thing wrong."""

from collections.abc import Callable, Iterator

import pytest

Checks = Callable[[], Iterator[Callable[[], object]]]


def caught(patch: Callable[[pytest.MonkeyPatch], None], checks: Checks) -> str | None:
    """Return what the first check that fails says, or None if all of them pass."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        patch(monkeypatch)
        for check in checks():
            try:
                check()
            except Exception as error:  # a mutant may also crash
                return f"{type(error).__name__}: {error}"
    return None
