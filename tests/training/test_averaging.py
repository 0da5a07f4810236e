from pathlib import Path

import pytest
import torch
from torch import Tensor

from regard.errors import DamagedError, OptionError
from regard.training.averaging import average_checkpoints
from regard.training.checkpoints import Checkpoint, checkpoint_folder, save


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Checkpoints 2, 3, 5 and 7 whose weights are their steps."""
    for step in (2, 3, 5, 7):
        save_weights(tmp_path, step, {"a": torch.full((3,), float(step)), "count": torch.tensor(step)})
    return tmp_path


def save_weights(run: Path, step: int, weights: dict[str, Tensor]) -> None:
    save(run, Checkpoint(step=step, weights=weights, optimizer={}, state={}))


def test_the_newest_are_averaged(run: Path) -> None:
    found = average_checkpoints(run, count=3, warn=pytest.fail)
    assert found.steps == [3, 5, 7]
    assert torch.equal(found.weights["a"], torch.full((3,), 5.0))
    assert found.weights["count"] == 7


def test_those_that_end_at_the_best_are_averaged(run: Path) -> None:
    found = average_checkpoints(run, count=2, ending_at=5, warn=pytest.fail)
    assert found.steps == [3, 5]
    assert torch.equal(found.weights["a"], torch.full((3,), 4.0))


def test_one_checkpoint_averages_to_itself_to_the_bit(tmp_path: Path) -> None:
    weights = {"a": torch.randn(101), "b": torch.randn(7).bfloat16()}
    save_weights(tmp_path, 2, weights)
    found = average_checkpoints(tmp_path, count=1, warn=pytest.fail).weights
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    assert found["b"].dtype == torch.bfloat16


def test_three_equal_checkpoints_average_to_themselves(tmp_path: Path) -> None:
    weights = {"a": torch.randn(101)}
    for step in (2, 3, 5):
        save_weights(tmp_path, step, weights)
    assert torch.equal(average_checkpoints(tmp_path, count=3, warn=pytest.fail).weights["a"], weights["a"])


def test_where_there_are_fewer_all_go_in(run: Path) -> None:
    assert average_checkpoints(run, count=11, warn=pytest.fail).steps == [2, 3, 5, 7]


def test_a_damaged_one_is_named_and_the_next_older_goes_in(run: Path) -> None:
    (checkpoint_folder(run, 5) / "weights.safetensors").write_bytes(b"")
    warnings: list[str] = []
    assert average_checkpoints(run, count=3, warn=warnings.append).steps == [2, 3, 7]
    (warning,) = warnings
    assert warning.startswith("The checkpoint of step 5 is damaged and passed over: ")


def test_checkpoints_of_two_models_are_not_mixed(run: Path) -> None:
    save_weights(run, 11, {"a": torch.zeros(5), "count": torch.tensor(11)})
    with pytest.raises(DamagedError, match=r"The checkpoints of steps 7 and 11 are not of the same model\."):
        average_checkpoints(run, count=2, warn=pytest.fail)


def test_where_none_is_whole_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match=rf"{tmp_path / 'checkpoints'} holds no whole checkpoint to average\."):
        average_checkpoints(tmp_path, count=3, warn=pytest.fail)


def test_none_at_all_cannot_be_averaged(run: Path) -> None:
    with pytest.raises(OptionError, match=r"The number of checkpoints to average \(0\) must be at least 1\."):
        average_checkpoints(run, count=0, warn=pytest.fail)
