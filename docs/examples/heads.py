"""Of each kind of heads: what its picture shows, and lines that run."""

# %% self
# The first of eight heads, whose matrices were drawn with seed 1 and have learned nothing: it looks for what W_q and
# W_k happen to match. The same words have nearly the same rows and columns.

import torch

import regard
from regard.attention.heads import SelfAttention
from regard.attention.patterns import Causal

attention, states = SelfAttention(model_dim=64, num_heads=8, attention=regard.Attention()), torch.randn(1, 12, 64)
with regard.lens(attention) as lens:
    assert attention(states, mask=Causal()).shape == (1, 12, 64)
assert lens[""].weights().shape == (1, 8, 12, 12)

# %% cross
# The second sentence asks, the first is asked: five queries and seven keys. The first of eight heads, drawn with
# seed 1.

import torch

import regard
from regard.attention.heads import CrossAttention

attention = CrossAttention(model_dim=64, num_heads=8, attention=regard.Attention(), memory_dim=48)
memory = attention.remember(torch.randn(1, 7, 48))  # once, for all steps of a decoder
assert attention(torch.randn(1, 5, 64), memory).shape == (1, 5, 64)

# %% grouped
# The first of eight heads, drawn with seed 1. That it shares its keys with the second does not show in its weights: it
# shows in what a cache keeps, half as much.

import torch

import regard
from regard.attention.caches import GrowingCache
from regard.attention.heads import SelfAttention

attention, cache = SelfAttention(64, 8, regard.Attention(), num_kv_heads=4), GrowingCache(capacity=12)
attention.eval().requires_grad_(False)(torch.randn(1, 12, 64), cache=cache)
assert cache.key.shape == (1, 4, 12, 8)  # [B G K D]

# %% multi_query
# The first of eight heads, drawn with seed 1. All share their keys, which does not show in the weights of one: a cache
# keeps an eighth.

import torch

import regard
from regard.attention.caches import GrowingCache
from regard.attention.heads import SelfAttention

attention, cache = SelfAttention(64, 8, regard.Attention(), num_kv_heads=1), GrowingCache(capacity=12)
attention.eval().requires_grad_(False)(torch.randn(1, 12, 64), cache=cache)
assert cache.key.shape == (1, 1, 12, 8)  # [B G K D]

# %% rotary
# The first of eight heads, drawn with seed 1, base 100. The same words have other rows here, since their distances from
# the others differ.

import torch

import regard
from regard.attention.rotary import Rotary
from regard.attention.rotary_heads import RotarySelfAttention

attention, states = RotarySelfAttention(64, 8, regard.Attention(), Rotary(8), num_kv_heads=4), torch.randn(1, 12, 64)
context = attention(states)
moved = attention(states, positions=torch.arange(100, 112))  # all a hundred places further on
assert torch.allclose(context, moved, atol=1e-4)

# %% pooling
# Three learned queries, drawn with seed 1 and made eight times as long, sum up all words, one vector each: as they are
# at first, all words get nearly the same.

import torch

import regard
from regard.attention.heads import CrossAttention
from regard.attention.lengths import Padding
from regard.attention.pooling import AttentionPooling

pool = AttentionPooling(CrossAttention(64, 8, regard.Attention()), num_queries=3)
summary = pool(torch.randn(2, 12, 64), mask=Padding(torch.tensor([12, 9])))
assert summary.shape == (2, 3, 64)
