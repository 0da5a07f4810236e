import sys
from pathlib import Path

import pytest

from regard.errors import OptionError
from regard.training.events import Logged, Saved, Validated, Warned
from regard.training.selection import Selection
from regard.training.tensorboard import TensorBoard


def test_lines_and_validations_become_scalars(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def session(*steps: int) -> None:
        with TensorBoard(tmp_path) as board:
            board(Warned(text="nothing to write"))
            for step in steps:
                board(Logged(line={"step": step, "seconds": 1.0, "loss": 0.5 * step, "note": "text"}))
                board(Validated(step=step, scores={"bleu": 2.0 * step}, selection=Selection("bleu", None)))
                board(Saved(step=step, folder=tmp_path))

    session(2, 3, 5)
    session(3, 7)
    found = EventAccumulator(str(tmp_path))
    found.Reload()
    assert sorted(found.Tags()["scalars"]) == ["train/loss", "valid/bleu"]
    assert [(event.step, event.value) for event in found.Scalars("train/loss")] == [(2, 1.0), (3, 1.5), (7, 3.5)]
    assert [(event.step, event.value) for event in found.Scalars("valid/bleu")] == [(2, 4.0), (3, 6.0), (7, 14.0)]


def test_without_the_package_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(OptionError, match=r"TensorBoard is not installed\. Install it with `pip install"):
        TensorBoard(tmp_path)
