from pathlib import Path

import pytest
import torch

from regard.experiments.comparison import Comparison
from tests.experiments import tiny


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models of this size are slower on several threads, and on a busy machine much slower."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the comparison that tests read was made; none changes it."""
    return tmp_path_factory.mktemp("compared") / "out"


@pytest.fixture(scope="session")
def comparison(folder: Path) -> Comparison:
    """Two models with two seeds."""
    found = tiny.compared(folder)
    assert isinstance(found, Comparison)
    return found
