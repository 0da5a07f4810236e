"""Of each rotation: what its picture shows, and lines that run."""

# %% rotary
# Each diagonal has one score. Near is more, and a little more again at six, where the fastest pair has come round.

import torch

import regard
from regard.attention.rotary import Rotary

query, key, value = torch.randn(3, 1, 8, 12, 8)  # each [B H N D]
rotary = Rotary(8)
here = regard.attend(rotary(query), rotary(key), value)
there = regard.attend(rotary(query, start=100), rotary(key, start=100), value)
assert torch.allclose(here, there, atol=1e-4)  # only distances count

# %% rotary_neighbors
# The vector and the angles of rotary, in other pairs. The first numbers of this vector are the largest, so that its
# fastest pair weighs more here.

import torch

from regard.attention.rotary import Rotary, neighbors

query = torch.randn(1, 8, 12, 8)
order = [0, 2, 4, 6, 1, 3, 5, 7]  # in which neighbors become halves
turned = Rotary(8, pairing=neighbors)(query)
assert torch.allclose(turned[..., order], Rotary(8)(query[..., order]), atol=1e-5)

# %% rotary_partial
# The first four of eight dimensions turn, in two pairs; the rest adds the same score everywhere, which the softmax does
# not see.

import torch

from regard.attention.rotary import Rotary

query = torch.randn(1, 8, 12, 8)
turned = Rotary(rotary_dim=4)(query)
assert torch.equal(turned[..., 4:], query[..., 4:])
assert not torch.equal(turned[..., :4], query[..., :4])

# %% linear_scaling
# All angles of rotary divided by 2.5: the same pattern, drawn out.

import torch

from regard.attention.rotary import Rotary
from regard.attention.scalings import LinearScaling

query, plain = torch.randn(1, 8, 12, 8), Rotary(8)
scaled = Rotary(8, scaling=LinearScaling(factor=2.0))
assert torch.allclose(scaled(query)[:, :, 8], plain.at(query, torch.arange(12) // 2)[:, :, 8], atol=1e-5)  # 8 is as 4

# %% dynamic_ntk
# A text of twelve after a model learned three, with a factor of 2: the base rises, the fastest pair keeps its angle and
# the slowest pair turns as seldom as the longer text needs.

import torch

from regard.attention.rotary import Rotary
from regard.attention.scalings import DynamicNtk

query = torch.randn(1, 8, 12, 8)
rotary = Rotary(8, scaling=DynamicNtk(factor=2.0, original_length=12))
assert torch.allclose(rotary(query), Rotary(8)(query), atol=1e-6)  # as long as what was learned
assert not torch.allclose(rotary(query, length=48), Rotary(8)(query), atol=1e-6)

# %% yarn
# A factor of 4 for a model that learned 32 positions: the fastest pair is left, slow ones turn a quarter as far, and
# all vectors are 1.14 times as long, which sharpens the weights.

import torch

from regard.attention.rotary import Rotary
from regard.attention.scalings import Yarn

yarn = Yarn(factor=4.0, original_length=32, fast=8.0)
query = torch.randn(1, 8, 12, 8)
longer = Rotary(8, base=100.0, scaling=yarn)(query).norm(dim=-1) / query.norm(dim=-1)
assert torch.allclose(longer, torch.full_like(longer, yarn.amplitude))

# %% llama3
# A factor of 8 for a model that learned 64 positions: pairs that turn four times in them or more are left, the slowest
# turn an eighth as far.

import torch

from regard.attention.rotary import Rotary
from regard.attention.scalings import UNSCALED, Llama3

scaling = Llama3(factor=8.0, original_length=64)
slowed = UNSCALED.frequencies(100.0, 8, 64) / scaling.frequencies(100.0, 8, 64)
assert slowed[0] == 1
assert slowed[-1] == 8
turned = Rotary(8, base=100.0, scaling=scaling)(torch.randn(1, 8, 12, 8))

# %% long_rope
# Each pair was divided by a number between 1 and 4, drawn with seed 1; all vectors are one and a half times as
# long, which sharpens the weights.

import torch

from regard.attention.rotary import Rotary
from regard.attention.scalings import LongRope

scaling = LongRope(short=[1.0, 1.0, 1.0, 1.0], long=[1.0, 1.5, 3.0, 4.0], factor=4.0, original_length=16)
short, long = (scaling.frequencies(100.0, 8, length) for length in (16, 17))
assert torch.allclose(short / long, torch.tensor([1.0, 1.5, 3.0, 4.0]).double())
turned = Rotary(8, base=100.0, scaling=scaling)(torch.randn(1, 8, 12, 8))

# %% proportional
# A share of one half and a factor of 2: the first two of four pairs turn, half as far as in rotary, and the slow ones
# stand still.

import torch

from regard.attention.rotary import Rotary
from regard.attention.scalings import Proportional

query = torch.randn(1, 8, 12, 8)
turned = Rotary(8, scaling=Proportional(share=0.5))(query)
assert torch.equal(turned[..., 2:4], query[..., 2:4])  # halves pair up: dimensions 2 and 6, 3 and 7 stand still
assert not torch.equal(turned[..., :2], query[..., :2])
