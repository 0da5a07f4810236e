"""Of each cache: what its picture shows, and lines that run."""

# %% growing
# Decoded word by word, a row a step: each step adds a key, and the last sees them all. Blank is what the cache does not
# hold yet. The heads were drawn with seed 1.

import torch

import regard
from regard.attention.caches import GrowingCache
from regard.attention.heads import SelfAttention
from regard.attention.patterns import Causal

attention, states, cache = SelfAttention(64, 8, regard.Attention()), torch.randn(1, 12, 64), GrowingCache()
with torch.no_grad():
    steps = [attention(word, mask=Causal(), cache=cache) for word in states.split(1, dim=1)]
    assert torch.allclose(torch.cat(steps, dim=1), attention(states, mask=Causal()), atol=1e-5)

# %% fixed
# The same weights as those of a growing cache, decoded word by word: only the storage differs. Blank is what the cache
# does not hold yet.

import torch

import regard
from regard.attention.caches import FixedCache
from regard.attention.heads import SelfAttention

attention, cache = SelfAttention(64, 8, regard.Attention()), FixedCache(max_length=12)
with torch.no_grad():
    attention(torch.randn(1, 5, 64), cache=cache)  # the beginning of a text at once, then a word
    place = cache.key.data_ptr()
    attention(torch.randn(1, 1, 64), cache=cache)
assert cache.length == 6
assert cache.key.data_ptr() == place  # the storage never moves

# %% sliding
# Decoded word by word with a window of three: left of it is blank what the cache let go of, right of it what is not
# there yet.

import torch

import regard
from regard.attention.caches import SlidingCache
from regard.attention.heads import SelfAttention
from regard.attention.patterns import Window

attention, cache = SelfAttention(64, 8, regard.Attention()), SlidingCache(window=3)
with torch.no_grad():
    for word in torch.randn(1, 12, 64).split(1, dim=1):
        attention(word, mask=Window(2, 0), cache=cache)
assert cache.first_key == 9  # of twelve keys the first nine are gone
