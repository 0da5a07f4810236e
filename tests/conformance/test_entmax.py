"""The behavior that the package entmax publishes: its own tests with our normalizers, and both side by side."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from regard.attention.normalizers import Entmax, Entmax15, Normalizer, Sparsemax
from tests.attention.judge import assert_same

entmax = pytest.importorskip("entmax", reason="its behavior needs the package entmax (extra 'conformance')")

ROOT = Path(__file__).parent.parent.parent
MODULES = ["test_mask", "test_root_finding", "test_topk", "test_losses"]


@pytest.mark.slow
def test_the_tests_of_entmax_pass_with_our_normalizers() -> None:
    folder = Path(entmax.__file__).parent
    command = [sys.executable, "-m", "pytest", "-o", "addopts=-q", "-p", "no:cacheprovider"]
    command += ["-p", "tests.conformance.entmax_counterparts", "--rootdir", str(folder)]
    files = [str(folder / f"{name}.py") for name in MODULES]
    done = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "127 passed" in done.stdout


PAIRS: list[tuple[Normalizer, Any]] = [
    (Sparsemax(), lambda x: entmax.sparsemax(x, dim=-1)),
    (Entmax15(), lambda x: entmax.entmax15(x, dim=-1)),
    *[(Entmax(alpha), lambda x, a=alpha: entmax.entmax_bisect(x, a, dim=-1, n_iter=80)) for alpha in (1.1, 1.7, 3.0)],
]


def rows(spread: float) -> Tensor:
    """Draw rows of every kind: wide and narrow, with ties, with keys that are hidden."""
    torch.manual_seed(1)
    scores = spread * torch.randn(2, 3, 11, 67, dtype=torch.float64)
    scores[0, :, 3] = scores[0, :, 3].round()
    scores[0, :, 4] = 0.0
    scores[1, :, :, 41:] = -torch.inf
    scores[1, :, 5, 1:] = -torch.inf
    return scores


@pytest.mark.parametrize("spread", [0.01, 1.0, 30.0])
@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=lambda x: repr(x) if isinstance(x, Normalizer) else "")
def test_weights_and_gradients_are_those_of_entmax(ours: Normalizer, theirs: Any, spread: float) -> None:
    scores = rows(spread).requires_grad_()
    actual, expected = ours(scores, None), theirs(scores)
    assert_same(actual, expected, 1e-10)
    factors = torch.linspace(-1.0, 1.3, scores.numel(), dtype=torch.float64).view(scores.shape)
    found = [torch.autograd.grad((weights * factors).sum(), scores)[0] for weights in (actual, expected)]
    assert_same(found[0], found[1], 1e-7)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=lambda x: repr(x) if isinstance(x, Normalizer) else "")
def test_a_mask_is_minus_infinity_for_entmax(ours: Normalizer, theirs: Any) -> None:
    scores = rows(1.0)[:1]
    mask = torch.rand(scores.shape) < 0.6
    assert_same(ours(scores, mask), theirs(scores.masked_fill(~mask, -torch.inf)), 1e-10)
