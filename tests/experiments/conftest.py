from pathlib import Path

import pytest

from regard.experiments.comparison import Comparison
from tests.experiments import tiny


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
