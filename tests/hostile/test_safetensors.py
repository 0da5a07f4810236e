"""Thousands of files that lie: read as the safetensors library reads them, or refused, in bounded time and memory."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.mutations import KINDS

MAY_BE_READ = ("unchanged", "another_name", "names_twice")
"""Of a name that stands twice the library takes the last; a name is a name, whatever path it looks like."""

ROOT = Path(__file__).parent.parent.parent


def judged(folder: Path, first: int, last: int) -> dict[str, Any]:
    """Judge files in a process that may take 600 MB more than it has and 3 seconds a file."""
    inner = folder / "deep" / "deeper"
    inner.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.judging", str(inner), str(first), str(last)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=3_000,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == [
        "deep",
        "deep/deeper",
        "deep/deeper/given",
    ]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def require_good(found: dict[str, Any], cases: int) -> None:
    """Nothing but refusals and what the library reads."""
    counts = found["counts"]
    assert {name: at for name, at in counts.items() if name.split(": ", 1)[1] not in ("refused", "read")} == {}
    assert sum(count for count, _ in counts.values()) == cases
    assert found["slowest"] < 3
    assert counts.keys() >= {f"{kind.__name__}: refused" for kind in KINDS if kind.__name__ not in MAY_BE_READ}
    assert "unchanged: refused" not in counts


def test_hundreds_of_lies_are_refused_or_read_as_the_library_reads_them(tmp_path: Path) -> None:
    require_good(judged(tmp_path, 0, 400), 400)


@pytest.mark.slow
def test_ten_thousand_lies_are_refused_or_read_as_the_library_reads_them(tmp_path: Path) -> None:
    require_good(judged(tmp_path, 400, 10_444), 10_044)
