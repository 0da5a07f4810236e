from collections.abc import Callable

import pytest
import torch

from regard.attention.grid import Extent
from regard.attention.patterns import Adjacency, Around, DilatedWindow, GlobalTokens, TensorMask, Window
from regard.errors import OptionError, ShapeError
from tests.attention.judge import as_a_user
from tests.attention.test_masks import CPU, EXTENT, rows, whole

SQUARE = Extent(1, 1, 6, 6, 0, CPU)


def chosen(*positions: int, width: int = 6) -> torch.Tensor:
    return torch.isin(torch.arange(width), torch.tensor(positions))[None]


def check_hand_drawn_patterns() -> None:
    assert rows(DilatedWindow(1, 0, 2), SQUARE) == ["x.....", ".x....", "x.x...", ".x.x..", "..x.x.", "...x.x"]
    assert rows(DilatedWindow(1, 1, 3), SQUARE) == ["x..x..", ".x..x.", "..x..x", "x..x..", ".x..x.", "..x..x"]
    assert rows(DilatedWindow(1, 2, 2), SQUARE._replace(queries=2, offset=2)) == ["x.x.x.", ".x.x.x"]
    assert rows(GlobalTokens(chosen(1)), SQUARE) == [".x....", "xxxxxx", ".x....", ".x....", ".x....", ".x...."]
    assert rows(GlobalTokens(chosen(1)), SQUARE._replace(queries=2, offset=1)) == ["xxxxxx", ".x...."]
    assert rows(GlobalTokens(chosen(1, width=2)), SQUARE._replace(offset=-1, queries=1)) == [".x...."]
    longformer = Window(1, 1) | GlobalTokens(chosen(0))
    assert rows(longformer, SQUARE) == ["xxxxxx", "xxx...", "xxxx..", "x.xxx.", "x..xxx", "x...xx"]
    edges = torch.zeros(6, 6, dtype=torch.bool)
    edges[0, 3] = edges[3, 0] = edges[2, 5] = True
    assert rows(Adjacency(edges), SQUARE) == ["...x..", "......", ".....x", "x.....", "......", "......"]
    assert rows(Adjacency(edges) | Window(0, 0), SQUARE)[2] == "..x..x"
    assert rows(Adjacency(edges), SQUARE._replace(queries=2, offset=2)) == [".....x", "x....."]


def test_patterns_allow_what_was_drawn_by_hand() -> None:
    check_hand_drawn_patterns()


def test_a_dilation_of_one_is_a_window() -> None:
    for extent in (EXTENT, EXTENT._replace(offset=-3), SQUARE):
        assert torch.equal(whole(DilatedWindow(2, 1, 1), extent), whole(Window(2, 1), extent))


def test_a_block_of_a_dilated_window_is_full_or_empty_where_all_its_distances_are() -> None:
    mask = DilatedWindow(4, 0, 8)
    assert mask.block(range(64, 65), range(64, 65)) == "full"
    assert mask.block(range(64, 65), range(56, 57)) == "full"
    assert mask.block(range(64, 65), range(57, 64)) == "empty"
    assert mask.block(range(64, 72), range(32)) == "empty"
    assert mask.block(range(64, 65), range(24, 25)) == "empty"
    assert mask.block(range(64, 72), range(56, 64)) == "mixed"
    assert DilatedWindow(4, 0, 1).block(range(64, 66), range(61, 65)) == "full"


def test_blocks_of_global_tokens_are_known_on_the_host() -> None:
    mask = GlobalTokens(torch.cat((chosen(0, 1, 30, width=64), chosen(0, 1, 40, width=64))))
    assert mask.block(range(2), range(8, 64)) == "full"
    assert mask.block(range(2, 30), range(2)) == "full"
    assert mask.block(range(2, 30), range(1, 3)) == "mixed"
    assert mask.block(range(30, 31), range(5, 6)) == "mixed"
    assert mask.block(range(2, 30), range(50, 64)) == "empty"
    assert mask.block(range(64, 80), range(70, 80)) == "empty"
    assert GlobalTokens(torch.zeros(1, 3, dtype=torch.bool, device="meta")).block(range(2), range(2)) == "mixed"


def test_every_batch_entry_has_its_own_graph() -> None:
    edges = torch.rand(2, 7, 7) < 0.5
    extent = EXTENT._replace(offset=2)
    for head in range(3):
        assert torch.equal(whole(Adjacency(edges), extent)[:, head], edges[:, 2:])
    kept = Adjacency(edges).keep(torch.tensor([1, 1, 0]))
    assert isinstance(kept, Adjacency)
    assert torch.equal(whole(kept, extent._replace(batch=3))[:, 0], edges[[1, 1, 0], 2:])
    assert torch.equal(Adjacency(edges[0]).keep(torch.tensor([1])).allowed[0, 0], edges[0])
    part = extent._replace(keys=3, first_key=2)
    Adjacency(edges).check(part)
    assert torch.equal(Adjacency(edges).dense(part)[:, 0], edges[:, 2:, 2:5])


# Refusals


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: TensorMask(torch.zeros(5, 7)),
            ["boolean", "True = may look", "torch.float32", "mask > 0", "TensorBias"],
        ),
        (lambda: TensorMask(torch.ones(5, 7, dtype=torch.long)), ["boolean", "torch.int64"]),
        (lambda: TensorMask(torch.ones(7, dtype=torch.bool)), ["[batch, heads, queries, keys]", "[7]"]),
        (lambda: TensorMask(torch.ones(1, 2, 3, 5, 7, dtype=torch.bool)), ["[1, 2, 3, 5, 7]"]),
        (
            lambda: TensorMask(torch.ones(5, 11, dtype=torch.bool), first_query=1).check(EXTENT),
            ["mask has shape [1, 1, 5, 11]", "[2, 3, 5, 7]", "position 1"],
        ),
        (
            lambda: TensorMask(torch.ones(5, 7, dtype=torch.bool)).check(EXTENT),
            ["mask has shape [1, 1, 5, 7]", "first row for position 0", "from position 1", "first_query"],
        ),
        (lambda: TensorMask(torch.ones(4, 5, 7, dtype=torch.bool), first_query=1).check(EXTENT), ["[1, 4, 5, 7]"]),
        (lambda: TensorMask(torch.ones(3, 3, 5, 7, dtype=torch.bool), first_query=1).check(EXTENT), ["[3, 3, 5, 7]"]),
        (lambda: Around(torch.zeros(2, 3, 5), 2).check(EXTENT), ["centers", "[2, 3, 5]", "position 1"]),
        (
            lambda: TensorMask(torch.ones(5, 7, dtype=torch.bool, device="meta"), first_query=1).check(EXTENT),
            ["mask is on meta", "query on cpu"],
        ),
        (lambda: GlobalTokens(torch.zeros(2, 7)), ["boolean", "[batch, positions]", "torch.float32", "[2, 7]"]),
        (lambda: GlobalTokens(chosen(1)[0]), ["boolean tensor [batch, positions]", "[6]"]),
        (lambda: GlobalTokens(chosen(1)[:, :0]), ["boolean tensor [batch, positions]", "[1, 0]"]),
        (
            lambda: GlobalTokens(chosen(1).expand(3, -1)).check(EXTENT),
            ["GlobalTokens has 3 rows", "2 batch entries", "one for all"],
        ),
        (lambda: GlobalTokens(chosen(1).to("meta")).check(EXTENT), ["GlobalTokens is on meta", "query on cpu"]),
        (lambda: Adjacency(torch.ones(5, 7, dtype=torch.bool)), ["[nodes, nodes]", "[5, 7]"]),
        (lambda: Adjacency(torch.ones(7, dtype=torch.bool)), ["[nodes, nodes]", "[7]"]),
        (lambda: Adjacency(torch.ones(7, 7)), ["boolean", "torch.float32"]),
        (lambda: Adjacency(torch.ones(6, 6, dtype=torch.bool)).check(EXTENT), ["6 nodes", "from 0 to 6"]),
        (lambda: Adjacency(torch.ones(1, 1, dtype=torch.bool)).check(EXTENT), ["1 nodes", "from 0 to 6"]),
        (
            lambda: Adjacency(torch.ones(9, 9, dtype=torch.bool)).check(EXTENT._replace(offset=-2)),
            ["9 nodes", "from -2 to 6"],
        ),
        (lambda: Adjacency(torch.ones(3, 9, 9, dtype=torch.bool)).check(EXTENT), ["edges has shape [3, 1, 9, 7]"]),
    ],
)
def test_a_pattern_that_does_not_fit_says_so(make: Callable[[], object], words: list[str]) -> None:
    with as_a_user(), pytest.raises(ShapeError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("dilation", [0, -2])
def test_a_dilation_is_one_or_more(dilation: int) -> None:
    with pytest.raises(OptionError, match=rf"dilation must be 1 or more; it is {dilation}"):
        DilatedWindow(1, 1, dilation)
