import itertools
from collections.abc import Callable

import pytest
import torch

from regard.attention.attend import attend
from regard.attention.grid import Extent
from regard.attention.lengths import Documents, Padding, document_numbers
from regard.attention.patterns import Causal
from regard.errors import ShapeError
from tests.attention.judge import as_a_user, assert_same
from tests.attention.test_masks import CPU, EXTENT, rows

# Padding


def test_padding_answers_once_for_all_layers() -> None:
    mask = Padding(torch.tensor([3, 5]))
    first = mask.dense(EXTENT)
    assert mask.dense(EXTENT._replace(queries=1, offset=4)) is first
    longer = mask.dense(EXTENT._replace(keys=11))
    assert torch.equal(longer, torch.arange(11) < torch.tensor([3, 5]).view(2, 1, 1, 1))
    shorter = mask.dense(EXTENT._replace(keys=2, first_key=2))
    assert torch.equal(shorter, longer[..., 2:4])
    assert shorter.data_ptr() == mask.dense(EXTENT._replace(keys=11))[..., 2:].data_ptr()
    assert mask.dense(EXTENT._replace(device=torch.device("meta"))).device.type == "meta"


def test_padding_that_was_asked_in_inference_mode_serves_training() -> None:
    mask = Padding(torch.tensor([3, 5]))
    with torch.inference_mode():
        mask.dense(EXTENT)
    states = torch.randn(2, 3, 5, 7, requires_grad=True)
    (gradient,) = torch.autograd.grad(states.masked_fill(~mask.dense(EXTENT), 0.0).sum(), states)
    assert int(gradient.sum()) == 3 * 5 * (3 + 5)


def test_padding_of_no_batch_entries_is_mixed() -> None:
    assert Padding(torch.zeros(0, dtype=torch.long)).block(range(3), range(5)) == "mixed"


def test_a_padding_mask_on_the_meta_device_knows_no_numbers() -> None:
    mask = Padding(torch.zeros(2, dtype=torch.long, device="meta"))
    assert mask.host_lengths == []
    assert mask.may_blind(EXTENT)


# Documents


SQUARE = Extent(1, 1, 6, 6, 0, CPU)


def check_hand_drawn_documents() -> None:
    packed = Documents(document_numbers([[2, 3]], width=6))
    assert rows(packed, SQUARE) == ["xx....", "xx....", "..xxx.", "..xxx.", "..xxx.", "......"]
    assert rows(packed & Causal(), SQUARE) == ["x.....", "xx....", "..x...", "..xx..", "..xxx.", "......"]
    assert rows(packed & Causal(), SQUARE._replace(queries=2, offset=3)) == ["..xx..", "..xxx."]
    assert rows(packed, SQUARE._replace(keys=3, first_key=2)) == ["...", "...", "xxx", "xxx", "xxx", "..."]
    assert rows(packed, SQUARE._replace(queries=3, offset=-1)) == ["......", "xx....", "xx...."]
    assert rows(packed, SQUARE._replace(queries=2, offset=5)) == ["......", "......"]
    parted = Documents(torch.tensor([[4, 4, 0, 4, -1, 0]]))
    assert rows(parted, SQUARE) == ["xx.x..", "xx.x..", "..x..x", "xx.x..", "......", "..x..x"]


def test_documents_look_at_themselves_alone() -> None:
    check_hand_drawn_documents()


def test_documents_are_numbered_by_their_lengths() -> None:
    expected = [[0, 0, 2, 2, 2, -1, -1], [0, 1, 1, 1, 1, 1, -1], [-1] * 7]
    assert document_numbers([[2, 0, 3], [1, 5], []], width=7).tolist() == expected
    assert document_numbers([[2, 1], [1]]).tolist() == [[0, 0, 1], [0, -1, -1]]
    assert document_numbers([]).shape == (0, 0)


def test_blocks_of_documents_are_known_on_the_host() -> None:
    mask = Documents(document_numbers([[100, 300, 50], [120, 320]]))
    assert mask.block(range(64), range(64, 100)) == "full"
    assert mask.block(range(64), range(64, 101)) == "mixed"
    assert mask.block(range(64), range(120, 400)) == "empty"
    assert mask.block(range(64), range(110, 120)) == "mixed"
    assert mask.block(range(430, 440), range(430, 440)) == "full"
    assert mask.block(range(440, 450), range(440, 450)) == "mixed"
    assert mask.block(range(450, 460), range(460)) == "empty"
    assert mask.block(range(-5, 3), range(3)) == "mixed"
    assert Documents(torch.zeros(1, 3, dtype=torch.long, device="meta")).block(range(2), range(2)) == "mixed"
    assert Documents(torch.zeros(0, 3, dtype=torch.long)).block(range(2), range(2)) == "mixed"


def test_packed_documents_attend_as_each_alone() -> None:
    """Contexts and gradients of rows that hold several documents are those of the documents by themselves."""
    torch.manual_seed(4)
    lengths = [[3, 1, 5], [4, 4]]
    query, key, value = (torch.randn(2, 3, 9, 11, dtype=torch.float64, requires_grad=True) for _ in range(3))
    packed = attend(query, key, value, mask=Documents(document_numbers(lengths)) & Causal())
    alone = torch.zeros_like(packed)
    for row, counts in enumerate(lengths):
        for end, count in zip(itertools.accumulate(counts), counts, strict=True):
            place = slice(row, row + 1), slice(None), slice(end - count, end)
            alone[place] = attend(query[place], key[place], value[place], mask=Causal())
    assert_same(packed, alone)
    factors = torch.randn_like(packed)
    found, expected = (torch.autograd.grad((x * factors).sum(), (query, key, value)) for x in (packed, alone))
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


# Refusals


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Padding(torch.tensor([3.0, 5.0])), ["lengths", "whole numbers", "torch.float32", "[2]"]),
        (lambda: Padding([3, 5]), ["lengths of a padding mask must be a tensor", "type list"]),  # type: ignore[arg-type]
        (lambda: Documents([[0, 1]]), ["documents must be a tensor"]),  # type: ignore[arg-type]
        (lambda: Padding(torch.tensor([True, False])), ["lengths", "torch.bool"]),
        (lambda: Padding(torch.tensor([[3], [5]])), ["lengths", "one a batch entry", "[2, 1]"]),
        (lambda: Padding(torch.tensor([3, -2])), ["lengths", "0 or more", "-2"]),
        (lambda: Padding(torch.tensor([3, 5]), torch.tensor([1.0, 0.0])), ["starts", "torch.float32"]),
        (lambda: Padding(torch.tensor([3, 5]), torch.tensor([1])), ["2 lengths", "1 starts"]),
        (lambda: Padding(torch.tensor([3, 5, 7])).check(EXTENT), ["3 lengths", "2 batch entries"]),
        (
            lambda: Documents(torch.tensor([[1.0, 2.0]])),
            ["whole numbers", "torch.float32", "[1, 2]"],
        ),
        (lambda: Documents(torch.tensor([1, 2])), ["whole numbers [batch, positions]", "[2]"]),
        (lambda: Documents(torch.tensor([[True]])), ["whole numbers", "torch.bool"]),
        (lambda: Documents(torch.zeros(2, 0, dtype=torch.long)), ["one position or more", "[2, 0]"]),
        (lambda: Documents(torch.zeros(3, 7, dtype=torch.long)).check(EXTENT), ["Documents has 3 rows", "2 batch"]),
        (
            lambda: Documents(torch.zeros(1, 7, dtype=torch.long, device="meta")).check(EXTENT),
            ["Documents is on meta", "query on cpu"],
        ),
        (lambda: document_numbers([[3, 4], [5]], width=6), ["fill 7 positions", "rows have 6"]),
        (lambda: document_numbers([[3, -4]]), ["lengths -4 and more"]),
    ],
)
def test_lengths_that_do_not_fit_are_refused(make: Callable[[], object], words: list[str]) -> None:
    with as_a_user(), pytest.raises(ShapeError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)
