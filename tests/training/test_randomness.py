import json

import pytest
import torch

from regard.errors import DamagedError
from regard.training.randomness import RandomState, preserved

CPU = torch.device("cpu")


def test_a_state_comes_back_from_json() -> None:
    torch.manual_seed(3)
    torch.randn(5)  # an odd number: half of a pair of normal numbers is kept in the state
    state = RandomState.capture(CPU)
    text = json.dumps(state.to_json())
    expected = torch.randn(7)
    RandomState.from_json(json.loads(text)).restore(CPU)
    assert torch.equal(torch.randn(7), expected)


def test_what_is_drawn_inside_leaves_no_trace() -> None:
    def work() -> None:
        with preserved(CPU):
            torch.randn(5)
            raise RuntimeError("work")

    torch.manual_seed(3)
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="work"):
        work()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "value", [{}, {"cpu": None}, {"cpu": ""}, {"cpu": "no base 64"}, {"cpu": "AAAA"}, {"cpu": "A" * 6744}]
)
def test_a_state_that_cannot_be_used_is_refused(value: dict[str, str]) -> None:
    before = torch.get_rng_state()
    with pytest.raises(DamagedError, match="The random states of the checkpoint cannot be used"):
        RandomState.from_json(value)
    assert torch.equal(torch.get_rng_state(), before)
