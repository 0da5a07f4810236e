import json
from typing import Any

import pytest
import torch
from torch import nn

from regard.errors import DamagedError
from regard.training.feed import Place
from regard.training.metrics import Totals
from regard.training.optimizers import Optimizer
from regard.training.precision import cast
from regard.training.selection import Selection
from regard.training.state import Snapshot, TrainingState, kept_buffers, restore_weights, weights_of
from tests.training.tiny import VALIDATION, TinyModel, objective

FULL = TrainingState(
    selection=Selection("bleu", 3, 7, 0.1 + 0.2, 2),
    step=11,
    place=Place(2, 5),
    seconds=1 / 3,
    skipped_in_row=1,
    validated_step=7,
    validated_epoch=1,
    totals=Totals(0.1, 0.2, 3, 5, 7, 1, 0.7),
    metrics_bytes=13,
)


def decode(value: dict[str, Any], by: str = "bleu", patience: int | None = 3) -> TrainingState:
    return TrainingState.from_json(json.loads(json.dumps(value)), by=by, patience=patience)


def test_a_state_comes_back_from_json_to_the_last_digit() -> None:
    assert decode(FULL.to_json()) == FULL


def test_another_patience_is_that_of_the_new_configuration() -> None:
    assert decode(FULL.to_json(), patience=None).selection == Selection("bleu", None, 7, 0.1 + 0.2, 2)


def test_another_measure_forgets_the_best() -> None:
    assert decode(FULL.to_json(), by="loss").selection == Selection("loss", 3)


@pytest.mark.parametrize(
    "change",
    [
        {"selection": {"by": "bleu"}},
        {"selection": None},
        {"totals": {"loss": 1.0, "os": 2}},
        {"place": [1]},
        {"place": "ab"},
        {"place": None},
    ],
)
def test_a_state_with_other_content_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DamagedError, match="The state of the checkpoint lacks or does not understand"):
        decode({**FULL.to_json(), **change})


@pytest.mark.parametrize("name", FULL.to_json())
def test_a_state_that_lacks_something_is_refused(name: str) -> None:
    value = FULL.to_json()
    del value[name]
    with pytest.raises(DamagedError, match=f"lacks or does not understand '{name}'"):
        decode(value)


@pytest.mark.parametrize(("place", "epoch"), [((0, 0), 1), ((0, 3), 1), ((1, 0), 1), ((1, 2), 2)])
def test_an_epoch_lasts_to_its_last_batch(place: tuple[int, int], epoch: int) -> None:
    assert TrainingState(selection=Selection("loss", None), place=Place(*place)).epoch == epoch


class Mixed(nn.Module):
    """A model with all that a state dict can hold."""

    table: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.inner = TinyModel()
        self.frozen = nn.Parameter(torch.randn(3), requires_grad=False)
        self.norm = nn.BatchNorm1d(5)
        self.register_buffer("table", torch.randn(7), persistent=False)


def test_everything_of_a_model_is_kept_once_and_in_full_precision() -> None:
    model = Mixed()
    exact = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = Optimizer(model, masters=cast(model, torch.bfloat16))
    weights = weights_of(model, optimizer)
    buffers = {"inner.seen", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    assert set(weights) == set(exact) | buffers
    for name, parameter in exact.items():
        if name != "frozen":
            assert torch.equal(weights[name], parameter)


def test_kept_weights_come_back_to_the_bit() -> None:
    def make(seed: int) -> tuple[Mixed, Optimizer]:
        torch.manual_seed(seed)
        model = Mixed()
        return model, Optimizer(model, masters=cast(model, torch.bfloat16))

    first, second = make(2), make(3)
    first[0].get_buffer("norm.running_mean").add_(1)
    restore_weights(*second, weights_of(*first))
    mine, other = first[0].state_dict(), second[0].state_dict()
    assert all(torch.equal(mine[name], other[name]) for name in mine)
    assert all(torch.equal(first[1].masters()[name], master) for name, master in second[1].masters().items())
    assert second[0].inner.output.weight is second[0].inner.embedding.weight


def test_weights_of_another_model_are_refused_by_name_and_nothing_changes() -> None:
    model = TinyModel()
    optimizer = Optimizer(model)
    weights = {name: tensor.clone() + 1 for name, tensor in weights_of(model, optimizer).items()}
    del weights["mix.bias"]
    weights["../../etc/passwd"] = torch.zeros(2)
    weights["mix.weight"] = torch.zeros(7, 5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(DamagedError) as caught:
        restore_weights(model, optimizer, weights)
    assert str(caught.value) == (
        "The checkpoint is of another model: mix.bias is missing; ../../etc/passwd is not of this model; "
        "mix.weight has the shape [7, 5], not [7, 7]."
    )
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_many_differences_are_counted() -> None:
    model = TinyModel()
    with pytest.raises(DamagedError, match=r"; and 8 more\."):
        restore_weights(model, Optimizer(model), {f"x{number}": torch.zeros(1) for number in range(8)})


def test_a_snapshot_takes_back_what_forward_passes_change() -> None:
    model = TinyModel()
    before, random = int(model.seen), torch.get_rng_state()
    snapshot = Snapshot(model, kept_buffers(model), torch.device("cpu"))
    objective(model, VALIDATION[0])
    assert int(model.seen) != before
    snapshot.restore_buffers()
    assert int(model.seen) == before
    assert not torch.equal(torch.get_rng_state(), random)
    snapshot.restore()
    assert torch.equal(torch.get_rng_state(), random)


OTHER: dict[str, list[Any]] = {
    "step": [None, "4", 4.0, True, -1, 10**30],
    "place": [None, [1], [1, 2, 3], ["a", 1], [1e300, 1], [0, -5]],
    "seconds": [None, "1", [], 10**400],
    "totals": [None, {"loss": "x"}, {"more": 1}, {"tokens": 0.5}],
    "selection": [None, {}, {"by": "bleu", "patience": 3, "step": "x", "score": 1.0}],
}


@pytest.mark.parametrize("change", [{name: value} for name, values in OTHER.items() for value in values])
def test_a_state_of_other_values_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DamagedError, match="The state of the checkpoint lacks or does not understand "):
        TrainingState.from_json(FULL.to_json() | change, by="bleu", patience=3)
