"""Rollout against products of whole maps."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from regard.errors import OptionError, ShapeError
from regard.inspection.effects import rollout as rolling
from regard.inspection.effects.difference import difference
from regard.inspection.effects.gradients import gradient_maps
from regard.inspection.effects.interventions import Patched
from regard.inspection.effects.rollout import relevance, rollout
from regard.inspection.lens import Lens, lens
from regard.inspection.statistics.map_statistics import map_statistics, site_statistics
from regard.inspection.statistics.tiles import tiles
from tests.inspection.planted import COPIER, LENGTH, PlantedCopy, texts
from tests.inspection.test_lens import batch, transformer


def seen() -> Lens:
    model = PlantedCopy()
    with lens(model) as found:
        model(texts())
    return found


def test_autocast_takes_no_digits_from_rollout_and_relevance() -> None:
    model = transformer()
    with lens(model) as found:
        model(*batch())
    layers = [site[0] for name, site in found.items() if name.startswith("encoder")]
    gradients = gradient_maps(model, lambda: model(*batch()).square().sum())
    maps = [gradients[name] for name in gradients if name.startswith("encoder")]
    exact = rollout(layers), relevance(maps), maps[0].gradients(), maps[0].weights()
    with torch.autocast("cpu", torch.bfloat16):
        under = rollout(layers), relevance(maps), maps[0].gradients(), maps[0].weights()
    for one, other in zip(under, exact, strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)


def test_sites_and_calls_are_not_taken_for_each_other() -> None:
    site: Any = next(iter(seen().values()))
    call: Any = site[0]
    for wants_one in (lambda: rollout([site]), lambda: map_statistics(site), lambda: tiles(site)):
        with pytest.raises(OptionError, match=r"One call is wanted here, such as lens\[name\]\[0\]; .* type Site"):
            wants_one()
    for wants_several in (lambda: difference(call, call), lambda: site_statistics(call), lambda: Patched(call)):
        with pytest.raises(OptionError, match=r"Several calls are wanted here, .* lens\[name\]; this is one\. Give \["):
            wants_several()


@pytest.mark.parametrize("block", [3, 256])
def test_rollout_is_the_product_of_the_layers_with_what_goes_past_them(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling, "BLOCK", block)
    found = seen()
    product = torch.eye(LENGTH, dtype=torch.float64)
    for site in found.values():
        product = (0.3 * torch.eye(LENGTH) + 0.7 * site.weights().mean(1)) @ product
    layers = [site[0] for site in found.values()]
    assert torch.allclose(rollout(layers, residual=0.3), product)
    assert torch.allclose(rollout(layers, residual=0.3, queries=[7, 2]), product[:, [7, 2]])
    assert torch.allclose(rollout(layers).sum(-1), torch.ones((), dtype=torch.float64))


@pytest.mark.parametrize("block", [3, 256])
def test_relevance_adds_what_each_layer_brings(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling, "BLOCK", block)
    model, tokens = PlantedCopy(), texts(2)
    layers = list(gradient_maps(model, lambda: model(tokens)[:, 4, 2].sum()).values())
    wanted: Tensor = torch.eye(LENGTH, dtype=torch.float64).expand(2, -1, -1)
    for layer in layers:
        wanted = wanted + layer.weighted().mean(1) @ wanted
    assert torch.allclose(relevance(layers), wanted)
    assert torch.allclose(relevance(layers, queries=[4]), wanted[:, [4]])


def test_the_copied_token_is_the_most_relevant() -> None:
    model, tokens = PlantedCopy(), texts(1)
    maps = gradient_maps(model, lambda: model(tokens)[0, 5, tokens[0, 4]])
    row = relevance(list(maps.values()), queries=[5])[0, 0]
    assert row.argmax() == 4
    assert any(name.startswith(COPIER[0]) for name in maps)


def test_what_rollout_cannot_go_through_is_told() -> None:
    model = transformer()
    with lens(model) as found:
        model(*batch())
    cross = [found["encoder.0.self_attention"][0], found["decoder.1.cross_attention"][0]]
    with pytest.raises(
        ShapeError, match=r"layer 0 has 2 entries of 7 queries and layer 1 has 2 of 5 queries and 7 keys"
    ):
        rollout(cross)
    with pytest.raises(OptionError, match=r"There is no layer to go through"):
        rollout([])
    layers = [site[0] for site in seen().values()]
    with pytest.raises(OptionError, match=r"There is no query 11; they are counted from 0 to 10\."):
        rollout(layers, queries=[3, 11])
    assert torch.equal(rollout(layers, queries=3), rollout(layers, queries=[3]))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"residual must lie between 0 and 1; it is 1\.5\."):
        rollout(layers, residual=1.5)


def test_more_of_the_past_is_kept_with_more_residual() -> None:
    layers = [site[0] for site in seen().values()]
    own = [rollout(layers, residual=share).diagonal(dim1=1, dim2=2).sum() for share in (0.1, 0.5, 0.9, 1.0)]
    assert all(less < more for less, more in pairwise(own))
