import pytest
import torch
from torch import Tensor

from regard.attention.attend import EVERYTHING
from regard.attention.masks import Mask
from regard.attention.patterns import Causal, Window
from regard.attention.ways import reference
from regard.errors import OptionError
from regard.inspection.statistics import strips as strips_file
from regard.inspection.statistics.tiles import tiles
from tests.inspection.calls import call_of


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


def test_a_part_beyond_the_map_is_refused() -> None:
    call = call_of(queries=5, keys=7)
    with pytest.raises(OptionError, match=r"keys is range\(3, 8\) and the map has 7"):
        tiles(call, keys=range(3, 8))
    with pytest.raises(OptionError, match=r"heads is range\(1, 1\) and the map has 3"):
        tiles(call, heads=range(1, 1))
    with pytest.raises(OptionError, match=r"heads is 1 and the map has 3; name a part of range\(0, 3\)"):
        tiles(call, heads=1)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"rows of tiles must be 1 or more; it is 0"):
        tiles(call, 0)
