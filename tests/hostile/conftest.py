"""A run that was trained, with checkpoints, for tests that put something else into it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from regard.cli.main import main
from tests.cli.conftest import regard
from tests.tasks import tiny

__all__ = ["regard"]


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Fifteen pairs in two files."""
    folder = tmp_path_factory.mktemp("texts")
    source, target = folder / "source.txt", folder / "target.txt"
    source.write_text("".join(f"{line}\n" for line in tiny.LINES.sources))
    target.write_text("".join(f"{line}\n" for line in tiny.LINES.targets))
    return source, target


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, texts: tuple[Path, Path]) -> Path:
    """A run of four updates with two checkpoints."""
    run = tmp_path_factory.mktemp("runs") / "trained"
    source, target = map(str, texts)
    recipe = [
        *("model.model_dim=16", "model.feed_forward_dim=16", "model.num_heads=2", "model.encoder_layers=1"),
        *("model.decoder_layers=1", "training.save_every=2", "training.keep=2", "tokenizer.vocab_size=300"),
        *("data.batch_tokens=64", "average=1"),
    ]
    command = ["train", "--src", source, "--tgt", target, "--valid-src", source, "--valid-tgt", target]
    command += ["--out", str(run), "--max-updates", "4", "--precision", "float32", "--training.select_by=loss"]
    assert main([*command, *(part for value in recipe for part in ("--set", value))]) == 0
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it that may be spoiled."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models gain nothing by more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
