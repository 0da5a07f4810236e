"""Mutants of patterns, positions, caches and shared heads: the checks of their tests must see every one."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from regard.attention import biases as biases_module
from regard.attention import caches as caches_module
from regard.attention import rotary as rotary_module
from regard.attention.biases import Alibi, BucketBias
from regard.attention.caches import Cache, FixedCache, GrowingCache, SlidingCache
from regard.attention.call import Memory
from regard.attention.lengths import Documents
from regard.attention.masks import Mask
from regard.attention.patterns import Adjacency, Causal, DilatedWindow, GlobalTokens, Window
from regard.attention.pooling import AttentionPooling
from regard.attention.positions import GridPositions
from regard.attention.rotary import Rotary
from regard.attention.rotary_heads import RotarySelfAttention
from regard.attention.scalings import UNSCALED, DynamicNtk, Llama3, LongRope, Scaling, Yarn
from tests.attention import (
    test_biases,
    test_caches,
    test_grouped_heads,
    test_heads,
    test_lengths,
    test_patterns,
    test_pooling,
    test_positions,
    test_rotary,
    test_rotary_heads,
    test_scalings,
)
from tests.attention.mutation import caught

pytestmark = pytest.mark.slow

Patch = pytest.MonkeyPatch


def checks() -> Iterator[Callable[[], None]]:
    """Give the assertions of the quick tests."""
    yield test_patterns.check_hand_drawn_patterns
    yield test_lengths.check_hand_drawn_documents
    yield test_biases.check_slopes
    yield test_biases.check_buckets
    yield test_positions.check_grid
    yield test_scalings.check_frequencies
    yield test_scalings.check_dynamic_ntk
    yield test_scalings.check_llama3
    yield test_scalings.check_yarn
    yield test_scalings.check_long_rope
    yield test_rotary.check_turns_by_hand
    yield lambda: test_rotary.check_differences_only("yarn", 3, 11, 17, 40)
    yield test_rotary.check_growing
    yield test_caches.check_sliding_storage
    yield test_caches.check_beams
    yield lambda: test_grouped_heads.check_grouped(2)
    yield lambda: test_heads.check_cached_equals_full(Window(2, 0), 2, cache=SlidingCache(3))
    yield test_heads.check_bias_over_a_sliding_cache
    for cache in (GrowingCache, lambda: FixedCache(7), lambda: SlidingCache(3)):
        yield lambda make=cache: test_heads.check_reordered(  # type: ignore[misc]
            test_heads.grouped(3), make(), Causal() & Window(2, 0)
        )
    yield test_rotary_heads.check_by_hand
    yield lambda: test_heads.check_cached_equals_full(Causal(), 2, ours=test_rotary_heads.module("yarn"))
    yield lambda: test_rotary_heads.check_growing_text("dynamic_ntk", GrowingCache())
    yield test_rotary_heads.check_beams_side_by_side
    yield test_pooling.check_pooling


def allows(mask: type[Mask], answer: Callable[..., Tensor]) -> Callable[[Patch], None]:
    """Put another answer in the place of a mask's, and let it know nothing of blocks."""

    def mutate(patch: Patch) -> None:
        patch.setattr(mask, "allows", lambda self, batch, head, query, key: answer(self, batch, query, key))
        patch.setattr(mask, "block", lambda self, queries, keys: "mixed")
        patch.setattr(mask, "dense", Mask.dense)

    return mutate


def instead(owner: object, name: str, value: object) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(owner, name, value)


def stale_keys(patch: Patch) -> None:
    """Keys that were turned by the length of a shorter text stay as they were."""
    patch.setattr(Rotary, "varies", property(lambda self: False))


def last_of_the_rows(real: Callable[..., tuple[Tensor, Tensor]]) -> Callable[..., tuple[Tensor, Tensor]]:
    """Let go of a row too early."""

    def append(self: SlidingCache, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = real(self, key, value)
        if keys.shape[2] > key.shape[2]:
            self.first_key += 1
            return keys[:, :, 1:], values[:, :, 1:]
        return keys, values

    return append


def first_key_ignored(patch: Patch) -> None:
    real = Memory.__new__
    patch.setattr(
        Memory, "__new__", lambda kind, key, value, *mask_and_first: real(kind, key, value, *mask_and_first[:1])
    )


def columns_first(self: GridPositions, start: int, length: int) -> Tensor:
    places = [divmod(position, self.columns) for position in range(start, start + length)]
    return torch.cat([torch.cat((self.one(column, 1), self.one(row, 1)), -1) for row, column in places])


def mixed_the_other_way(kind: type[Scaling]) -> Callable[[Patch], None]:
    """Slow the fast pairs down instead of the slow ones."""
    real = kind.frequencies

    def frequencies(self: Scaling, base: float, rotary_dim: int, length: int) -> Tensor:
        plain = UNSCALED.frequencies(base, rotary_dim, length)
        factor: float = self.factor  # type: ignore[attr-defined]
        return plain * plain / factor / real(self, base, rotary_dim, length)

    return instead(kind, "frequencies", frequencies)


def number_of_the_bucket(real: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda self, distance: real(self, -distance)


MUTANTS: dict[str, Callable[[Patch], None]] = {
    "dilation ignored": allows(
        DilatedWindow, lambda self, batch, query, key: (key >= query - self.before) & (key <= query + self.after)
    ),
    "dilation fills its gaps": allows(
        DilatedWindow,
        lambda self, batch, query, key: (
            (key >= query - self.before * self.dilation) & (key <= query + self.after * self.dilation)
        ),
    ),
    "dilation does not stretch the window": allows(
        DilatedWindow,
        lambda self, batch, query, key: (
            ((key - query) % self.dilation == 0) & (key >= query - self.before) & (key <= query + self.after)
        ),
    ),
    "global tokens see no others": allows(
        GlobalTokens, lambda self, batch, query, key: self.holds(batch, key) & (query == query)
    ),
    "global tokens are seen by none": allows(
        GlobalTokens, lambda self, batch, query, key: self.holds(batch, query) & (key == key)
    ),
    "edges turned round": allows(Adjacency, lambda self, batch, query, key: self.allowed[0, 0][key, query]),
    "documents see those before": allows(
        Documents,
        lambda self, batch, query, key: self.documents[0][key.clamp(0, 5)] <= self.documents[0][query.clamp(0, 5)],
    ),
    "what belongs to no document sees itself": allows(
        Documents,
        lambda self, batch, query, key: self.documents[0][key.clamp(0, 5)] == self.documents[0][query.clamp(0, 5)],
    ),
    "ALiBi favors the far": instead(
        Alibi, "adds", lambda self, batch, head, query, key: self.slopes[head] * (query - key).abs()
    ),
    "ALiBi favors what comes after": instead(
        Alibi, "adds", lambda self, batch, head, query, key: self.slopes[head] * (key - query)
    ),
    "slopes of other numbers of heads in order": instead(
        biases_module, "alibi_slopes", lambda heads: [2.0 ** (-8 * head / heads) for head in range(1, heads + 1)]
    ),
    "buckets of the other direction": instead(BucketBias, "bucket", number_of_the_bucket(BucketBias.bucket)),
    "rows and columns of a grid swapped": instead(GridPositions, "forward", columns_first),
    "base of dynamic NTK times the growth alone": instead(
        DynamicNtk,
        "frequencies",
        lambda self, base, dim, length: UNSCALED.frequencies(
            base * max(1, 2 * length / self.original_length - 1), dim, 1
        ),
    ),
    "YaRN slows the fast": mixed_the_other_way(Yarn),
    "Llama 3 slows the fast": mixed_the_other_way(Llama3),
    "YaRN's amplitude forgotten": instead(Yarn, "amplitude", 1.0),
    "LongRoPE's short list for all": instead(
        LongRope,
        "frequencies",
        lambda self, base, dim, length: UNSCALED.frequencies(base, dim, 1) / torch.tensor(self.short),
    ),
    "turned with the clock": instead(
        Rotary, "waves", lambda self, positions, length, dtype, real=Rotary.waves: real(self, -positions, length, dtype)
    ),
    "halves for neighbors": instead(test_rotary, "neighbors", rotary_module.halves),
    "the rest of the width dropped to zero": instead(
        Rotary,
        "turned",
        lambda self, vectors, waves, real=Rotary.turned: torch.nn.functional.pad(
            real(self, vectors[..., : self.rotary_dim], waves), (0, vectors.shape[-1] - self.rotary_dim)
        ),
    ),
    "keys turned by frequencies of a shorter text": stale_keys,
    "a step is turned as the first": instead(
        RotarySelfAttention, "turned", lambda self, vectors, start, positions: self.rotary(vectors, 0)
    ),
    "queries alone are turned": instead(
        RotarySelfAttention,
        "turned",
        lambda self, vectors, start, positions, real=RotarySelfAttention.turned: (
            real(self, vectors, start, positions)
            if vectors.shape[1] == self.num_heads != self.num_kv_heads
            else vectors
        ),
    ),
    "a sliding cache lets go too early": instead(SlidingCache, "append", last_of_the_rows(SlidingCache.append)),
    "a cache keeps its order": instead(Cache, "keep", lambda self, entries: None),
    "a fixed cache keeps its order": instead(FixedCache, "keep", lambda self, entries: None),
    "beams go on from those of the first sentence": instead(
        caches_module, "beam_entries", lambda parents: parents.flatten()
    ),
    "the first key stands at zero": first_key_ignored,
    "one query pools": instead(
        AttentionPooling,
        "forward",
        lambda self, states: self.cross_attention(
            self.queries[:1].expand(len(states), len(self.queries), -1), self.cross_attention.remember(states)
        ),
    ),
}


def test_the_checks_pass_on_what_is_right() -> None:
    assert caught(lambda patch: None, checks) is None


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name: str) -> None:
    assert caught(MUTANTS[name], checks) is not None, f"{name}: no check noticed"
