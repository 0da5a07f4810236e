"""What holds for all tests of attention."""

import pytest

from regard.attention.ways import additive, products, streamed, windowed


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ways that work in blocks have several even for the small calls of the tests, of different sizes."""
    monkeypatch.setattr(additive, "TILE", 150)
    monkeypatch.setattr(additive, "ROWS", 2)
    monkeypatch.setattr(products, "CACHED", 2 * 5 * 7)
    monkeypatch.setattr(products, "BY_HAND_FROM", 0)
    monkeypatch.setattr(streamed, "SCORES", 1)
    monkeypatch.setattr(streamed, "ROWS", 2)
    monkeypatch.setattr(windowed, "ROWS", 3)
    monkeypatch.setattr(windowed, "COLUMNS", 2)
