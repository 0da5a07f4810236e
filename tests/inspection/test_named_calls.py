"""Calls with their names, to look at or to change while they run."""

import pytest
import torch
from torch import Tensor, nn

from regard.attention import attend
from regard.attention.attend import Run
from regard.attention.call import AttentionCall
from regard.errors import WorkError
from regard.inspection.named_calls import NamedCalls
from tests.inspection.products import Products, tensors
from tests.inspection.test_unwatched import StepByStepAttention


def test_each_call_comes_with_its_name_and_may_be_changed() -> None:
    model = nn.ModuleDict({"first": Products(), "second": Products()})
    query, key, value = tensors()
    plain = model["first"](query, key, value)

    def without_second(name: str, call: AttentionCall, run: Run) -> Tensor:
        return run(call) * (name == "first")

    with NamedCalls(model, without_second) as calls:
        outputs = [model[name](query, key, value) for name in ("first", "second")]
        other = Products()(query, key, value)  # of no module of the model
    assert list(calls.seen) == ["first", "second"]
    assert torch.equal(outputs[0], plain)
    assert torch.equal(other, plain)
    assert outputs[1].count_nonzero() == 0
    assert attend.observers == []


def test_names_are_those_since_it_was_entered_last() -> None:
    model = nn.ModuleDict({"first": Products(), "second": Products()})
    calls = NamedCalls(model, lambda name, call, run: run(call))
    for name in ("first", "second"):
        with calls:
            model[name](*tensors())
        assert list(calls.seen) == [name]


def test_attention_that_cannot_be_reached_raises_with_its_name() -> None:
    model = nn.ModuleDict({"attn": StepByStepAttention()})
    with (
        pytest.raises(WorkError, match=r"^attn ran and made no call of attention that can be reached: StepByStep"),
        NamedCalls(model, lambda name, call, run: run(call)),
    ):
        model["attn"](tensors()[0])
