"""Memories and what they hide: poison in keys and values that nobody may see leaks nowhere, gradients included."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from regard.attention.attend import Attention, attend, attention_weights
from regard.attention.call import Memory, hide
from regard.attention.catalogue import SCORES
from regard.attention.grid import Extent
from regard.attention.lengths import Padding
from regard.attention.masks import Everything, Mask
from regard.attention.patterns import Causal, TensorMask, Window
from regard.errors import ShapeError
from tests.attention.judge import GROUPED, PRODUCT_WAYS, Case, as_a_user, assert_same, case, gradients

POISONS = [math.nan, math.inf, -math.inf, 1e30]

HIDING: dict[str, Callable[[], Mask]] = {
    "padding": lambda: Padding(torch.tensor([4, 7])),
    "padding at the start": lambda: Padding(torch.tensor([7, 7]), torch.tensor([3, 0])),
    "causal, few queries": lambda: Causal(),
    "window": lambda: Window(1, 0),
    "causal and padding": lambda: Causal() & Padding(torch.tensor([3, 5])),
    "either of two": lambda: Padding(torch.tensor([2, 5])) | Window(0, 0),
    "a tensor": lambda: TensorMask(torch.tensor([1, 1, 0, 1, 1, 0, 1]).bool().view(1, 1, 1, 7)),
}


def poisoned(given: Case, poison: float) -> Case:
    """Put poison wherever no query of a batch entry may look."""
    extent = given.call().extent()
    allowed = given.mask.allows(*extent.indices()).expand(extent.batch, extent.heads, extent.queries, extent.keys)
    hidden = ~allowed.any(dim=2).any(dim=1)[:, None, :, None]
    assert bool(hidden.any())
    return replace(given, key=given.key.masked_fill(hidden, poison), value=given.value.masked_fill(hidden, poison))


def check_poison(score: str, mask: Mask, poison: float, way: str) -> None:
    """Compare a poisoned call with a clean one: to the bit, and with gradients."""
    clean = case(score, mask)
    if way not in clean.able_ways():
        return
    dirty = poisoned(clean, poison)
    assert torch.equal(dirty.context(way), clean.context(way))
    assert torch.equal(dirty.weights(), clean.weights())
    expected = gradients(clean, lambda c: c.context(way))
    for name, gradient in gradients(dirty, lambda c: c.context(way)).items():
        assert torch.equal(gradient, expected[name]), f"gradient of {name}"


@pytest.mark.parametrize("way", PRODUCT_WAYS)
@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("mask", HIDING)
def test_poison_that_nobody_sees_leaks_nowhere(mask: str, poison: float, way: str) -> None:
    check_poison("scaled_dot", HIDING[mask](), poison, way)


@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("score", SCORES)
def test_poison_leaks_through_no_score(score: str, poison: float) -> None:
    check_poison(score, Padding(torch.tensor([4, 7])), poison, "reference")


@pytest.mark.parametrize("poison", POISONS)
def test_poison_leaks_through_no_grouped_head(poison: float) -> None:
    clean = case(mask=Padding(torch.tensor([4, 7])), sizes=GROUPED, groups=2)
    assert torch.equal(poisoned(clean, poison).context("fused"), clean.context("fused"))


@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("score", SCORES)
def test_a_memory_keeps_no_poison(score: str, poison: float) -> None:
    clean = case(score, Padding(torch.tensor([4, 7])))
    dirty = poisoned(clean, poison)
    attention = Attention(clean.score)
    remembered = [attention.remember(given.key, given.value, given.mask) for given in (clean, dirty)]
    assert torch.equal(remembered[0].key, remembered[1].key)
    assert torch.equal(remembered[0].value, remembered[1].value)
    assert not remembered[1].value[0, :, 4:].any()
    assert_same(attention(clean.query, remembered[1]), clean.context())


def test_a_memory_hides_only_what_no_query_may_ever_see() -> None:
    """A mask that speaks of queries says nothing of keys as long as the queries are unknown."""
    given = case(mask="causal")
    attention = Attention()
    memory = attention.remember(given.key, given.value, Causal() & Padding(torch.tensor([4, 7])))
    assert bool(memory.value[1].all())
    assert not memory.value[0, :, 4:].any()
    for offset in (0, 1, 5):
        expected = attend(given.query, given.key, given.value, mask=memory.mask, offset=offset)
        assert_same(attention(given.query, memory, offset=offset), expected)
    known = attention.remember(given.key, given.value, Causal(), extent=Extent(2, 3, 5, 7, 0, torch.device("cpu")))
    assert not known.value[:, :, 5:].any()


@pytest.mark.parametrize("score", SCORES)
def test_attending_to_a_memory_is_attending(score: str) -> None:
    given = case(score, "padding")
    attention = Attention(given.score)
    memory = attention.remember(given.key, given.value, given.mask)
    assert_same(attention(given.query, memory), given.context())
    steps = [attention(given.query[:, :, i : i + 1], memory, offset=i) for i in range(5)]
    assert_same(torch.cat(steps, dim=2), given.context())
    both = attention(given.query, memory, mask=Causal(), offset=2)
    expected = attend(given.query, given.key, given.value, score=given.score, mask=given.mask & Causal(), offset=2)
    assert_same(both, expected)


def test_beams_are_queries_over_one_memory() -> None:
    given = case(mask="padding")
    memory = Attention().remember(given.key, given.value, given.mask)
    beams = Attention()(given.query, memory)
    for beam in range(5):
        assert_same(Attention()(given.query[:, :, beam : beam + 1], memory), beams[:, :, beam : beam + 1])


def test_keep_chooses_batch_entries() -> None:
    given = case(mask="padding")
    attention = Attention()
    entries = torch.tensor([1, 0, 1])
    memory = attention.remember(given.key, given.value, given.mask).keep(entries)
    assert isinstance(memory, Memory)
    assert_same(attention(given.query[entries], memory), given.context()[entries])


def test_a_memory_keeps_no_mask_that_hides_nothing() -> None:
    given = case()
    for mask, kept in ((Padding(torch.tensor([7, 9])), False), (Padding(torch.tensor([7, 6])), True), (Causal(), True)):
        memory = Attention().remember(given.key, given.value, mask)
        assert (memory.mask is mask) == kept
        assert isinstance(memory.mask, Everything) != kept


def test_hide_hands_on_what_is_all_seen() -> None:
    given = case(mask="everything")
    assert hide(given.key, given.value, given.mask)[0] is given.key
    assert hide(given.key, given.value, Causal())[1] is given.value
    full = Padding(torch.tensor([7, 9]))
    assert hide(given.key, given.value, full)[0] is given.key


def test_hide_counts_from_the_first_key() -> None:
    """Rows that go into a cache stand behind those that are there."""
    given = case()
    key, _ = hide(given.key[:, :, :3], given.value[:, :, :3], Padding(torch.tensor([6, 4])), first_key=4)
    assert key[0, 0].any(dim=-1).tolist() == [True, True, False]
    assert key[1, 0].any(dim=-1).tolist() == [False, False, False]


def test_a_call_knows_where_its_queries_and_keys_stand() -> None:
    positions = replace(case(), offset=3).call().positions()
    assert positions.query.tolist() == [3, 4, 5, 6, 7]
    assert positions.key.tolist() == [0, 1, 2, 3, 4, 5, 6]
    block = replace(case(), offset=3).call()._replace(first_key=11)
    assert block.positions().key.tolist() == [11, 12, 13, 14, 15, 16, 17]
    assert block.extent().key_positions == range(11, 18)
    assert torch.equal(block.extent().indices()[3], block.positions().key)


def test_a_call_has_no_mask_where_everything_may_be_seen() -> None:
    assert case().call().dense_mask() is None
    assert replace(case(), mask=Padding(torch.tensor([7, 8]))).call().dense_mask() is None
    assert replace(case(), mask=Causal(), offset=6).call().dense_mask() is None
    assert replace(case(), mask=Causal(), offset=5).call().dense_mask() is not None


# Company: the batch, the padding and the order of a batch change nothing


def padded(tensor: Tensor, before: int, after: int, poison: float) -> Tensor:
    return torch.nn.functional.pad(tensor, (0, 0, before, after), value=poison)


@pytest.mark.parametrize("poison", [0.0, 1e30, math.nan])
@pytest.mark.parametrize("extra", [1, 7, 100])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("way", PRODUCT_WAYS)
def test_padding_changes_nothing(way: str, dtype: torch.dtype, extra: int, poison: float) -> None:
    given = case().to(dtype)
    for before, after in ((0, extra), (extra, 0), (extra, extra)):
        mask = Padding(torch.tensor([before + 7, before + 7]), torch.tensor([before, before]))
        context = attend(
            given.query, padded(given.key, before, after, poison), padded(given.value, before, after, poison),
            mask=mask, way=way,
        )  # fmt: skip
        assert_same(context, given.context(way))


def check_company(way: str, dtype: torch.dtype) -> None:
    """Compare each sentence alone with the same in a batch of 64, in two orders."""
    torch.manual_seed(6)
    lengths = torch.randint(1, 8, (64,))
    query, key, value = (torch.randn(64, 3, n, 11).to(dtype) for n in (5, 7, 7))
    together = attend(query, key, value, mask=Padding(lengths), way=way)
    order = torch.randperm(64)
    shuffled = attend(query[order], key[order], value[order], mask=Padding(lengths[order]), way=way)
    assert_same(shuffled, together[order])
    for entry in range(0, 64, 7):
        row, length = slice(entry, entry + 1), int(lengths[entry])
        alone = attend(query[row], key[row, :, :length], value[row, :, :length], way=way)
        assert_same(alone, together[row])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("way", PRODUCT_WAYS)
def test_the_company_in_a_batch_changes_nothing(way: str, dtype: torch.dtype) -> None:
    check_company(way, dtype)


# Empty calls


@pytest.mark.parametrize("way", ["auto", *PRODUCT_WAYS])
@pytest.mark.parametrize("mask", [Causal(), Window(1, 1), ~Causal(), Causal() | Window(1, 1)], ids=repr)
def test_no_batch_entries_or_no_queries_give_an_empty_context(way: str, mask: Mask) -> None:
    for batch, queries in ((0, 5), (2, 0), (0, 0)):
        query, key = torch.randn(batch, 3, queries, 11, requires_grad=True), torch.randn(batch, 3, 7, 11)
        joined = mask & Padding(torch.full((batch,), 4))
        for some in (mask, joined):
            context = attend(query, key, key, mask=some, way=way)
            assert context.shape == (batch, 3, queries, 11)
            assert attention_weights(query, key, mask=some).shape == (batch, 3, queries, 7)
            assert torch.autograd.grad(context.sum(), query)[0].shape == query.shape


# Refusals


def four(*shape: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Tensor:
    return torch.zeros(shape, dtype=dtype, device=device)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (four(3, 7, 11), four(2, 3, 7, 11), "key must have the axes .* it has \\[3, 7, 11\\]"),
        (four(2, 3, 7, 11), four(7, 11), "value must have the axes .* it has \\[7, 11\\]"),
        (four(2, 3, 7, 11, dtype=torch.int64), four(2, 3, 7, 11), "key must hold floating-point .* torch.int64"),
        (four(2, 3, 7, 11), four(5, 3, 7, 11), "value has 5 batch entries and key has 2"),
        (four(2, 3, 7, 11), four(2, 5, 7, 11), "key has 3 heads of 7 positions and value has 5 of 7"),
        (four(2, 3, 7, 11), four(2, 3, 13, 11), "key has 3 heads of 7 positions and value has 3 of 13"),
        (four(2, 3, 0, 11), four(2, 3, 0, 11), "key has length 0"),
    ],
)
def test_a_memory_refuses_what_does_not_belong_together(key: Tensor, value: Tensor, words: str) -> None:
    with as_a_user(), pytest.raises(ShapeError, match=words):
        Attention().remember(key, value)


@pytest.mark.parametrize(
    ("query", "memory", "words"),
    [
        (four(3, 5, 11), (2, 3, 7, 11), "query must have the axes .* it has \\[3, 5, 11\\]"),
        (four(1, 3, 5, 11), (2, 3, 7, 11), "key has 2 batch entries and query has 1"),
        (four(2, 4, 5, 11), (2, 3, 7, 11), "query has 4 heads and key has 3"),
        (four(2, 3, 5, 13), (2, 3, 7, 11), "query has width 13 and key 11"),
        (
            four(2, 3, 5, 11, dtype=torch.float64),
            (2, 3, 7, 11),
            "key is torch.float32 on cpu and query is torch.float64",
        ),
        (four(2, 3, 5, 11, device="meta"), (2, 3, 7, 11), "key is torch.float32 on cpu and query is .* on meta"),
    ],
)
def test_a_query_that_does_not_fit_the_memory_is_refused(query: Tensor, memory: tuple[int, ...], words: str) -> None:
    with as_a_user(), pytest.raises(ShapeError, match=words):
        Attention()(query, Attention().remember(four(*memory), four(*memory)))


def test_a_memory_wants_a_length_a_batch_entry() -> None:
    with pytest.raises(ShapeError, match="3 lengths and the call has 2 batch entries"):
        Attention().remember(four(2, 3, 7, 11), four(2, 3, 7, 11), Padding(torch.tensor([7, 7, 7])))
