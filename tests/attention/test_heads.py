import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from regard.attention.attend import EVERYTHING, Attention
from regard.attention.biases import Alibi
from regard.attention.caches import Cache, FixedCache, GrowingCache, SlidingCache
from regard.attention.call import hide_states
from regard.attention.heads import CrossAttention, SelfAttention, head_dim, merge_heads, split_heads
from regard.attention.kernels import Constant, Gaussian, Triangular
from regard.attention.lengths import Padding
from regard.attention.masks import Mask
from regard.attention.patterns import Causal, TensorMask, Window
from regard.attention.scores import Additive, Cosine, General, Relative
from regard.errors import OptionError, ShapeError
from tests.attention.judge import as_a_user, assert_same

MODEL, HEADS = 12, 3
POISONS = [math.nan, math.inf, 1e30]


def self_attention(attention: Attention | None = None) -> SelfAttention:
    torch.manual_seed(1)
    return SelfAttention(MODEL, HEADS, Attention() if attention is None else attention).double()


def cross_attention(memory_dim: int | None = None) -> CrossAttention:
    torch.manual_seed(2)
    return CrossAttention(MODEL, HEADS, Attention(), memory_dim).double()


def grouped(groups: int, heads: int = 6) -> SelfAttention:
    torch.manual_seed(8)
    module = SelfAttention(MODEL, heads, Attention(), num_kv_heads=groups).double()
    biased(module)
    return module


def states(length: int, width: int = MODEL, seed: int = 3) -> Tensor:
    return torch.randn(2, length, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pytorch(ours: SelfAttention | CrossAttention) -> nn.MultiheadAttention:
    """Return PyTorch's module with our weights."""
    theirs = nn.MultiheadAttention(MODEL, HEADS, batch_first=True, dtype=torch.float64)
    if isinstance(ours, SelfAttention):
        projections = [ours.query_key_value]
    else:
        projections = [ours.query, ours.key_value]
    theirs.load_state_dict(
        {
            "in_proj_weight": torch.cat([linear.weight for linear in projections]),
            "in_proj_bias": torch.cat([linear.bias for linear in projections]),
            "out_proj.weight": ours.output.weight,
            "out_proj.bias": ours.output.bias,
        }
    )
    return theirs


def biased(module: nn.Module) -> None:
    """Give the biases, which start at zero, something to do."""
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)


def test_splitting_and_merging_heads_are_inverse() -> None:
    whole = states(5)
    heads = split_heads(whole, HEADS)
    assert heads.shape == (2, HEADS, 5, 4)
    assert torch.equal(heads[:, 1], whole[..., 4:8])
    assert torch.equal(merge_heads(heads), whole)


def test_self_attention_is_that_of_pytorch() -> None:
    ours = self_attention()
    biased(ours)
    padding = torch.tensor([4, 7])
    hidden = torch.arange(7) >= padding[:, None]
    expected = pytorch(ours)(states(7), states(7), states(7), key_padding_mask=hidden, need_weights=False)[0]
    assert_same(ours(states(7), mask=Padding(padding)), expected)


def test_causal_self_attention_is_that_of_pytorch() -> None:
    ours = self_attention()
    biased(ours)
    later = torch.ones(7, 7, dtype=torch.bool).triu(1)
    expected = pytorch(ours)(states(7), states(7), states(7), attn_mask=later, need_weights=False)[0]
    assert_same(ours(states(7), mask=Causal()), expected)


def test_heads_take_tensors_as_masks_with_a_cache_too() -> None:
    torch.manual_seed(1)
    heads, cross, rows = self_attention(), cross_attention(), states(7)
    allowed, known = torch.ones(7, 7, dtype=torch.bool).tril(), (torch.arange(7) < 5).view(1, 1, 1, 7)
    whole = heads(rows, mask=Causal())
    assert_same(heads(rows, mask=allowed), whole)
    cache = GrowingCache()
    with torch.no_grad():
        steps = [
            heads(rows[:, :4], mask=allowed[:4, :4], cache=cache),
            heads(rows[:, 4:], mask=allowed[4:], cache=cache),
        ]
    assert_same(torch.cat(steps, dim=1), whole)
    padded = cross.remember(rows, Padding(torch.tensor([5, 5])))
    assert_same(cross(states(5), cross.remember(rows, known)), cross(states(5), padded))


def test_cross_attention_is_that_of_pytorch() -> None:
    ours = cross_attention()
    biased(ours)
    memory, padding = states(7, seed=4), torch.tensor([4, 7])
    hidden = torch.arange(7) >= padding[:, None]
    expected = pytorch(ours)(states(5), memory, memory, key_padding_mask=hidden, need_weights=False)[0]
    assert_same(ours(states(5), ours.remember(memory, Padding(padding))), expected)


def test_cross_attention_reads_memories_of_another_width() -> None:
    ours = cross_attention(memory_dim=17)
    assert ours(states(5), ours.remember(states(7, 17))).shape == (2, 5, MODEL)


def test_self_attention_ignores_order() -> None:
    """Permuting the sequence permutes the result (row E1 of the sources); a causal mask ends that."""
    ours, order = self_attention(), torch.tensor([4, 0, 6, 2, 1, 5, 3])
    assert_same(ours(states(7)[:, order]), ours(states(7))[:, order])
    assert not torch.allclose(ours(states(7)[:, order], mask=Causal()), ours(states(7), mask=Causal())[:, order])


def test_every_head_may_have_its_own_mask() -> None:
    ours = self_attention()
    allowed = torch.rand(1, HEADS, 7, 7, generator=torch.Generator().manual_seed(5)) < 0.6
    expected = pytorch(ours)(
        states(7), states(7), states(7), attn_mask=~allowed.expand(2, -1, -1, -1).flatten(0, 1), need_weights=False
    )[0]
    allowed_rows = allowed.any(dim=-1).all()
    assert bool(allowed_rows), "PyTorch would answer NaN"
    assert_same(ours(states(7), mask=TensorMask(allowed)), expected)


def test_heads_take_any_score() -> None:
    kernels = (Gaussian(2.0), Triangular(6.0), Constant())
    for score in (Additive(4, 4, 5), General(4, 4), Cosine(3.0), Relative(4, 2), *kernels):
        ours = self_attention(Attention(score))
        assert ours(states(7), mask=Causal()).shape == (2, 7, MODEL)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_heads_work_under_autocast(dtype: torch.dtype) -> None:
    ours = self_attention().float()
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(states(7).to(dtype)).dtype == torch.bfloat16


# Caches


def check_cached_equals_full(mask: Mask, chunk: int, *, cache: Cache | None = None, ours: Any = None) -> None:
    """Compare one pass with a pass in chunks."""
    ours = self_attention() if ours is None else ours
    cache = GrowingCache(2) if cache is None else cache
    with torch.no_grad():
        parts = [
            ours(part, mask=mask, cache=cache)
            for part in states(29).tensor_split(tuple(range(chunk, 29, chunk)), dim=1)
        ]
        assert_same(torch.cat(parts, dim=1), ours(states(29), mask=mask))
    assert cache.length == 29


@pytest.mark.parametrize("chunk", [1, 2, 7, 29])
@pytest.mark.parametrize("mask", [Causal(), Causal() & Window(3, 0), Causal() & Window(40, 0)], ids=repr)
def test_cached_steps_and_chunks_equal_the_whole(mask: Mask, chunk: int) -> None:
    check_cached_equals_full(mask, chunk)
    check_cached_equals_full(mask, chunk, cache=FixedCache(29))


@pytest.mark.parametrize("chunk", [1, 2, 7, 29])
@pytest.mark.parametrize("window", [1, 3, 11])
def test_a_window_over_a_sliding_cache_equals_the_whole(window: int, chunk: int) -> None:
    for mask in (Window(window - 1, 0), Window(window - 1, 0) & Padding(torch.tensor([29, 5]))):
        check_cached_equals_full(mask, chunk, cache=SlidingCache(window), ours=grouped(2))


def check_bias_over_a_sliding_cache() -> None:
    """What counts positions counts them from the start of the text, not of the cache."""
    ours, cache = self_attention(), SlidingCache(3)
    named: dict[str, Any] = {"mask": Window(2, 0), "bias": Alibi(HEADS)}
    with torch.no_grad():
        parts = [ours(part, **named, cache=cache) for part in states(29).chunk(15, dim=1)]
        assert_same(torch.cat(parts, dim=1), ours(states(29), **named))


def test_a_bias_over_a_sliding_cache_equals_the_whole() -> None:
    check_bias_over_a_sliding_cache()


def test_a_sliding_cache_without_its_window_is_refused() -> None:
    cache = SlidingCache(3)
    self_attention()(states(3), mask=Causal(), cache=cache)
    with pytest.raises(OptionError, match="The cache keeps the keys from position 1 on"):
        self_attention()(states(1), mask=EVERYTHING, cache=cache)


def check_reordered(ours: Any, cache: Cache, mask: Mask, *, seed: int = 9) -> None:
    """Three beams of two sentences that go on from random parents see what their ancestors left."""
    generator = torch.Generator().manual_seed(seed)
    text = torch.zeros(6, 0, MODEL, dtype=torch.float64)
    with torch.no_grad():
        for step in range(7):
            new = torch.randn(6, 1, MODEL, generator=generator, dtype=torch.float64)
            text = torch.cat((text, new), dim=1)
            assert_same(ours(new, mask=mask, cache=cache)[:, 0], ours(text, mask=mask)[:, -1])
            parents = torch.randint(0, 3, (2, 3), generator=generator)
            cache.reorder(parents)
            text = text[(parents + torch.tensor([[0], [3]])).flatten()]
            assert cache.length == step + 1


@pytest.mark.parametrize("cache", [GrowingCache(2), FixedCache(7), SlidingCache(3)], ids=lambda c: type(c).__name__)
def test_beams_that_change_places_see_what_their_ancestors_left(cache: Cache) -> None:
    check_reordered(grouped(3), cache, Causal() & Window(2, 0))


def test_beams_over_one_memory_see_what_copies_of_it_would_show() -> None:
    """The encoder's memory is no cache to reorder: beams are queries over it, and sentences are kept."""
    cross, beams = cross_attention(), states(3, seed=6)
    memory = cross.remember(states(7, seed=4), Padding(torch.tensor([4, 7])))
    together = cross(beams, memory)
    copies = memory.keep(torch.tensor([0, 0, 0, 1, 1, 1]))
    assert_same(cross(beams.flatten(0, 1).unsqueeze(1), copies).view_as(together), together)


def test_a_cache_works_with_every_score() -> None:
    for score in (Additive(4, 4, 5), General(4, 4), Cosine(3.0)):
        ours = self_attention(Attention(score))
        cache = GrowingCache()
        with torch.no_grad():
            parts = [ours(part, mask=Causal(), cache=cache) for part in states(7).tensor_split((2, 4, 6), dim=1)]
            assert_same(torch.cat(parts, dim=1), ours(states(7), mask=Causal()))


def test_kept_entries_go_on_as_they_would_have() -> None:
    ours, entries = self_attention(), torch.tensor([1, 0, 1])
    cache = GrowingCache()
    with torch.no_grad():
        ours(states(7)[:, :4], mask=Causal(), cache=cache)
        cache.keep(entries)
        rest = ours(states(7)[entries, 4:], mask=Causal(), cache=cache)
        assert_same(rest, ours(states(7), mask=Causal())[entries, 4:])


# Padding and poison


PADDED = Padding(torch.tensor([4, 7]), torch.tensor([0, 2]))


def real(rows: Tensor) -> Tensor:
    """Return the rows that are no padding."""
    return torch.cat((rows[0, :4], rows[1, 2:]))


def poisoned(poison: float) -> Tensor:
    given = states(7)
    given[0, 4:], given[1, :2] = poison, poison
    return given.requires_grad_()


@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("cached", [False, True])
def test_poison_in_padded_rows_stays_there(poison: float, cached: bool) -> None:
    """The other rows are the same to the bit."""
    ours = self_attention()
    clean, dirty = (
        real(ours(poisoned(fill), mask=PADDED, cache=GrowingCache() if cached else None)) for fill in (0.0, poison)
    )
    assert torch.equal(clean, dirty)


@pytest.mark.parametrize("poison", POISONS)
def test_poison_in_padded_rows_leaks_into_no_gradient(poison: float) -> None:
    """Padded rows are queries too: what is not finite in them must be hidden before, as models do at their door."""
    ours = self_attention()
    results = []
    for fill in (0.0, poison):
        given = poisoned(fill)
        entered = given if fill == 1e30 else hide_states(given, PADDED)
        context = real(ours(entered, mask=PADDED))
        results.append(real(torch.autograd.grad(context.square().sum(), given)[0]))
    assert bool(results[1].isfinite().all())
    assert torch.equal(*results)


@pytest.mark.parametrize("poison", POISONS)
def test_poison_in_a_padded_memory_leaks_nowhere(poison: float) -> None:
    """Parameters included: padding is zeroed before anything is made of it."""
    ours = cross_attention()
    results: list[list[Tensor]] = []
    for fill in (0.0, poison):
        memory, query = states(7, seed=4), states(5)
        memory[0, 4:] = fill
        for given in (memory, query):
            given.requires_grad_()
        context = ours(query, ours.remember(memory, Padding(torch.tensor([4, 7]))))
        gradients = torch.autograd.grad(context.square().sum(), [memory, query, *ours.parameters()])
        results.append([context, *gradients])
    for clean, dirty in zip(*results, strict=True):
        assert torch.equal(clean, dirty)
    assert not results[1][1][0, 4:].any()


@pytest.mark.parametrize("extra", [1, 7, 100])
def test_padding_changes_nothing(extra: int) -> None:
    ours, cross = self_attention(), cross_attention()
    longer = nn.functional.pad(states(7), (0, 0, 0, extra), value=3.0)
    mask = Padding(torch.tensor([7, 7]))
    assert_same(ours(longer, mask=mask)[:, :7], ours(states(7)))
    assert_same(cross(states(5), cross.remember(longer, mask)), cross(states(5), cross.remember(states(7))))


def test_an_empty_sentence_gives_the_bias_of_the_output() -> None:
    cross = cross_attention()
    biased(cross)
    context = cross(states(5), cross.remember(states(7), Padding(torch.tensor([0, 7]))))
    assert_same(context[0], cross.output.bias.expand(5, -1))


def test_no_sentences_give_none() -> None:
    ours, cross = self_attention(), cross_attention()
    assert ours(states(7)[:0], mask=Causal()).shape == (0, 7, MODEL)
    assert cross(states(5)[:, :0], cross.remember(states(7))).shape == (2, 0, MODEL)


# Refusals


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((500, 8), r"model_dim \(500\) must be a multiple of num_heads \(8\): 496 and 504 are the nearest"),
        ((5, 8), r"model_dim \(5\) must be a multiple of num_heads \(8\): 8 is the nearest"),
        ((0, 8), r"model_dim \(0\) must be"),
        ((12, 0), "num_heads must be 1 or more; it is 0"),
        ((12, -3), "num_heads must be 1 or more; it is -3"),
    ],
)
def test_heads_share_the_width_evenly(sizes: tuple[int, int], words: str) -> None:
    for make in (lambda: head_dim(*sizes), lambda: SelfAttention(*sizes, Attention())):
        with pytest.raises(OptionError, match=words):
            make()
    with pytest.raises(OptionError, match=words):
        CrossAttention(*sizes, Attention())


@pytest.mark.parametrize("given", [states(7, 13), states(7)[0], states(7)[None]], ids=lambda x: str(list(x.shape)))
def test_states_of_another_shape_are_refused(given: Tensor) -> None:
    words = rf"must have the axes \[batch, length, 12\]; it has \[{', '.join(map(str, given.shape))}\]"
    calls: list[Any] = [
        lambda: self_attention()(given),
        lambda: cross_attention().remember(given),
        lambda: cross_attention()(given, cross_attention().remember(states(7))),
    ]
    for call in calls:
        with as_a_user(), pytest.raises(ShapeError, match=words):
            call()


def test_a_memory_of_another_batch_is_refused() -> None:
    cross = cross_attention()
    with as_a_user(), pytest.raises(ShapeError, match="key has 2 batch entries and query has 1"):
        cross(states(5)[:1], cross.remember(states(7)))


def test_lengths_of_another_batch_are_refused() -> None:
    with as_a_user(), pytest.raises(ShapeError, match="3 lengths and the call has 2 batch entries"):
        self_attention()(states(7), mask=Padding(torch.tensor([7, 7, 7])))
    with as_a_user(), pytest.raises(ShapeError, match="1 lengths and the call has 2 batch entries"):
        cross_attention().remember(states(7), Padding(torch.tensor([7])))
