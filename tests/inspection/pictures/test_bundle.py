"""The bundle in the package is what its sources in `web/` give."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from regard.inspection.pictures.standalone import part

WEB = Path(__file__).parents[3] / "web"


def digest_of_sources() -> str:
    """As web/build.mjs computes it."""
    digest = hashlib.sha256()
    for path in sorted((WEB / "src").iterdir(), key=lambda path: path.name):
        digest.update(f"{path.name}\n".encode() + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


@pytest.mark.parametrize("name", ["atlas.js", "atlas-widget.js", "atlas.css"])
def test_a_bundle_names_the_sources_that_it_was_built_of(name: str) -> None:
    found = re.search("Sources: ([0-9a-f]{64})", part(name))
    assert found
    assert found[1] == digest_of_sources(), "run npm ci && npm run build in web/"


def test_building_again_gives_the_same_bundle() -> None:
    node = shutil.which("node")
    if node is None or not (WEB / "node_modules").exists():
        pytest.skip("needs node and its packages: npm ci in web/")
    outcome = subprocess.run([node, "build.mjs", "--check"], cwd=WEB, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize("name", ["atlas.js", "atlas-widget.js"])
def test_the_script_parses_no_markup_and_asks_nobody(name: str) -> None:
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(|DOMParser|fetch\(|XMLHttp|WebSocket"
        r"|import\(|https?://(?!www\.w3\.org/2000/svg)"
    )
    assert not re.search(forbidden, part(name))
