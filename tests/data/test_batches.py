from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from regard.data.batches import COST, IGNORED, Batch, ParallelSet, TokenBudget, TokenRows, padded, whole
from regard.errors import DataError, OptionError

rows = st.lists(st.lists(st.integers(3, 100_000), max_size=13), min_size=1, max_size=23)
some_lengths = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=97)


def parallel_set(source: Sequence[Sequence[int]], target: Sequence[Sequence[int]]) -> ParallelSet:
    return ParallelSet(TokenRows.gather(source), TokenRows.gather(target))


def of_lengths(pairs: Sequence[tuple[int, int]]) -> ParallelSet:
    return parallel_set([[5] * source for source, _ in pairs], [[7] * target for _, target in pairs])


def like_real_text(count: int) -> ParallelSet:
    random = np.random.default_rng(0)
    source = random.poisson(random.gamma(9, 1.3, count))
    target = random.poisson(source * 1.05)
    return of_lengths(list(zip(source.tolist(), target.tolist(), strict=True)))


@given(rows, st.data())
def test_rows_come_back(rows: list[list[int]], data: st.DataObject) -> None:
    stored = TokenRows.gather(rows)
    assert [stored[index] for index in range(len(stored))] == rows
    assert stored.lengths.tolist() == [len(row) for row in rows]
    chosen = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    kept = stored.keep(torch.tensor(chosen))
    assert [kept[index] for index in range(len(kept))] == [row for row, keep in zip(rows, chosen, strict=True) if keep]


def test_ids_take_four_bytes() -> None:
    stored = TokenRows.gather([[3, 5], [7]])
    assert (stored.ids.dtype, stored.ids.untyped_storage().nbytes()) == (torch.int32, 12)


def test_a_batch_is_what_a_model_reads_and_should_answer() -> None:
    dataset = parallel_set([[11, 12, 13], [21], []], [[31], [], [41, 42]])
    batch = dataset.batch([2, 0, 1])
    assert batch.source.tolist() == [[2, 0, 0, 0], [11, 12, 13, 2], [21, 2, 0, 0]]
    assert batch.source_lengths.tolist() == [1, 4, 2]
    assert batch.target.tolist() == [[1, 41, 42], [1, 31, 0], [1, 0, 0]]
    assert batch.labels.tolist() == [[41, 42, 2], [31, 2, IGNORED], [2, IGNORED, IGNORED]]
    assert batch.target_lengths.tolist() == [3, 2, 1]
    assert batch.indices == (2, 0, 1)
    assert {field.dtype for field in batch[:5]} == {torch.int64}
    assert dataset[0] == ([11, 12, 13], [31])
    assert len(dataset) == 3


@given(some_lengths, st.integers(1, 97), st.integers(0, 5), st.integers(0, 5))
def test_every_pair_is_in_one_batch_that_keeps_to_the_budget(
    pairs: list[tuple[int, int]], tokens: int, seed: int, epoch: int
) -> None:
    dataset = of_lengths(pairs)
    batches = TokenBudget(dataset, tokens=tokens, seed=seed).batches(epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(len(pairs)))
    for indices in batches:
        batch = dataset.batch(indices)
        assert max(batch.source.numel(), batch.target.numel()) <= tokens or len(indices) == 1


@given(st.lists(st.integers(1, 700), min_size=1, max_size=400), st.integers(1, 9973))
def test_a_budget_is_kept_with_the_padding_to_whole_multiples(lengths: list[int], tokens: int) -> None:
    dataset = of_lengths([(length, max(1, length - 1)) for length in lengths])
    batches = TokenBudget(dataset, tokens=tokens).batches(0)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for indices in batches:
        batch = dataset.batch(indices)
        for side, of_side in ((batch.source, batch.source_lengths), (batch.target, batch.target_lengths)):
            assert side.numel() <= tokens or len(indices) == 1
            assert side.shape[1] <= int(of_side.max()) * (1 + 1 / COST)


def test_the_tokens_of_a_batch_are_a_multiple_of_32_but_for_short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = like_real_text(19_997)

    def drawn() -> list[Batch]:
        return [dataset.batch(indices) for indices in TokenBudget(dataset, tokens=4099).batches(0)]

    batches = drawn()
    fitting = [batch for batch in batches if batch.source.numel() % 32 == batch.target.numel() % 32 == 0]
    assert len(fitting) >= len(batches) - 2 - sum(len(batch.indices) < 128 for batch in batches)
    full = sum(max(batch.source.numel(), batch.target.numel()) for batch in batches) / (4099 * len(batches))
    assert full > 0.85
    monkeypatch.setattr("regard.data.batches.MULTIPLE", 1)
    assert len({batch.source.numel() for batch in batches}) < 0.75 * len({batch.source.numel() for batch in drawn()})


@given(st.integers(1, 997), st.integers(1, 997), st.integers(1, 9973))
def test_rows_are_whole_multiples_of_what_they_are_four_of(rows: int, width: int, tokens: int) -> None:
    found = whole(rows, width, tokens)
    multiple = next(size for size in (32, 16, 8, 4, 2, 1) if rows >= 4 * size or size == 1)
    assert 1 <= found <= rows
    assert found % multiple == 0
    assert found * padded(width, found) <= tokens or found == 1 or rows * width > tokens
    assert width <= padded(width, found) <= width * (1 + 1 / COST)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    dataset = like_real_text(997)
    budget = TokenBudget(dataset, tokens=503, seed=3)
    first = budget.batches(5)
    budget.batches(6)
    assert budget.batches(5) == first == TokenBudget(dataset, tokens=503, seed=3).batches(5)
    assert budget.batches(6) != first
    assert TokenBudget(dataset, tokens=503, seed=4).batches(5) != first


def test_pairs_change_their_company_and_batches_their_place() -> None:
    budget = TokenBudget(like_real_text(9973), tokens=1009)
    one, other = ({frozenset(batch) for batch in budget.batches(epoch)} for epoch in (0, 1))
    assert len(one & other) < 0.2 * len(one)
    lengths = [len(batch) for batch in budget.batches(0)]
    assert abs(np.corrcoef(lengths, np.arange(len(lengths)))[0, 1]) < 0.3


def padding_share(lengths: Sequence[Tensor], padded: Sequence[Tensor]) -> float:
    return 1 - sum(int(x.sum()) for x in lengths) / sum(x.numel() for x in padded)


def test_little_of_a_batch_is_padding() -> None:
    dataset = like_real_text(19_997)
    batches = [dataset.batch(indices) for indices in TokenBudget(dataset, tokens=2003).batches(0)]
    assert padding_share([batch.target_lengths for batch in batches], [batch.target for batch in batches]) < 0.01
    assert padding_share([batch.source_lengths for batch in batches], [batch.source for batch in batches]) < 0.12


def test_a_pair_beyond_the_budget_is_a_batch_of_its_own() -> None:
    batches = TokenBudget(of_lengths([(1, 1), (97, 2), (1, 1), (2, 89), (1, 1)]), tokens=11).batches(0)
    assert sorted(map(sorted, batches)) == [[0, 2, 4], [1], [3]]


def test_an_impossible_budget_is_refused() -> None:
    with pytest.raises(OptionError, match=r"^A batch must have room for at least 1 token; it is given 0\.$"):
        TokenBudget(of_lengths([(1, 1)]), tokens=0)
    with pytest.raises(DataError, match=r"^There is no pair to make batches of\.$"):
        TokenBudget(of_lengths([]), tokens=5)
