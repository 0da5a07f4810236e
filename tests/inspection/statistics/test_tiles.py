import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from regard.attention.attend import EVERYTHING
from regard.attention.masks import Mask
from regard.attention.normalizers import Normalizer, Sigmoid, Softmax
from regard.attention.patterns import Causal, Window
from regard.attention.ways import reference
from regard.errors import OptionError
from regard.inspection.selection import computed
from regard.inspection.statistics import strips as strips_file
from regard.inspection.statistics.tiles import tiles
from tests.inspection.calls import call_of, without_keys


def block_means(weights: Tensor, rows: int, columns: int) -> Tensor:
    """Average blocks one by one."""
    queries, keys = weights.shape[2:]
    rows, columns = min(rows, queries), min(columns, keys)
    row_of, column_of = torch.arange(queries) * rows // queries, torch.arange(keys) * columns // keys
    found = weights.new_zeros(*weights.shape[:2], rows, columns)
    for row in range(rows):
        for column in range(columns):
            found[:, :, row, column] = weights[:, :, row_of == row][..., column_of == column].mean((2, 3))
    return found


@pytest.mark.parametrize("mask", [EVERYTHING, Causal(), Window(before=5, after=2)])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (7, 11), (300, 300), (2, 41)])
@pytest.mark.parametrize("cells", [1, 10**6])
def test_tiles_are_the_means_of_blocks(
    mask: Mask, rows: int, columns: int, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(strips_file.CELLS, "cpu", cells)
    call = call_of(queries=31, keys=37, mask=mask)
    assert torch.allclose(tiles(call, rows, columns), block_means(reference.weights(call), rows, columns))


def test_a_part_with_no_more_positions_than_tiles_is_the_map_itself() -> None:
    call = call_of(queries=31, keys=37, mask=Causal())
    found = tiles(call, 256, 256, batch=range(1, 2), heads=range(1, 3), queries=range(5, 16), keys=range(3, 20))
    assert torch.allclose(found, reference.weights(call)[1:2, 1:3, 5:16, 3:20])


def test_a_part_is_tiled_at_its_own_zoom() -> None:
    call = call_of(queries=601, keys=601, mask=Window(before=13, after=0))
    part = reference.weights(call)[:, 2:3, 101:331, 29:401]
    found = tiles(call, 13, 17, heads=range(2, 3), queries=range(101, 331), keys=range(29, 401))
    assert torch.allclose(found, block_means(part, 13, 17))


@pytest.mark.parametrize("cells", [1, 10**6])
@pytest.mark.parametrize("normalizer", [Softmax(), Sigmoid()], ids=["products", "handed out"])
def test_a_part_is_chosen_as_the_lens_chooses(
    normalizer: Normalizer, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(strips_file.CELLS, "cpu", cells)
    call = call_of(queries=31, keys=37, mask=Causal(), normalizer=normalizer)
    choices: list[Any] = [None, 1, -1, np.int64(0), slice(1, None), slice(None, None, -1), [1, 0, 1], torch.tensor([1])]
    keys: Any = torch.arange(5, 30)
    for batch, heads in itertools.product(choices, repeat=2):
        found = tiles(call, 7, 11, batch=batch, heads=heads, queries=slice(-20, None), keys=keys)
        part = computed(call, reference.weights, batch, heads, slice(-20, None))[..., 5:30]
        assert torch.allclose(found, block_means(part, 7, 11), atol=1e-6)
    assert torch.allclose(tiles(call, queries=-1, keys=[3, 4]), reference.weights(call)[:, :, -1:, 3:5])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"keys": range(3, 8)}, r"^keys has no number 7: there are 7, counted from 0\.$"),
        ({"heads": 3}, r"^heads has no number 3: there are 3, counted from 0\.$"),
        ({"batch": -3}, r"^batch has no number -3: there are 2"),
        ({"heads": range(1, 1)}, r"^heads names none; there are 3, counted from 0, and None stands for all\.$"),
        ({"queries": slice(9, 11)}, r"^queries names none; there are 5"),
        ({"heads": [True, False, True]}, r"^heads must be a whole number, a slice, several whole numbers, or None"),
        (
            {"keys": 0.5},
            r"^keys must be a whole number, a slice, several whole numbers, or None for all; it is 0\.5\.$",
        ),
        ({"keys": [1, 2, 5]}, r"^keys of tiles must be neighbors, such as range\(1, 3\); 5 does not follow 2\."),
        ({"queries": slice(None, None, -1)}, r"^queries of tiles must be neighbors, .*; 3 does not follow 4\."),
    ],
)
def test_a_part_beyond_the_map_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError, match=told):
        tiles(call_of(queries=5, keys=7), **given)


def test_an_empty_map_has_empty_tiles() -> None:
    assert tiles(call_of(batch=0), 2, 3).shape == (0, 3, 2, 3)
    assert tiles(call_of(queries=0), 2, 3).shape == (2, 3, 0, 3)
    assert tiles(without_keys(call_of()), 2, 3).shape == (2, 3, 2, 0)


def test_no_tiles_are_refused() -> None:
    with pytest.raises(OptionError, match=r"rows of tiles must be a whole number, 1 or more; it is 0"):
        tiles(call_of(queries=5, keys=7), 0)
