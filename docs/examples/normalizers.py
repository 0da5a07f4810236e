"""Of each normalizer: what its picture shows, and lines that run."""

# %% softmax
# Every word gets something, the palest too.

import torch

import regard
from regard.attention.normalizers import Softmax

query, key = torch.randn(2, 1, 8, 12, 8)  # each [B H N D]
weights = regard.attention_weights(query, key, normalizer=Softmax())  # which is the normalizer where none is named
assert (weights > 0).all()
assert torch.allclose(weights.sum(dim=-1), torch.ones(1, 8, 12))

# %% sink_softmax
# The sink is 0, as it is at first. Here it takes one to three hundredths of each row, which is paler than under softmax
# by that.

import torch

import regard
from regard.attention.normalizers import SinkSoftmax

query, key = torch.randn(2, 1, 8, 12, 8)
weights = regard.attention_weights(query, key, normalizer=SinkSoftmax(num_heads=8))
assert (weights.sum(dim=-1) < 1).all()  # the rest is in the sink
assert torch.allclose(weights, torch.softmax(query @ key.mT / 8**0.5, -1) * weights.sum(-1, keepdim=True), atol=1e-6)

# %% sparsemax
# Most cells are gray, exactly zero: only the words that fit best share the row.

import torch

import regard
from regard.attention.normalizers import Sparsemax

query, key = torch.tensor([[[[1.0]]]]), torch.tensor([[[[1.0], [0.6], [-1.0]]]])  # scores 1, 0.6 and -1
weights = regard.attention_weights(query, key, normalizer=Sparsemax())
assert torch.allclose(weights, torch.tensor([0.7, 0.3, 0.0]))
assert weights[0, 0, 0, 2] == 0  # exactly

# %% entmax15
# Between softmax and sparsemax: what fits badly is exactly zero, and more words stay than with sparsemax.

import torch

import regard
from regard.attention.normalizers import Entmax15, Sparsemax

query, key = torch.randn(2, 1, 8, 12, 8)
some = regard.attention_weights(query, key, normalizer=Entmax15())
fewer = regard.attention_weights(query, key, normalizer=Sparsemax())
assert (fewer > 0).sum() <= (some > 0).sum() < some.numel()

# %% entmax
# With alpha = 1.3, nearer to softmax: fewer cells are gray than with entmax15.

import torch

import regard
from regard.attention.normalizers import Entmax

query, key = torch.randn(2, 1, 8, 12, 8)
weights = regard.attention_weights(query, key, normalizer=Entmax(alpha=1.001))
assert torch.allclose(weights, regard.attention_weights(query, key), atol=0.01)  # toward 1 it is the softmax

# %% adaptive_entmax
# As it is at first, with an alpha of 1.505 in every head: it looks like entmax15 until it has learned.

import torch

import regard
from regard.attention.normalizers import AdaptiveEntmax

query, key, value = torch.randn(3, 1, 8, 12, 8)
normalizer = AdaptiveEntmax(num_heads=8)
regard.attend(query, key, value, normalizer=normalizer).square().sum().backward()
assert normalizer.free.grad.shape == (8,)  # how sparse a head is can be learned
assert torch.allclose(normalizer.alpha(), torch.full((8,), 1.505))

# %% sigmoid
# With a shift of -log(12). Each word is judged by itself, so that a row need not sum to one: those of this picture sum
# to 1.6 to 3.5.

import math

import torch

import regard
from regard.attention.normalizers import Sigmoid

query, key = torch.randn(2, 1, 8, 12, 8)
weights = regard.attention_weights(query, key, normalizer=Sigmoid(shift=-math.log(12)))
alone = regard.attention_weights(query, key[:, :, :1], normalizer=Sigmoid(shift=-math.log(12)))
assert torch.allclose(weights[..., :1], alone, atol=1e-6)  # other keys do not matter
