"""Our modules, exported to ONNX, give the same results in onnxruntime: what `exported.py` holds."""

import subprocess
import sys
from pathlib import Path

import pytest

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package, reason=f"what is exported to ONNX is run with {package} (extra 'conformance')")


@pytest.mark.slow
def test_what_is_exported_runs_elsewhere_with_the_same_result() -> None:
    command = [sys.executable, "-m", "pytest", "-o", "addopts=-q", "-p", "no:cacheprovider"]
    here = Path(__file__).parent
    done = subprocess.run(
        [*command, str(here / "exported.py")], cwd=here.parent.parent, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
