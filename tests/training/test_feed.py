from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch

from regard.errors import DataError
from regard.training.feed import Feed, Place, to_device

CPU = torch.device("cpu")


class Number(NamedTuple):
    value: Any
    indices: tuple[int, ...]


def three_an_epoch(epoch: int, position: int) -> Iterator[Number]:
    return iter([Number(10 * epoch + number, (number,)) for number in range(position, 3)])


def test_batches_come_epoch_after_epoch_with_the_place_of_the_next() -> None:
    feed = Feed(three_an_epoch, Place(0, 0), CPU)
    seen = [(feed.take().value, feed.place) for _ in range(5)]
    assert seen == [(0, (0, 1)), (1, (0, 2)), (2, (1, 0)), (10, (1, 1)), (11, (1, 2))]


@pytest.mark.parametrize("taken", range(7))
def test_a_feed_goes_on_from_any_place(taken: int) -> None:
    whole = Feed(three_an_epoch, Place(0, 0), CPU)
    for _ in range(taken):
        whole.take()
    again = Feed(three_an_epoch, whole.place, CPU)
    assert [again.take() for _ in range(7)] == [whole.take() for _ in range(7)]


def test_an_empty_epoch_is_named_instead_of_searched_for_ever() -> None:
    with pytest.raises(DataError, match="Epoch 6 has no batch from number 8 on: is the data set empty"):
        Feed(three_an_epoch, Place(5, 7), CPU).take()


def test_random_numbers_that_a_loader_draws_do_not_touch_those_of_training() -> None:
    def drawing(epoch: int, position: int) -> Iterator[Number]:
        torch.rand(())
        for number in range(3):
            yield Number(float(torch.rand(())), (number,))

    torch.manual_seed(7)
    before = torch.get_rng_state()
    feed = Feed(drawing, Place(0, 0), CPU)
    values = [feed.take().value for _ in range(4)]
    assert torch.equal(torch.get_rng_state(), before)
    assert len(values) == 4


def test_a_loader_is_closed_at_the_end_of_an_epoch_and_of_the_training() -> None:
    closed: list[int] = []

    def closing(epoch: int, position: int) -> Iterator[Number]:
        try:
            yield from three_an_epoch(epoch, position)
        finally:
            closed.append(epoch)

    feed = Feed(closing, Place(0, 0), CPU)
    seen = [feed.take(), feed.take(), feed.take()]
    assert closed == [0]
    seen.append(feed.take())
    feed.close()
    assert closed == [0, 1]
    assert [batch.value for batch in seen] == [0, 1, 2, 10]


def test_the_tensors_of_a_batch_move_and_the_rest_stays() -> None:
    moved = to_device(Number(torch.zeros(2), (3, 5)), torch.device("meta"))
    assert isinstance(moved, Number)
    assert moved.value.device.type == "meta"
    assert moved.indices == (3, 5)
