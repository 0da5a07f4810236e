"""Belief: each number against interventions written out, and what is flagged on heads of which all is known."""

from typing import Any

import pytest
import torch
from torch import Tensor

from regard.attention.attend import Attention
from regard.attention.normalizers import Normalizer, Softmax, Sparsemax
from regard.attention.ways import reference
from regard.errors import OptionError, WorkError
from regard.inspection.effects.belief import Belief, measure_belief, rank_correlation, total_variation
from regard.inspection.effects.interventions import Hidden, evened, intervene
from regard.inspection.lens import lens
from tests.inspection.planted import COPIER, HEADS, LENGTH, PlantedCopy, texts
from tests.inspection.test_lens import batch, recurrent

SITE, HEAD = COPIER


def measured(model: PlantedCopy, site: str, head: int, tokens: Tensor) -> Belief:
    return measure_belief(model, lambda: model(tokens), site, heads=[head])


def test_the_head_that_copies_is_believed_and_matters_most() -> None:
    model, tokens = PlantedCopy(), texts()
    found = {
        (site, head): measured(model, site, head, tokens) for site in ("layers.0", "layers.1") for head in range(HEADS)
    }
    planted = found["layers.1", HEAD]
    assert planted.doubts() == []
    assert planted.values is not None
    assert str(planted).endswith("The weights may be believed.")
    for which in ("off", "erased_most"):
        assert max(found, key=lambda place: getattr(found[place], which)) == ("layers.1", HEAD)


def test_a_head_that_looks_evenly_is_flagged() -> None:
    model, tokens = PlantedCopy(), texts()
    with torch.no_grad():
        layer = model.get_submodule(SITE.removesuffix(".attention"))
        rows = slice(HEAD * LENGTH, (HEAD + 1) * LENGTH)
        layer.get_parameter("query_key_value.weight")[rows] = 0  # every score is zero
    found = measured(model, "layers.1", HEAD, tokens)
    assert found.even == pytest.approx(0, abs=1e-9)
    assert "even weights do as well" in found.doubts()
    assert "the most attended token matters no more than another" in found.doubts()
    assert "Doubtful: " in str(found)


@pytest.mark.parametrize("normalizer", [Softmax(), Sparsemax()], ids=["softmax", "sparsemax"])
def test_a_head_so_sharp_that_it_uses_one_key_is_believed(normalizer: Normalizer) -> None:
    model, tokens = PlantedCopy(), texts()
    layer: Any = model.get_submodule("layers.1")
    with torch.no_grad():
        layer.query_key_value.weight[HEAD * LENGTH : (HEAD + 1) * LENGTH] *= 400  # other weights are exactly zero
    layer.attention = Attention(normalizer=normalizer)
    with torch.no_grad(), lens(model) as seen:
        model(tokens)
    assert (seen[SITE].weights(heads=HEAD)[..., 1:, :] > 0).sum(-1).eq(1).all()
    found = measured(model, "layers.1", HEAD, tokens)
    assert found.erased_most > 0.5
    assert found.erased_random < 0.1
    assert found.doubts() == []


def test_heads_that_do_nothing_are_flagged() -> None:
    model, tokens = PlantedCopy(), texts()
    with torch.no_grad():
        model.get_parameter("layers.1.output.weight")[:, :LENGTH] = 0
    found = measured(model, "layers.1", 0, tokens)
    assert found.doubts() == ["the output does not change without these heads"]


def test_the_numbers_are_those_of_the_interventions() -> None:
    model, tokens = PlantedCopy(), texts()
    found = measure_belief(model, lambda: model(tokens), "layers.0")
    with torch.no_grad(), lens(model) as seen:
        plain = model(tokens)
    weights = reference.weights(next(iter(seen.values()))[0])
    most = torch.nn.functional.one_hot(weights.argmax(-1), LENGTH).bool()
    most[:, :, 0] = False  # it has one key alone
    for change, number in ((Hidden(most), found.erased_most), (evened(), found.even)):
        with torch.no_grad(), intervene(model, {"layers.0": change}):
            assert float(total_variation(model(tokens), plain)) == pytest.approx(number)
    again = measure_belief(model, lambda: model(tokens), "layers.0")
    assert again == found
    assert measure_belief(model, lambda: model(tokens), "layers.0", seed=9).erased_random != found.erased_random


def test_models_that_attend_step_by_step_are_measured() -> None:
    model = recurrent()
    found = measure_belief(model, lambda: model(*batch()), model.alignment_sites()[0], keys=3)
    assert found.erased_random > 0
    assert found.off > 0
    assert found.heads is None


def test_total_variation_is_the_probability_that_moved() -> None:
    moved = total_variation(
        torch.tensor([[0.5, 0.5], [1.0, 0.0]]).log(), torch.tensor([[0.75, 0.25], [0.0, 1.0]]).log()
    )
    assert float(moved) == pytest.approx((0.25 + 1) / 2)


def test_ranks_are_shared_by_equals() -> None:
    first = torch.tensor([1.0, 2.0, 2.0, 5.0], dtype=torch.float64)
    assert rank_correlation(first, first**3) == pytest.approx(1)
    assert rank_correlation(first, -first) == pytest.approx(-1)
    # Ranks 0, 1.5, 1.5, 3 and 0, 1, 2, 3: by hand 4.5 / sqrt(4.5 * 5).
    assert rank_correlation(first, torch.arange(4.0, dtype=torch.float64)) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)
    assert rank_correlation(first, torch.ones(4, dtype=torch.float64)) is None


def test_an_output_that_changes_by_itself_is_told() -> None:
    model, tokens = PlantedCopy(), texts()
    with pytest.raises(WorkError, match=r"changes from run to run though nothing was changed\. Call model\.eval\(\)"):
        measure_belief(model, lambda: model(tokens) + torch.rand(()) * torch.arange(7.0), "layers.0")
    with pytest.raises(
        OptionError, match=r"output\(\) must return what is compared as a tensor, .* it returned dict\."
    ):
        measure_belief(model, lambda: {"logits": model(tokens)}, "layers.0")  # type: ignore[arg-type, return-value]
    with pytest.raises(OptionError, match=r"draws must be at least 1 and keys at least 0; they are 0 and 32\."):
        measure_belief(model, lambda: model(tokens), "layers.0", draws=0)


def test_an_output_that_is_not_finite_is_no_reason_to_believe() -> None:
    model, tokens = PlantedCopy(), texts()
    with pytest.raises(WorkError, match=r"The change of the output is nan, so that nothing can be measured\."):
        measure_belief(model, lambda: model(tokens) * torch.nan, "layers.0")
