"""Differences of two models, against whole maps."""

import copy

import pytest
import torch
from torch import Tensor

from regard.errors import OptionError, ShapeError, WorkError
from regard.inspection.effects import difference as comparing
from regard.inspection.effects.difference import difference, differences, divergence, ranked_differences
from regard.inspection.effects.pruning import prune
from regard.inspection.lens import lens
from tests.inspection.calls import call_of
from tests.inspection.planted import COPIER, HEADS, LENGTH, PlantedCopy, texts
from tests.inspection.test_lens import batch, recurrent, transformer


def changed() -> PlantedCopy:
    """The head that copies looks elsewhere."""
    model = PlantedCopy()
    with torch.no_grad():
        rows = slice(COPIER[1] * LENGTH, (COPIER[1] + 1) * LENGTH)
        model.get_parameter("layers.1.query_key_value.weight")[rows].neg_()
    return model


def test_autocast_takes_no_digits_from_a_difference() -> None:
    model = transformer()
    with lens(model) as seen:
        model(*batch())
    one, other = seen["decoder.0.self_attention"], seen["decoder.1.self_attention"]
    exact = difference(one, other)
    with torch.autocast("cpu", torch.bfloat16):
        under = difference(one, other)
    assert float(exact.divergence.min()) > 0
    assert torch.equal(under.divergence, exact.divergence)
    assert torch.equal(under.largest, exact.largest)


def test_what_is_not_a_number_is_not_called_the_same() -> None:
    call = call_of()
    query = call.query.clone()
    query[0, 1, 3] = torch.nan
    found = difference([call], [call._replace(query=query)])
    assert found.divergence.isnan().nonzero().tolist() == [[0, 1]]
    assert found.largest.isnan().nonzero().tolist() == [[0, 1]]


@pytest.mark.parametrize("block", [3, 256])
def test_the_head_that_changed_is_found(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "BLOCK", block)
    one, other, tokens = PlantedCopy(), changed(), texts()
    found = differences(one, other, lambda model: model(tokens))
    first, *rest = ranked_differences(found)
    assert first.site.startswith("layers.1")
    assert first.head == COPIER[1]
    assert all(head.importance == pytest.approx(0, abs=1e-12) for head in rest)
    assert len(rest) == 2 * HEADS - 1
    with lens(one) as before, lens(other) as after:
        one(tokens)
        other(tokens)
    maps = before[first.site].weights(), after[first.site].weights()
    there = found[first.site]
    assert torch.allclose(there.divergence, divergence(*maps).mean(-1))
    assert torch.allclose(there.largest, (maps[0] - maps[1]).abs().amax((2, 3)))
    assert torch.allclose(there.same_choice, (maps[0].argmax(-1) == maps[1].argmax(-1)).double().mean(-1))


def test_the_divergence_is_that_of_jensen_and_shannon() -> None:
    one = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5], [0, 0, 0]], dtype=torch.float64)
    other = torch.tensor([[0, 0.4, 0.6], [0.5, 0, 0.5], [0.4, 0.6, 1.0], [0, 0, 0]], dtype=torch.float64)
    # Apart; half apart; the same but for their sum; nothing.
    assert torch.allclose(divergence(one, other), torch.tensor([1.0, 0.5, 0.0, 0.0], dtype=torch.float64))


def test_only_the_queries_that_count_are_counted() -> None:
    one, other, tokens = PlantedCopy(), changed(), texts(2)
    queries = torch.zeros(2, LENGTH, dtype=torch.bool)
    queries[:, 0] = True  # the first query has one key alone
    found = differences(one, other, lambda model: model(tokens), queries=queries)
    assert all(bool((one.divergence == 0).all()) and bool((one.same_choice == 1).all()) for one in found.values())


def test_steps_are_compared_one_by_one() -> None:
    model = recurrent()
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(3)
    found = differences(model, other, lambda one: one(*batch()))
    assert all(there.divergence.shape == (2, 1) and bool((there.divergence > 0).all()) for there in found.values())


def test_places_are_paired_by_hand() -> None:
    model = transformer()
    pairs = {"decoder.0.cross_attention": "decoder.2.cross_attention"}
    found = differences(model, model, lambda one: one(*batch()), names=pairs)
    assert list(found) == ["decoder.0.cross_attention"]
    assert bool((found["decoder.0.cross_attention"].divergence > 0).all())


def test_what_cannot_be_compared_is_told() -> None:
    model, other = transformer(), transformer()
    prune(other, {"decoder.1.self_attention": [0]})

    def run(one: torch.nn.Module) -> Tensor:
        return one(*batch())  # type: ignore[no-any-return]

    with pytest.raises(ShapeError, match=r"decoder\.1\.self_attention.*1 maps of 2x2x5x5 and 1 maps of 2x1x5x5"):
        differences(model, other, run)
    pairs = {"decoder.0.self_attention": "decoder.0.self_attention"}
    with pytest.raises(
        OptionError, match=r"Of the other model: The site 'decoder\.0\.self_attention' was not seen\. The"
    ):
        differences(model, recurrent(), run, names=pairs)
    with pytest.raises(WorkError, match=r"No attention of the model ran\. Let run\(model\) run"):
        differences(torch.nn.Linear(2, 3), torch.nn.Linear(2, 3), lambda one: one(torch.ones(2)))
    wrong = torch.ones(2, 5)
    with pytest.raises(
        ShapeError, match=r"queries must be boolean and say for \[2, 7\].* torch\.float32 of shape \[2, 5\]"
    ):
        differences(model, model, run, queries=wrong)
