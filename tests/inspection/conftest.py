import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from regard.attention import attend

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(autouse=True)
def nobody_is_left_watching() -> Iterator[None]:
    """Fail the test that leaves an observer behind, instead of one after it."""
    yield
    left, attend.observers[:] = list(attend.observers), []
    assert left == []


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser for the tests marked `browser`."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no chromium on the PATH: the tests of the page in a browser need one (apt install chromium)")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()
