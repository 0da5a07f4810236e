"""Gradient-weighted maps against autograd through the equation written out."""

import pytest
import torch
from torch import Tensor, nn

from regard.errors import WorkError
from regard.inspection.effects.gradients import gradient_maps
from tests.inspection.planted import COPIER, PlantedCopy, texts
from tests.inspection.test_lens import batch, recurrent

B, H, G, Q, K, D = 2, 6, 3, 5, 7, 11


class Grouped(nn.Module):
    """One call with shared keys and values, and something behind it."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        context = nn.functional.scaled_dot_product_attention(query, key, value, enable_gqa=True)
        return context.tanh()


def tensors() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    sizes = ((B, H, Q, D), (B, G, K, D), (B, G, K, D))
    query, key, value = (torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes)
    return query, key, value


@pytest.mark.parametrize("needs_gradient", [True, False])
def test_gradients_are_those_with_regard_to_the_weights(needs_gradient: bool) -> None:
    query, key, value = (tensor.requires_grad_(needs_gradient) for tensor in tensors())
    model = Grouped()
    (found,) = gradient_maps(model, lambda: model(query, key, value)[1, 3].square().sum()).values()
    weights = torch.softmax(query @ key.repeat_interleave(2, 1).transpose(2, 3) / D**0.5, dim=-1).detach()
    weights.requires_grad_()
    (wanted,) = torch.autograd.grad((weights @ value.repeat_interleave(2, 1)).tanh()[1, 3].square().sum(), weights)
    assert torch.allclose(found.gradients(), wanted)
    assert torch.allclose(found.weights(), weights)
    assert torch.allclose(found.weighted(), (wanted * weights).clamp(min=0))
    assert found.gradients()[0].count_nonzero() == 0


def test_the_number_is_as_it_was_and_no_parameter_gets_a_gradient() -> None:
    model, tokens = PlantedCopy(), texts()
    plain = model(tokens)[0, 4, 2]
    values: list[Tensor] = []

    def objective() -> Tensor:
        values.append(model(tokens)[0, 4, 2])
        return values[0]

    with torch.no_grad():
        gradient_maps(model, objective)
    assert torch.equal(values[0], plain)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_copied_token_is_what_counts_for_the_copy() -> None:
    model, tokens = PlantedCopy(), texts(1)
    maps = gradient_maps(model, lambda: model(tokens)[0, 4, tokens[0, 3]])
    (found,) = [site for name, site in maps.items() if name.startswith(COPIER[0])]
    assert found.weighted()[0, COPIER[1], 4].argmax() == 3
    assert found.weighted()[0, COPIER[1]].sum() == pytest.approx(float(found.weighted()[0, COPIER[1], 4, 3]), rel=1e-6)


def test_steps_are_joined_to_one_map() -> None:
    model = recurrent()
    (found,) = gradient_maps(model, lambda: model(*batch())[0, 4, 3]).values()
    assert found.weighted().shape == (2, 1, 5, 7)
    assert found.gradients()[1].count_nonzero() == 0


def test_an_objective_apart_from_the_model_is_told() -> None:
    model, tokens = PlantedCopy(), texts()
    with pytest.raises(WorkError, match=r"no gradient"):
        gradient_maps(model, lambda: model(tokens).sum().detach())
    with pytest.raises(WorkError, match=r"No attention of the model ran\. Let objective\(\) run"):
        gradient_maps(model, lambda: torch.ones((), requires_grad=True))
