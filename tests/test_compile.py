"""What the files named `compiled.py` hold goes through torch.compile without a break in the graph."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_compiled_code_has_no_break_in_its_graph() -> None:
    files = sorted(str(path) for path in Path(__file__).parent.rglob("compiled.py"))
    command = [sys.executable, "-m", "pytest", "-o", "addopts=-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
