"""Of each kind of positions: what its picture shows, and lines that run."""

# %% sinusoidal
# Weights between the vectors of twelve positions, without words: softmax of 12 times their cosine, for a model of width
# 32. Near positions are alike, and equally so everywhere.

import torch

from regard.attention.positions import SinusoidalPositions

vectors = SinusoidalPositions(model_dim=32)(0, 12)  # to be added to the words' vectors
alike = vectors @ vectors.mT
assert torch.allclose(alike[2, 5], alike[6, 9], atol=1e-4)  # three apart is three apart

# %% two_dimensional
# Weights between the twelve places of a grid of rows a, b, c with four columns: softmax of 12 times their cosine, for a
# model of width 32. A place is like those left, right, above and below it: the pale diagonals are the rows above and
# below.

import torch

from regard.attention.positions import GridPositions

grid = GridPositions(columns=4, model_dim=32)(0, 12).view(3, 4, 32)  # rows, columns, width
alike = torch.einsum("rcm,sdm->rcsd", grid, grid)
assert torch.allclose(alike[0, 0, 1, 1], alike[1, 2, 2, 3], atol=1e-4)  # one down and one right, anywhere

# %% learned
# Weights between the vectors of twelve positions, drawn with seed 1: softmax of 12 times their cosine. As they are at
# first no position is like another; what is near has to be learned.

import torch

from regard.attention.positions import LearnedPositions

positions = LearnedPositions(max_length=100, model_dim=32)
states = torch.randn(2, 12, 32) + positions(0, 12)
step = torch.randn(2, 1, 32) + positions(12, 1)  # the next word stands at position 12
assert positions.weight.requires_grad
