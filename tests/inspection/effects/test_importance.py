"""Head importance: against gradients and ablations written out, and on a model with a head that is known to matter."""

import pytest
import torch
from torch import Tensor, nn

from regard.errors import OptionError, WorkError
from regard.inspection.effects.importance import ablation_importance, gradient_importance, ranked
from regard.inspection.effects.interventions import HeadsOff, Scaled, intervene
from tests.inspection.planted import COPIER, HEADS, LENGTH, VOCAB, PlantedCopy, copy_loss, texts
from tests.inspection.test_lens import batch, transformer


def test_the_planted_head_copies() -> None:
    tokens = texts()
    assert torch.equal(PlantedCopy()(tokens).argmax(-1)[:, 1:], tokens[:, :-1])


def test_the_head_that_copies_ranks_first_by_its_slope() -> None:
    model, tokens = PlantedCopy(), texts()
    found = ranked(gradient_importance(model, lambda part: copy_loss(model, part), tokens.split(2)))
    assert found[0][:2] in (COPIER, (f"{COPIER[0]}.attention", COPIER[1]))
    assert found[0].importance > 2 * found[1].importance
    assert len(found) == 2 * HEADS


def test_the_head_that_copies_ranks_first_by_what_is_lost_without_it() -> None:
    model, tokens = PlantedCopy(), texts()
    found = ranked(ablation_importance(model, lambda part: copy_loss(model, part), tokens.split(2)))
    assert found[0].site.startswith(COPIER[0])
    assert found[0].head == COPIER[1]
    assert found[0].importance > 10 * abs(found[1].importance)
    # Nothing is left but chance.
    assert found[0].importance > 0.5 * 5 * (LENGTH - 1) * torch.tensor(float(VOCAB)).log()


def test_the_slope_is_that_of_a_gate_on_each_head_of_each_example() -> None:
    model, tokens = PlantedCopy(), texts(3)
    name = COPIER[0]
    found = gradient_importance(model, lambda part: copy_loss(model, part), tokens.split(2))
    (site,) = [site for site in found if site.startswith(name)]
    slopes = []
    for text in tokens.split(1):
        for sign in (1, -1):
            with intervene(model, {name: Scaled(1 + sign * 1e-6, heads=[1])}), torch.no_grad():
                slopes.append(copy_loss(model, text))
    numeric = sum(abs(more - less) / 2e-6 for more, less in zip(slopes[::2], slopes[1::2], strict=True)) / 3
    assert found[site][1] == pytest.approx(float(numeric), rel=1e-4)


def test_an_ablation_is_the_loss_without_the_head_less_the_loss_with_it() -> None:
    model, tokens = PlantedCopy(), texts()
    with torch.no_grad():
        plain = copy_loss(model, tokens)
        with intervene(model, {"layers.0": HeadsOff([3])}):
            without = copy_loss(model, tokens)
    found = ablation_importance(model, lambda part: copy_loss(model, part), [tokens])
    assert next(iter(found.values()))[3] == pytest.approx(float(without - plain))


def test_gradients_of_parameters_are_left_as_they_are() -> None:
    model, tokens = PlantedCopy(), texts()
    gradient_importance(model, lambda part: copy_loss(model, part), [tokens])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_models_with_several_kinds_of_attention_tell_all_their_heads() -> None:
    model = transformer()
    source, lengths, target = batch()

    def loss(parts: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        return model(*parts).square().sum()  # type: ignore[no-any-return]

    found = gradient_importance(model, loss, [(source, lengths, target)])
    assert len(found) == 7
    assert all(values.shape == (2,) and bool((values > 0).all()) for values in found.values())
    only = ablation_importance(model, loss, [(source, lengths, target)], sites=list(found)[2:3])
    assert list(only) == list(found)[2:3]


def test_batches_may_come_from_a_generator() -> None:
    model, tokens = PlantedCopy(), texts()
    found, expected = (
        ablation_importance(model, lambda part: copy_loss(model, part), batches)
        for batches in ((part for part in [tokens]), [tokens])
    )
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_what_is_no_loss_is_told() -> None:
    model, tokens = PlantedCopy(), texts()
    with pytest.raises(OptionError, match=r"loss must return one number as a tensor; it returned 0\.5"):
        gradient_importance(model, lambda part: 0.5, [tokens])  # type: ignore[arg-type, return-value]
    with pytest.raises(
        OptionError, match=r"loss must return one number, the sum over the batch; it returned \[5, 11, 7"
    ):
        gradient_importance(model, model, [tokens])
    with pytest.raises(WorkError, match=r"The loss has no gradient with regard to the heads"):
        gradient_importance(model, lambda part: copy_loss(model, part).detach(), [tokens])
    with pytest.raises(WorkError, match=r"No attention of the model ran, or there was no batch"):
        gradient_importance(model, lambda part: copy_loss(model, part), [])
    with pytest.raises(WorkError, match=r"No attention of the model ran"):
        ablation_importance(nn.Linear(2, 3), lambda part: part.sum(), [tokens])
    with pytest.raises(OptionError, match=r"No attention was seen at layers\.7\. Calls were seen at: layers\.0"):
        ablation_importance(model, lambda part: copy_loss(model, part), [tokens], sites=["layers.7"])
