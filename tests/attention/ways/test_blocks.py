from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.attention.attend import EVERYTHING
from regard.attention.lengths import Padding
from regard.attention.masks import Mask
from regard.attention.patterns import Causal, Window
from regard.attention.ways.blocks import by_rows, left, share_left, widened
from tests.attention.judge import case
from tests.attention.test_masks import EXTENT, masks, whole


@settings(max_examples=60)
@given(masks(), st.integers(-2, 6), st.integers(1, 4), st.integers(0, 6), st.integers(1, 4))
def test_what_is_left_out_is_empty_and_what_is_called_full_is_full(
    make: Callable[[], Mask], first_query: int, queries: int, first_key: int, size: int
) -> None:
    mask = make()
    queries = min(queries, 7 - first_query)
    extent = EXTENT._replace(offset=first_query, queries=queries, first_key=first_key, keys=7 - first_key)
    cells = whole(mask, extent)
    hidden = torch.ones(extent.keys, dtype=torch.bool)
    end = 0
    for run, answer in left(mask, extent.query_positions, extent.key_positions, size):
        assert end <= run.start < run.stop, "in order, none twice"
        end = run.stop
        columns = slice(run.start * size, run.stop * size)
        hidden[columns] = False
        assert answer != "empty"
        assert answer == "mixed" or bool(cells[..., columns].all())
    assert not cells[..., hidden].any()
    assert end * size < extent.keys + size


def test_runs_of_one_kind_are_joined() -> None:
    runs = left(Causal(), range(40, 50), range(100), 10)
    assert runs == [(range(4), "full"), (range(4, 5), "mixed")]
    assert left(EVERYTHING, range(5), range(7), 2) == [(range(4), "full")]
    assert left(~EVERYTHING, range(5), range(7), 2) == []


def test_a_mask_is_asked_about_many_blocks_at_once() -> None:
    asked = []

    class Watched(Window):
        def block(self, queries: range, keys: range) -> str:  # type: ignore[override]
            asked.append(keys)
            return super().block(queries, keys)

    left(Watched(100, 100), range(50_000, 50_128), range(100_000), 64)
    assert len(asked) < 60, "1563 blocks"


@pytest.mark.parametrize(
    ("mask", "least", "most"),
    [
        (EVERYTHING, 1.0, 1.0),
        (Padding(torch.tensor([0, 0])), 0.0, 0.0),
        (Causal(), 36 / 64, 36 / 64),
        (Window(100, 100), 22 / 64, 22 / 64),
        (Causal() & Window(100, 0), 15 / 64, 15 / 64),
        (Padding(torch.tensor([10, 250])), 0.25, 0.25),
        (~Window(100, 100), 1.0, 1.0),
    ],
    ids=["everything", "nothing", "causal", "window", "both", "padding", "opposite"],
)
def test_the_share_that_a_mask_leaves_is_told_by_eighths(mask: Mask, least: float, most: float) -> None:
    assert least <= share_left(mask, range(1000), range(1000)) <= most


def test_the_share_of_a_small_or_empty_map_is_told() -> None:
    assert share_left(Causal(), range(0), range(7)) == 0
    assert share_left(Causal(), range(3), range(2)) == 1
    assert share_left(Causal(), range(256), range(256)) == 10 / 16
    assert share_left(Causal(), range(7, 8), range(8)) == 1


def test_rows_are_cut_with_their_positions() -> None:
    call = case(mask="causal").call()._replace(offset=10)
    blocks = by_rows(call, 2)
    assert [block.query.shape[2] for block in blocks] == [2, 2, 1]
    assert [block.offset for block in blocks] == [10, 12, 14]
    assert torch.equal(torch.cat([block.query for block in blocks], dim=2), call.query)


def test_keys_are_widened_where_their_gradients_are_summed_in_half_precision() -> None:
    half = case().to(torch.bfloat16).call()
    assert widened(half).key.dtype == widened(half).value.dtype == torch.float32
    with torch.no_grad():
        assert widened(half) is half
    plain = case().to(torch.float32).call()
    assert widened(plain) is plain
