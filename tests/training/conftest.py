import os

import pytest


@pytest.fixture
def fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that need not keep what it is told, for tests that see something else."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
