"""Of each mask: what its picture shows, and lines that run."""

# %% everything
# Nothing is gray: every word may look at every word.

import torch

import regard
from regard.attention.masks import Everything

query, key = torch.randn(2, 1, 8, 12, 8)  # each [B H N D]
weights = regard.attention_weights(query, key, mask=Everything())  # which is the mask where none is named
assert (weights > 0).all()

# %% causal
# Above the diagonal all is gray: a word sees itself and those before it. The first sees only itself.

import torch

import regard
from regard.attention.patterns import Causal

query, key = torch.randn(2, 1, 8, 12, 8)
weights = regard.attention_weights(query, key, mask=Causal())
assert weights.triu(diagonal=1).eq(0).all()  # above the diagonal
assert weights[..., 0, 0].eq(1).all()

# %% padding
# The sentence has nine words here: the last three columns are gray, as if there were no such keys.

import torch

import regard
from regard.attention.lengths import Padding

query, key, lengths = torch.randn(2, 8, 12, 8), torch.randn(2, 8, 12, 8), torch.tensor([12, 9])
weights = regard.attention_weights(query, key, mask=Padding(lengths))  # a length a sentence
assert weights[1, ..., 9:].eq(0).all()
assert weights[0].gt(0).all()

# %% padding_at_start
# The sentence starts at the fourth place: the first three columns are gray.

import torch

import regard
from regard.attention.lengths import Padding

query, key = torch.randn(2, 1, 8, 12, 8)
starts, ends = torch.tensor([3]), torch.tensor([12])
weights = regard.attention_weights(query, key, mask=Padding(ends, starts))
assert weights[..., :3].eq(0).all()

# %% documents
# The two sentences are two documents in one row, of seven and of five words: each sees only its own.

import torch

import regard
from regard.attention.lengths import Documents, document_numbers
from regard.attention.patterns import Causal

query, key = torch.randn(2, 1, 8, 12, 8)
documents = Documents(document_numbers([[7, 5]]))
weights = regard.attention_weights(query, key, mask=documents & Causal())
assert weights[..., 7:, :7].eq(0).all()  # the second does not see the first

# %% window
# Each word sees the two before it, itself and the one after it.

import torch

import regard
from regard.attention.patterns import Causal, Window

query, key = torch.randn(2, 1, 8, 12, 8)
weights = regard.attention_weights(query, key, mask=Window(before=2, after=1))
assert weights[0, 0, 5].nonzero().flatten().tolist() == [3, 4, 5, 6]
weights = regard.attention_weights(query, key, mask=Causal() & Window(2, 2))  # masks join
assert weights[0, 0, 5].nonzero().flatten().tolist() == [3, 4, 5]

# %% local_m
# A window of the same reach on both sides, here two: five words, fewer at the ends.

import torch

import regard
from regard.attention.patterns import Window

reach = 2  # D in the paper
query, key = torch.randn(2, 1, 8, 12, 8)
weights = regard.attention_weights(query, key, mask=Window(before=reach, after=reach))
assert weights[0, 0].count_nonzero(dim=-1).tolist() == [3, 4, *[5] * 8, 4, 3]

# %% dilated_window
# Each word sees itself, those two and four before it and the one two after it: every other word, twice as far as a
# window of as many.

import torch

import regard
from regard.attention.patterns import DilatedWindow

query, key = torch.randn(2, 1, 8, 12, 8)
weights = regard.attention_weights(query, key, mask=DilatedWindow(before=2, after=1, dilation=2))
assert weights[0, 0, 5].nonzero().flatten().tolist() == [1, 3, 5, 7]

# %% global_tokens
# The first word sees all and is seen by all; the others see a window of one on both sides besides.

import torch

import regard
from regard.attention.patterns import GlobalTokens, Window

query, key = torch.randn(2, 1, 8, 12, 8)
mask = Window(1, 1) | GlobalTokens(torch.arange(12).unsqueeze(0) < 1)  # the first word
weights = regard.attention_weights(query, key, mask=mask)
assert weights[0, 0, 0].gt(0).all()
assert weights[0, 0, 5].nonzero().flatten().tolist() == [0, 4, 5, 6]

# %% adjacency
# The graph is the grammar of the two sentences: a word sees the one that it hangs on, those that hang on it, and
# itself. "the" hangs on "cat", "cat" on "sat", "on" on "sat", "mat" on "on".

import torch

import regard
from regard.attention.patterns import Adjacency, Window

edges = torch.zeros(4, 4, dtype=torch.bool)
edges[0, 1] = edges[1, 0] = edges[1, 2] = edges[2, 1] = edges[2, 3] = edges[3, 2] = True  # a chain
nodes = torch.randn(1, 8, 4, 8)
weights = regard.attention_weights(nodes, nodes, mask=Adjacency(edges) | Window(0, 0))  # each node itself too
assert weights[0, 0, 0].nonzero().flatten().tolist() == [0, 1]

# %% shifted
# The five words of the second sentence ask, after seven that were there before: their causal mask is shifted by seven.

import torch

import regard
from regard.attention.lengths import Padding
from regard.attention.patterns import Causal
from regard.attention.shifts import Shifted

query, key, lengths = torch.randn(2, 8, 1, 8), torch.randn(2, 8, 12, 8), torch.tensor([12, 9])
mask = Shifted(Causal(), lengths - 1) & Padding(lengths)  # the query is the last word of each text
weights = regard.attention_weights(query, key, mask=mask)
assert weights[:, 0, 0].count_nonzero(dim=-1).tolist() == [12, 9]

# %% around
# The centers were given, and run backwards: the first word looks around the last, the last around the first, each two
# places to either side.

import torch

import regard
from regard.attention.patterns import Around

query, key = torch.randn(2, 1, 8, 12, 8)
centers = torch.arange(12).flip(0).view(1, 1, 12)  # [B H Q], sizes of 1 broadcast
weights = regard.attention_weights(query, key, mask=Around(centers, reach=2))
assert weights[0, 0, 0].nonzero().flatten().tolist() == [9, 10, 11]

# %% local_p
# Each query predicts a center, 11 sigmoid(v . q) with a v drawn with seed 1, and sees what is two places away from it
# or less. The same word looks to nearly the same place, wherever it stands.

import torch

import regard
from regard.attention.biases import GaussianBias
from regard.attention.patterns import Around

query, key, predict = *torch.randn(2, 1, 8, 12, 8), torch.nn.Linear(8, 1)
centers = 11 * torch.sigmoid(predict(query)).squeeze(-1)  # [B H Q]
favored = GaussianBias(centers, deviation=1.0)  # half of the reach, as in the paper
weights = regard.attention_weights(query, key, mask=Around(centers, reach=2), bias=favored)
assert (weights > 0).sum(dim=-1).le(5).all()

# %% tensor
# A drawn pattern: seven of ten cells may be seen, by seed 1, others in each head.

import torch

import regard

query, key = torch.randn(2, 1, 8, 12, 8)
allowed = torch.ones(12, 12, dtype=torch.bool).tril()  # True = may look; broadcasts to [B H Q K]
weights = regard.attention_weights(query, key, mask=allowed)
assert torch.equal(weights[0, 0] > 0, allowed)
