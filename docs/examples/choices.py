"""Of each choice: what its picture shows, and lines that run."""

# %% sample
# One word a row was drawn, with seed 1, by the weights that the page of the score scaled_dot shows.

import torch

import regard
from regard.attention.choices import sample

query, key, value = torch.randn(3, 1, 8, 12, 8)  # each [B H N D]
drawn = sample(regard.attention_weights(query, key))
context = regard.mix(drawn.choice, value)  # of each query the value of one key
assert drawn.choice.sum(dim=-1).eq(1).all()
reward = torch.randn(1, 8, 12)
loss = -(reward * drawn.log_probability).mean()  # the score-function gradient
