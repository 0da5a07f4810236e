import pytest
import torch
from torch import Tensor, nn

from regard.attention import attend
from regard.attention.attend import Attention
from regard.attention.lengths import Padding
from regard.attention.patterns import Causal
from regard.attention.ways import reference
from regard.errors import OptionError
from regard.inspection.statistics.telemetry import Telemetry
from tests.inspection.calls import call_of


class Model(nn.Module):
    """One attention over itself."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(11, 11)
        self.attention = Attention(dropout=0.3)

    def forward(self, states: Tensor) -> Tensor:
        query = self.project(states)
        context: Tensor = self.attention(query, self.attention.remember(states, states), mask=Causal())
        return context


def train(telemetry: Telemetry | None, updates: int = 7) -> tuple[Model, list[int]]:
    """Train a model, and return it with the updates that were sampled."""
    torch.manual_seed(1)
    model = Model()
    if telemetry is not None:
        telemetry.model = model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sampled = []
    for step in range(1, updates + 1):
        model(torch.randn(2, 3, 13, 11)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        if telemetry is not None and telemetry.updated(step) is not None:
            sampled.append(step)
    if telemetry is not None:
        telemetry.close()
        assert attend.observers == []
    return model, sampled


def test_updates_are_sampled_at_their_multiples() -> None:
    telemetry = Telemetry(Model(), every=3, share=1.0)
    assert train(telemetry)[1] == [3, 6]


def test_training_comes_to_the_same_weights_with_telemetry() -> None:
    plain, watched = train(None)[0], train(Telemetry(Model(), every=1, share=1.0))[0]
    assert torch.equal(plain.project.weight, watched.project.weight)


def test_sampled_queries_are_those_of_the_whole_map() -> None:
    telemetry = Telemetry(Model(), queries=5)
    call = call_of(queries=13, keys=13, mask=Causal())
    telemetry.take("attention", call)
    weights = reference.weights(call)
    entropy = -torch.xlogy(weights, weights).sum(-1)  # [B H Q]
    runs = [entropy[:, :, start : start + 5].mean((0, 2)) for start in range(9)]
    assert any(torch.allclose(telemetry.running["attention"].mean("entropy"), run) for run in runs)
    assert telemetry.running["attention"].number("entropy").tolist() == [10.0] * 3


def test_padding_does_not_count_in_a_part_of_the_queries_either() -> None:
    telemetry = Telemetry(Model(), queries=11)
    for _ in range(5):
        telemetry.take("attention", call_of(queries=13, keys=13, mask=Padding(torch.tensor([13, 2]))))
        number = telemetry.running["attention"].number("entropy").tolist()
        assert number[0] <= telemetry.running["attention"].calls * 13


def test_a_site_with_many_calls_is_looked_at_a_few_times() -> None:
    telemetry = Telemetry(Model(), calls=3)
    for _ in range(7):
        telemetry.take("attention", call_of(queries=1))
    assert telemetry.running["attention"].calls == 3


def test_evaluation_is_not_looked_at() -> None:
    telemetry = Telemetry(Model().eval())
    telemetry.take("attention", call_of())
    assert len(telemetry.running) == 0


def test_samples_are_left_out_where_they_took_too_much_of_the_time() -> None:
    telemetry = Telemetry(Model(), every=1)
    telemetry.spent = 1e6
    assert train(telemetry)[1] == []


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(OptionError, match="every of telemetry must be 1 or more; it is 0"):
        Telemetry(Model(), every=0)
    with pytest.raises(OptionError, match=r"share of telemetry must lie above 0 and not above 1; it is 2"):
        Telemetry(Model(), share=2.0)
