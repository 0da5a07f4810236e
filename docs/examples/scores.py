"""Of each score: what its picture shows, and lines that run."""

# %% dot
# Without a scale the softmax is sharp: nearly all goes to the same word, less of it to those farther off.

import torch

import regard
from regard.attention.scores import Dot

query, key, value = torch.randn(3, 1, 8, 12, 8)  # each [B H N D]
context = regard.attend(query, key, value, score=Dot())
assert torch.allclose(context, torch.softmax(query @ key.mT, dim=-1) @ value, atol=1e-4)

# %% scaled_dot
# The same words find each other wherever they stand, in the other sentence too, and each itself a little more.

import torch

import regard

query, key, value = torch.randn(3, 1, 8, 12, 8)  # each [B H N D]
context = regard.attend(query, key, value)  # ScaledDot() is the score where none is named
assert torch.allclose(context, torch.softmax(query @ key.mT / 8**0.5, dim=-1) @ value, atol=1e-5)

# %% general
# W, drawn with seed 1, says what fits what: here each "the" looks for "dog".

import torch

import regard
from regard.attention.scores import General

query, key = torch.randn(1, 8, 12, 8), torch.randn(1, 8, 12, 6)  # two widths
weights = regard.attention_weights(query, key, score=General(query_dim=8, key_dim=6))
assert weights.shape == (1, 8, 12, 12)

# %% additive
# The network's weights were drawn with seed 1 and made four times as large: as they are at first, all words get nearly
# the same. Its preferences are of keys more than of pairs.

import torch

import regard
from regard.attention.scores import Additive

query, key, value = torch.randn(1, 8, 12, 8), *torch.randn(2, 1, 8, 12, 6)  # two widths
score = Additive(query_dim=8, key_dim=6, hidden_dim=16)
assert regard.attend(query, key, value, score=score, way="additive").shape == (1, 8, 12, 6)

# %% concat
# The picture of additive, since it is the same function: weights drawn with seed 1, four times as large as at first.

import torch

from regard.attention.scores import Additive

query, key, score = torch.randn(8), torch.randn(6), Additive(query_dim=8, key_dim=6, hidden_dim=16)
side_by_side = torch.cat((score.query.weight, score.key.weight), dim=1)  # [W U], Luong's one matrix
by_concat = score.vector.weight @ torch.tanh(side_by_side @ torch.cat((query, key)))
by_sum = score.vector.weight @ torch.tanh(score.query(query) + score.key(key))
assert torch.allclose(by_concat, by_sum, atol=1e-6)

# %% location
# The three "the" have nearly the same row, since a row depends on the query alone; which words stand at the places that
# it prefers does not matter. W was drawn with seed 1.

import torch

import regard
from regard.attention.scores import Location

query, key, score = torch.randn(1, 8, 12, 8), torch.randn(1, 8, 12, 8), Location(query_dim=8, max_length=50)
weights = regard.attention_weights(query, key, score=score)
assert torch.equal(weights, regard.attention_weights(query, torch.zeros_like(key), score=score))  # keys are not read

# %% cosine
# With a strength of 3. All vectors of the example have one length, so that this is nearly the picture of scaled_dot,
# whose strength is then the root of 8.

import torch

import regard
from regard.attention.scores import Cosine

query, key = torch.randn(2, 1, 8, 12, 8)
weights = regard.attention_weights(query, key, score=Cosine(strength=3.0))
assert torch.allclose(weights, regard.attention_weights(query, 100 * key, score=Cosine(strength=3.0)), atol=1e-5)

# %% relative
# The scaled dot product, moved by a vector for each of the distances -2 to 2, drawn with seed 1; farther ones share the
# last. Compare the rows of "the" with those of scaled_dot: each prefers itself to the two others by more.

import torch

import regard
from regard.attention.scores import Relative

word = torch.randn(1, 8, 1, 8).expand(-1, -1, 12, -1)  # the same word at all twelve places
weights = regard.attention_weights(word, word, score=Relative(head_dim=8, reach=2))
assert torch.allclose(weights[..., 5, 8:], weights[..., 5, 8:9], atol=1e-6)  # beyond its reach all are alike

# %% gaussian
# With a width of 2: words whose vectors are far apart get little, and never nothing.

import torch

import regard
from regard.attention.kernels import Gaussian

query, key = torch.randn(2, 1, 8, 12, 8)
weights = regard.attention_weights(query, key, score=Gaussian(width=2.0))
kernel = torch.exp(-(torch.cdist(query, key) ** 2) / (2 * 2.0**2))
assert torch.allclose(weights, kernel / kernel.sum(dim=-1, keepdim=True), atol=1e-5)

# %% boxcar
# With a width of 3: a row has one color, that of the mean over all words within reach, and gray beyond.

import torch

import regard
from regard.attention.kernels import Boxcar

places = torch.arange(12.0).view(1, 1, 12, 1)  # keys on a line
mean = regard.attend(places, places, places**2, score=Boxcar(width=1.0))
assert torch.allclose(mean[0, 0, 5], torch.tensor([(4.0**2 + 5.0**2 + 6.0**2) / 3]))  # of both neighbors and itself

# %% triangular
# With a width of 4: the weight falls in a straight line with the distance, and is exactly zero beyond.

import torch

import regard
from regard.attention.kernels import Triangular

places = torch.arange(12.0).view(1, 1, 12, 1)  # keys on a line
weights = regard.attention_weights(places, places, score=Triangular(width=2.0))
assert torch.allclose(weights[0, 0, 5, 3:8], torch.tensor([0.0, 0.25, 0.5, 0.25, 0.0]))

# %% constant
# All twelve words get a twelfth, in every row: this is the mean, which attention is measured against.

import torch

import regard
from regard.attention.kernels import Constant

query, key, value = torch.randn(3, 1, 8, 12, 8)
context = regard.attend(query, key, value, score=Constant())
assert torch.allclose(context, value.mean(dim=2, keepdim=True).expand(-1, -1, 12, -1), atol=1e-6)
