"""The grid of queries and keys."""

import pytest
import torch

from regard.attention.grid import Extent, check_covers, check_rows, cut, look_up, look_up_row, rank_four
from regard.errors import ShapeError

GRID = Extent(2, 3, 5, 7, offset=11, device=torch.device("cpu"), first_key=13)


def test_indices_are_positions_that_broadcast() -> None:
    batch, head, query, key = GRID.indices()
    assert (batch + head + query + key).shape == (2, 3, 5, 7)
    assert query.flatten().tolist() == list(GRID.query_positions) == [11, 12, 13, 14, 15]
    assert key.tolist() == list(GRID.key_positions) == list(range(13, 20))


def test_a_part_is_cut_as_it_would_be_looked_up() -> None:
    values = torch.randn(2, 3, 17, 20)
    batch, head, query, key = GRID.indices()
    assert torch.equal(cut(values, 2, GRID), look_up(values, batch, head, query - 2, key))
    assert cut(values[:, :1, :1, :1], 2, GRID).shape == (2, 1, 1, 1), "what broadcasts stays"
    assert cut(values, 2, GRID).untyped_storage().data_ptr() == values.untyped_storage().data_ptr()


def test_positions_that_a_row_does_not_hold_give_what_is_said() -> None:
    rows, position = torch.tensor([[5, 6, 7]]), torch.tensor([-1, 0, 2, 3])
    assert look_up_row(rows, torch.tensor(0), position, torch.tensor(-9)).tolist() == [-9, 5, 7, -9]


def test_axes_are_put_in_front() -> None:
    assert rank_four(torch.zeros(5, 7)).shape == (1, 1, 5, 7)


def test_a_tensor_that_does_not_cover_the_grid_is_refused() -> None:
    check_covers("mask", torch.zeros(2, 1, 17, 20), 2, GRID)
    with pytest.raises(ShapeError, match=r"mask has shape \[2, 3, 5, 7\].*needs \[2, 3, 5, 20\]"):
        check_covers("mask", torch.zeros(2, 3, 5, 7), 11, GRID)
    with pytest.raises(ShapeError, match=r"with its first row for position 12; the call needs .* from position 11"):
        check_covers("mask", torch.zeros(2, 3, 5, 20), 12, GRID)
    check_rows("chosen", torch.zeros(1, 4), GRID)
    with pytest.raises(ShapeError, match="chosen has 3 rows and the call has 2 batch entries; give one row a batch"):
        check_rows("chosen", torch.zeros(3, 4), GRID)
