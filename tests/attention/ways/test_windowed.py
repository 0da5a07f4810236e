"""What the mask hides is skipped: the cost is counted in pairs of queries and keys, not in seconds."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from regard.attention.attend import EVERYTHING, attend, chosen_way
from regard.attention.lengths import Documents, Padding
from regard.attention.masks import Mask
from regard.attention.patterns import Causal, DilatedWindow, GlobalTokens, Window
from regard.attention.ways import choice, fused, products, windowed
from tests.attention.judge import SIZES, Case, assert_same, assert_same_gradients, case, gradients
from tests.attention.test_masks import masks
from tests.attention.ways.counting import forward_and_backward, pairs_computed

ROWS, COLUMNS = 16, 8


@pytest.fixture(autouse=True)
def blocks(small_blocks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose blocks with which long calls are still quick."""
    monkeypatch.setattr(windowed, "ROWS", ROWS)
    monkeypatch.setattr(windowed, "COLUMNS", COLUMNS)


def states(length: int, *, heads: int = 2, gradient: bool = False) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(1, heads, length, 4).requires_grad_(gradient) for _ in range(3)]


def pairs(mask: Mask, length: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a call and return the pairs of a query and a key that it took."""
    given = states(length)
    with pairs_computed(monkeypatch) as found:
        context = attend(*given, mask=mask, way="windowed")
    assert_same(context, attend(*given, mask=mask, way="reference"))
    return sum(found)


@pytest.mark.parametrize("mask", [Window(20, 20), Window(37, 0), Causal() & Window(40, 11)], ids=repr)
def test_the_cost_of_a_window_grows_with_the_length_alone(mask: Mask, monkeypatch: pytest.MonkeyPatch) -> None:
    for length in (400, 800, 1600):
        assert pairs(mask, length, monkeypatch) <= length * (41 + ROWS + 2 * COLUMNS)


def test_documents_cost_what_they_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    number = torch.repeat_interleave(torch.arange(60), torch.randint(1, 40, (60,)))
    length = len(number)
    mask = Documents(number[None])
    longest = int(torch.bincount(number).max())
    assert pairs(mask, length, monkeypatch) <= length * (2 * longest + ROWS + 2 * COLUMNS)
    assert pairs(mask & Causal(), length, monkeypatch) <= length * (longest + ROWS + 2 * COLUMNS)


def test_causal_attention_to_padded_keys_costs_half(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = pairs(Causal() & Padding(torch.tensor([400])), 640, monkeypatch)
    assert taken <= 400 * 400 / 2 + 240 * 400 + 640 * (ROWS + COLUMNS)


def test_global_tokens_cost_their_rows_and_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = torch.zeros(1, 640, dtype=torch.bool)
    chosen[0, [0, 301]] = True
    taken = pairs(Window(10, 10) | GlobalTokens(chosen), 640, monkeypatch)
    assert taken <= 2 * ROWS * 640 + 640 * (21 + ROWS + 2 * COLUMNS + 2 * COLUMNS)


def test_a_window_with_gaps_skips_blocks_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = pairs(DilatedWindow(1, 1, 100), 640, monkeypatch)
    assert taken <= 640 * 3 * (ROWS + 2 * COLUMNS)


def test_memory_is_that_of_what_is_left() -> None:
    length = 1600
    leaves = states(length, heads=1, gradient=True)
    largest, kept = forward_and_backward(lambda: attend(*leaves, mask=Window(20, 20), way="windowed"), leaves)
    span = 41 + ROWS + 2 * COLUMNS
    assert largest <= max(4 * length, 2 * ROWS * span), "the states; in a block indices are numbers twice as long"
    assert kept <= length * (20 + 2 * span + 8 * span // ROWS * 2), (
        "states, weights and masks, keys and values by block"
    )


def test_more_weights_than_may_be_held_are_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    length = 640
    leaves = states(length, heads=1, gradient=True)

    def run() -> Tensor:
        return attend(*leaves, mask=Causal(), dropout=0.3, way="windowed")

    torch.manual_seed(5)
    expected = torch.autograd.grad(run().square().sum(), leaves)
    monkeypatch.setattr(windowed, "HELD", length * length // 2)
    torch.manual_seed(5)
    assert_same(torch.cat(torch.autograd.grad(run().square().sum(), leaves)), torch.cat(expected))
    _, kept = forward_and_backward(run, leaves)
    assert kept < length * length // 8


@settings(max_examples=60)
@given(masks())
def test_joined_masks_of_any_kind_are_those_of_the_reference(make: Callable[[], Mask]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windowed, "ROWS", 2)
        patch.setattr(windowed, "COLUMNS", 2)
        mask = make()
        for score in ("dot", "location"):
            drawn = case(score, mask)
            assert_same(drawn.context("windowed"), drawn.context("reference"))


def test_stretches_of_keys_are_put_side_by_side_with_mask_and_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windowed, "COLUMNS", 1)
    chosen = torch.tensor([[True] + [False] * 10, [False] * 11])
    for score in ("scaled_dot", "location", "additive"):
        for bias in (None, "local_p", "tensor"):
            sizes = SIZES._replace(offset=4)
            given = case(score, Window(0, 0) | GlobalTokens(chosen) | Window(-2, 2), bias, sizes=sizes)
            assert_same(given.context("windowed"), given.context("reference"))
            runs: list[Callable[[Case], Tensor]] = [lambda c: c.context("windowed"), lambda c: c.context("reference")]
            assert_same_gradients(*(gradients(given, run) for run in runs))


def test_rows_that_see_nothing_at_all_get_zeros_and_gradients() -> None:
    given = states(40, gradient=True)
    context = attend(*given, mask=~EVERYTHING, way="windowed")
    assert not context.any()
    assert not any(gradient.any() for gradient in torch.autograd.grad(context.sum(), given))


def test_an_offset_moves_the_window() -> None:
    query, key, value = states(100)
    expected = attend(query, key, value, mask=Window(9, 3), way="reference")
    later = attend(query[:, :, 60:], key, value, mask=Window(9, 3), offset=60, way="windowed")
    assert_same(later, expected[:, :, 60:])


# The choice of `auto`


@pytest.mark.parametrize(
    ("mask", "skipped"),
    [
        (Window(100, 100), True),
        (Causal() & Window(100, 0), True),
        (Padding(torch.tensor([200])), True),
        (Documents(torch.arange(1024)[None] // 100), True),
        (Window(20, 20) | Padding(torch.tensor([10])), True),
        (EVERYTHING, False),
        (Causal(), False),
        (Padding(torch.tensor([1000])), False),
        (~Window(100, 100), False),
    ],
    ids=lambda given: type(given).__name__,
)
def test_auto_skips_where_most_is_hidden(mask: Mask, skipped: bool) -> None:
    query = torch.zeros(1, 1, 1024, 4)
    call = replace(case(), query=query, key=query, value=query, mask=mask).call()
    assert chosen_way(call) is (windowed if skipped else fused)
    shorter = replace(case(), query=query[:, :, :63], key=query, value=query, mask=mask).call()
    assert chosen_way(shorter) is fused


@pytest.mark.parametrize("tiles", [False, True])
def test_auto_skips_the_future_in_half_precision_unless_the_kernel_has_tiles(
    tiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else products are as much faster than PyTorch's kernel as they are; what is short is taken in one piece."""
    monkeypatch.setattr(choice, "multiplies_by_tiles", lambda dtype: tiles)
    long, short = (torch.zeros(1, 1, length, 4, dtype=torch.bfloat16) for length in (512, 511))
    for mask, query, way in ((Causal(), long, windowed), (Causal(), short, products), (EVERYTHING, long, products)):
        call = replace(case(), query=query, key=query, value=query, mask=mask).call()
        assert chosen_way(call) is (fused if tiles else way)
        # with tiles the blocks would run by the kernel, whose bits depend on company
        assert chosen_way(call, steady=True) is (products if tiles else way)
        assert chosen_way(call._replace(key=call.key.detach().requires_grad_())) is products


def test_what_learns_skips_where_less_is_left_unless_the_map_is_long() -> None:
    for length, mask, way in (
        (1024, Window(64, 64), windowed),
        (1024, Causal() & Window(800, 0), fused),
        (1031, Causal() & Window(800, 0), windowed),
    ):
        query = torch.zeros(1, 1, length, 4)
        call = replace(case(), query=query, key=query, value=query, mask=mask).call()
        assert chosen_way(call) is windowed
        assert chosen_way(call._replace(key=call.key.clone().requires_grad_())) is way


def test_auto_equals_the_reference_where_it_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regard.attention.attend.CUT", 1)
    for score in ("scaled_dot", "additive"):
        for mask in ("window", "causal", "padding", "documents"):
            given = case(score, mask, sizes=SIZES._replace(queries=41, keys=47))
            assert_same(given.context(), given.context("reference"))
