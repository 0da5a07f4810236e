"""Of each bias: what its picture shows, and lines that run."""

# %% alibi
# The steepest of eight heads: each step away costs 0.5. The second "sat" is too far from the first to be seen well.

import torch

import regard
from regard.attention.biases import Alibi

query, key, value = torch.randn(3, 1, 8, 12, 8)  # each [B H N D]
context = regard.attend(query, key, value, bias=Alibi(num_heads=8))
steps = (torch.arange(12) - torch.arange(12).unsqueeze(1)).abs()
by_hand = -Alibi(num_heads=8).slopes.view(8, 1, 1) * steps  # [H Q K]
assert torch.allclose(context, regard.attend(query, key, value, bias=by_hand), atol=1e-5)

# %% buckets
# The numbers of eight buckets were drawn with seed 1, far larger than those that a model begins with. Distances up
# to one have a number each, farther ones share theirs; keys before and after have different ones.

import torch

import regard
from regard.attention.biases import DistanceBuckets

query, key, value = torch.randn(3, 1, 8, 12, 8)
buckets = DistanceBuckets(num_heads=8)  # learned; one serves all layers
context = regard.attend(query, key, value, bias=buckets(queries=12, keys=12), scale=1.0)
context.sum().backward()
assert buckets.weight.grad.shape == (32, 8)  # a number for each bucket and head

# %% local_p
# Each query predicts a center, 11 sigmoid(v . q) with a v drawn with seed 1; words near it are favored. Nothing is
# hidden, but what is far gets next to nothing.

import torch

import regard
from regard.attention.biases import GaussianBias

query, key, predict = *torch.randn(2, 1, 8, 12, 8), torch.nn.Linear(8, 1)
centers = 11 * torch.sigmoid(predict(query)).squeeze(-1)  # [B H Q]
weights = regard.attention_weights(query, key, bias=GaussianBias(centers, deviation=1.5))
assert torch.allclose(weights.sum(dim=-1), torch.ones(1, 8, 12))  # the paper's own weights sum to less

# %% tensor
# Numbers drawn with seed 1, one a cell, moved the weights of the scaled dot product up and down.

import torch

import regard

query, key = torch.randn(2, 1, 8, 12, 8)
known = torch.zeros(12, 12)  # broadcasts to [B H Q K]
known[:, 0] = 5.0  # the first word matters
weights = regard.attention_weights(query, key, bias=known)
assert (weights[..., 0] > regard.attention_weights(query, key)[..., 0]).all()
