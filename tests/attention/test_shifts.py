from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.attention.attend import attend
from regard.attention.grid import Extent
from regard.attention.lengths import Padding
from regard.attention.masks import Mask
from regard.attention.patterns import Causal, TensorMask, Window
from regard.attention.shifts import Shifted
from regard.errors import ShapeError
from tests.attention.judge import as_a_user, assert_same, assert_same_gradients, case, gradients

CPU = torch.device("cpu")
EXTENT = Extent(batch=2, heads=3, queries=5, keys=7, offset=0, device=CPU)


def drawn(mask: Mask, extent: Extent = EXTENT) -> list[str]:
    """Draw a mask, a line a query, entry by entry."""
    dense = mask.dense(extent)[:, :1].expand(extent.batch, 1, extent.queries, extent.keys)
    return ["".join("x" if may else "." for may in row) for entry in dense for row in entry[0].tolist()]


def test_every_entry_stands_at_its_own_place() -> None:
    assert drawn(Shifted(Causal(), torch.tensor([2, -1]))) == [
        "xxx....", "xxxx...", "xxxxx..", "xxxxxx.", "xxxxxxx",
        ".......", "x......", "xx.....", "xxx....", "xxxx...",
    ]  # fmt: skip


@settings(max_examples=30)
@given(st.lists(st.integers(-4, 9), min_size=1, max_size=3), st.integers(0, 3), st.integers(0, 2), st.integers(-2, 3))
def test_an_entry_alone_is_the_mask_at_another_offset(by: list[int], before: int, after: int, offset: int) -> None:
    mask = Window(before, after) & Causal()
    extent = EXTENT._replace(batch=len(by), offset=offset)
    shifted = Shifted(mask, torch.tensor(by))
    dense = shifted.dense(extent)
    for entry, further in enumerate(by):
        alone = mask.dense(extent._replace(batch=1, offset=offset + further))
        assert torch.equal(dense[entry], alone[0])
    # What is said of blocks and rows is never wrong.
    blind = not bool(dense.any(dim=-1).all())
    assert shifted.may_blind(extent) or not blind
    said = shifted.whole(extent)
    assert said == "mixed" or bool(dense.all() if said == "full" else not dense.any())


def test_a_batch_of_continued_texts_is_each_text_alone() -> None:
    """The last query of each entry stands at its last key; what lies behind is not looked at."""
    lengths = torch.tensor([4, 7])
    batch = case(mask=Shifted(Causal(), lengths - 5) & Padding(lengths))
    for way in batch.able_ways():
        together = batch.context(way)
        for entry, length in enumerate(lengths.tolist()):
            one = slice(entry, entry + 1)
            key, value = batch.key[one, :, :length], batch.value[one, :, :length]
            assert_same(together[one], attend(batch.query[one], key, value, mask=Causal(), offset=length - 5))


def test_other_entries_are_chosen_with_their_numbers() -> None:
    mask = Shifted(Causal() & TensorMask(torch.ones(2, 1, 9, 7, dtype=torch.bool)), torch.tensor([2, 1]))
    chosen = mask.keep(torch.tensor([1, 1, 0]))
    assert chosen.by.tolist() == [1, 1, 2]
    assert drawn(chosen, EXTENT._replace(batch=3))[:5] == drawn(mask)[5:]


def test_a_shift_of_what_speaks_of_keys_alone_is_nothing() -> None:
    padding = Padding(torch.tensor([3, 5]))
    shifted = Shifted(padding, torch.tensor([2, 4]))
    assert shifted.same_for_queries
    assert drawn(shifted) == drawn(padding)


def test_gradients_flow_alike_in_every_way() -> None:
    drawn_case = case(mask=Shifted(Causal(), torch.tensor([-2, 3])))
    expected = gradients(drawn_case, lambda c: c.context("reference"))
    for way in drawn_case.able_ways():
        assert_same_gradients(gradients(drawn_case, lambda c, way=way: c.context(way)), expected)  # type: ignore[misc]


def test_shifts_on_the_meta_device_are_not_known() -> None:
    mask = Shifted(Causal(), torch.zeros(2, dtype=torch.long, device="meta"))
    assert mask.host == []
    assert mask.whole(EXTENT) == "mixed"
    assert mask.may_blind(EXTENT)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Shifted(Causal(), torch.tensor([1.0, 2.0])), ["whole numbers", "torch.float32", "[2]"]),
        (lambda: Shifted(Causal(), torch.tensor([[1], [2]])), ["one a batch entry", "[2, 1]"]),
        (lambda: Shifted(Causal(), torch.tensor([1, 2, 3])).check(EXTENT), ["3 numbers", "2 batch entries"]),
        (
            lambda: Shifted(TensorMask(torch.ones(5, 7, dtype=torch.bool)), torch.tensor([0, 1])).check(EXTENT),
            ["mask has shape [1, 1, 5, 7]", "from position 1"],
        ),
    ],
)
def test_shifts_that_do_not_fit_are_refused(make: Callable[[], object], words: list[str]) -> None:
    with as_a_user(), pytest.raises(ShapeError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)
