"""Every mechanism by name: its equation, where it comes from, and how to build it. A plain table.

The tests of parity, gradients, masks and shapes run over it, and the pages of `docs/` are made of it: a new row is
picked up by both. Letters: q query, k key, i and j their positions, D width, S number of keys, M model width.
"""

import math
from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

import torch

from regard.attention.attend import EVERYTHING, Attention
from regard.attention.biases import Alibi, Bias, BucketBias, GaussianBias, TensorBias
from regard.attention.caches import Cache, FixedCache, GrowingCache, SlidingCache
from regard.attention.choices import Sampled, sample
from regard.attention.heads import CrossAttention, SelfAttention
from regard.attention.kernels import Boxcar, Constant, Gaussian, Triangular
from regard.attention.lengths import Documents, Padding
from regard.attention.masks import Mask
from regard.attention.normalizers import (
    AdaptiveEntmax,
    Entmax,
    Entmax15,
    Normalizer,
    Sigmoid,
    SinkSoftmax,
    Softmax,
    Sparsemax,
)
from regard.attention.patterns import (
    Adjacency,
    Around,
    Causal,
    DilatedWindow,
    GlobalTokens,
    TensorMask,
    Window,
)
from regard.attention.pooling import AttentionPooling
from regard.attention.positions import GridPositions, LearnedPositions, SinusoidalPositions
from regard.attention.rotary import Rotary, neighbors
from regard.attention.rotary_heads import RotarySelfAttention
from regard.attention.scalings import UNSCALED, DynamicNtk, LinearScaling, Llama3, LongRope, Proportional, Scaling, Yarn
from regard.attention.scores import Additive, Cosine, Dot, General, Location, Relative, ScaledDot, Score
from regard.attention.shifts import Shifted

Part = TypeVar("Part", covariant=True)


class Sizes(NamedTuple):
    """The call that a part is built for."""

    batch: int
    heads: int
    queries: int
    keys: int
    query_dim: int
    key_dim: int
    hidden_dim: int
    offset: int = 0


class Row(NamedTuple, Generic[Part]):
    """One mechanism.

    Attributes:
        equation: What it computes.
        source: The paper with section or equation.
        build: Makes one. What a caller would know, such as lengths, is drawn from PyTorch's generator.
    """

    equation: str
    source: str
    build: Callable[[Sizes], Part]


def lengths(sizes: Sizes) -> torch.Tensor:
    """Draw the lengths of sentences; the first fills the row."""
    drawn = torch.randint(1, sizes.keys + 1, (sizes.batch,))
    drawn[:1] = sizes.keys
    return drawn


def centers(sizes: Sizes) -> torch.Tensor:
    """Draw a place among the keys for every query, as local-p predicts one."""
    return (sizes.keys - 1) * torch.rand(sizes.batch, 1, sizes.queries)


def numbers(sizes: Sizes) -> torch.Tensor:
    """Draw which document each position belongs to; in all rows but the first the last positions belong to none."""
    width = positions(sizes)
    documents = (torch.rand(sizes.batch, width) < 0.4).cumsum(dim=1)
    return torch.where(torch.arange(width) < lengths(sizes._replace(keys=width)).unsqueeze(1), documents, -1)


def positions(sizes: Sizes) -> int:
    """Count the positions that queries or keys stand at."""
    return max(sizes.keys, sizes.offset + sizes.queries)


def reach(sizes: Sizes) -> float:
    """Return a width within which most of the vectors that a test draws lie, and not all."""
    return 1.25 * math.sqrt(2 * sizes.query_dim)


ADDITIVE = Row[Score](
    "v . tanh(W q + U k)",
    "Bahdanau et al. 2015, A.1.2; concat in Luong et al. 2015, 3.1, is the same function: [W U] [q; k]",
    lambda sizes: Additive(sizes.query_dim, sizes.key_dim, sizes.hidden_dim),
)

SCORES: Mapping[str, Row[Score]] = {
    "dot": Row("q . k", "Luong et al. 2015, 3.1", lambda sizes: Dot()),
    "scaled_dot": Row("q . k / sqrt(D)", "Vaswani et al. 2017, eq. 1", lambda sizes: ScaledDot()),
    "general": Row("q W k", "Luong et al. 2015, 3.1", lambda sizes: General(sizes.query_dim, sizes.key_dim)),
    "additive": ADDITIVE,
    "concat": ADDITIVE,
    "location": Row("(W q)_j", "Luong et al. 2015, eq. 8", lambda sizes: Location(sizes.query_dim, sizes.keys)),
    "cosine": Row("strength q . k / (|q| |k|)", "Graves et al. 2014, eq. 5 and 6", lambda sizes: Cosine(strength=3.0)),
    "relative": Row(
        "q . (k + w_c) / sqrt(D), w_c learned for the distance c = j - i, held within reach",
        "Shaw et al. 2018, eq. 4, the keys' part",
        lambda sizes: Relative(sizes.query_dim, reach=2),
    ),
    "gaussian": Row(
        "-|q - k|^2 / (2 width^2), the width learned",
        "Nadaraya 1964, Watson 1964; Zhang et al. 2023, 11.2",
        lambda sizes: Gaussian(width=2.0),
    ),
    "boxcar": Row("log(1 if |q - k| <= width else 0)", "Zhang et al. 2023, 11.2", lambda sizes: Boxcar(reach(sizes))),
    "triangular": Row(
        "log(max(0, 1 - |q - k| / width))",
        "Zhang et al. 2023, 11.2, there called Epanechikov",
        lambda sizes: Triangular(reach(sizes)),
    ),
    "constant": Row("log(1)", "Zhang et al. 2023, 11.2", lambda sizes: Constant()),
}

WINDOW = Row[Mask](
    "i - before <= j <= i + after",
    "Luong et al. 2015, 3.2, local-m, where before = after",
    lambda sizes: Window(before=2, after=1),
)
AROUND = Row[Mask](
    "|j - p_i| <= reach, the center p_i computed from the query",
    "Luong et al. 2015, 3.2, local-p",
    lambda sizes: Around(centers(sizes), reach=2, first_query=sizes.offset),
)

MASKS: Mapping[str, Row[Mask]] = {
    "everything": Row("true", "Luong et al. 2015, 3.1, global", lambda sizes: EVERYTHING),
    "causal": Row("j <= i", "Vaswani et al. 2017, 3.2.3", lambda sizes: Causal()),
    "padding": Row(
        "j < length of the sentence", "Zhang et al. 2023, 11.3.2, masked softmax", lambda sizes: Padding(lengths(sizes))
    ),
    "padding_at_start": Row(
        "start of the sentence <= j",
        "the same, for texts that end together",
        lambda sizes: Padding(torch.full((sizes.batch,), sizes.keys), sizes.keys - lengths(sizes)),
    ),
    "documents": Row(
        "i and j belong to one document",
        "Krell et al. 2021, packed sequences",
        lambda sizes: Documents(numbers(sizes)),
    ),
    "window": WINDOW,
    "local_m": WINDOW,
    "dilated_window": Row(
        "j = i + m dilation for a whole m, -before <= m <= after",
        "Beltagy et al. 2020, 3.1",
        lambda sizes: DilatedWindow(before=2, after=1, dilation=2),
    ),
    "global_tokens": Row(
        "i or j is a chosen token; to be joined with a window",
        "Beltagy et al. 2020, 3.1",
        lambda sizes: GlobalTokens(torch.rand(sizes.batch, positions(sizes)) < 0.3),
    ),
    "adjacency": Row(
        "there is an edge from j to i",
        "Velickovic et al. 2018, 2.1",
        lambda sizes: Adjacency(torch.rand(sizes.batch, positions(sizes), positions(sizes)) < 0.5),
    ),
    "shifted": Row(
        "j <= i + d_b: a mask for sentences b whose queries stand d_b positions further on",
        "ONNX 2025, operator set 24, Attention: is_causal with nonpad_kv_seqlen",
        lambda sizes: Shifted(Causal(), torch.randint(-2, 4, (sizes.batch,))),
    ),
    "around": AROUND,
    "local_p": AROUND,
    "tensor": Row(
        "allowed[batch, head, i, j]",
        "whatever a caller knows",
        lambda sizes: TensorMask(
            torch.rand(sizes.batch, sizes.heads, sizes.queries, sizes.keys) < 0.7, first_query=sizes.offset
        ),
    ),
}

BIASES: Mapping[str, Row[Bias]] = {
    "alibi": Row(
        "-m |i - j|, the slope m = 2^(-8 (h + 1) / H) for head h of H",
        "Press et al. 2022, 3",
        lambda sizes: Alibi(sizes.heads),
    ),
    "buckets": Row(
        "a number for the head and the bucket of j - i; buckets widen with the distance",
        "Raffel et al. 2020, 2.1, T5",
        lambda sizes: BucketBias(torch.randn(8, sizes.heads), max_distance=5, bidirectional=True),
    ),
    "local_p": Row(
        "-(j - p_i)^2 / (2 deviation^2), the center p_i computed from the query",
        "Luong et al. 2015, eq. 10, in log space",
        lambda sizes: GaussianBias(centers(sizes), deviation=1.5, first_query=sizes.offset),
    ),
    "tensor": Row(
        "added[batch, head, i, j]",
        "whatever a caller knows",
        lambda sizes: TensorBias(
            torch.randn(sizes.batch, sizes.heads, sizes.queries, sizes.keys), first_query=sizes.offset
        ),
    ),
}

NORMALIZERS: Mapping[str, Row[Normalizer]] = {
    "softmax": Row("exp(s_j) / sum over j' of exp(s_j')", "Bahdanau et al. 2015, eq. 6", lambda sizes: Softmax()),
    "sink_softmax": Row(
        "exp(s_j) / (exp(sink) + sum over j' of exp(s_j')), a sink learned for each head",
        "Xiao et al. 2024, eq. 2, where the sink is 0; OpenAI 2025, gpt-oss",
        lambda sizes: SinkSoftmax(sizes.heads),
    ),
    "sparsemax": Row(
        "max(0, s_j - tau), tau so that the row sums to one",
        "Martins and Astudillo 2016, eq. 2",
        lambda sizes: Sparsemax(),
    ),
    "entmax15": Row(
        "max(0, s_j / 2 - tau)^2, tau so that the row sums to one", "Peters et al. 2019, 3", lambda sizes: Entmax15()
    ),
    "entmax": Row(
        "max(0, (alpha - 1) s_j - tau)^(1 / (alpha - 1)), tau so that the row sums to one",
        "Peters et al. 2019, 3",
        lambda sizes: Entmax(alpha=1.3),
    ),
    "adaptive_entmax": Row(
        "the same, an alpha between 1 and 2 learned for each head",
        "Correia et al. 2019, 3",
        lambda sizes: AdaptiveEntmax(sizes.heads),
    ),
    "sigmoid": Row(
        "1 / (1 + exp(-s_j - shift))",
        "Ramapuram et al. 2024, 2",
        lambda sizes: Sigmoid(shift=-math.log(sizes.keys)),
    ),
}

CHOICES: Mapping[str, Row[Callable[..., Sampled]]] = {
    "sample": Row(
        "1 for one key j, drawn with probability w_j, else 0",
        "Xu et al. 2015, 4.1, hard attention",
        lambda sizes: sample,
    ),
}

POSITIONS: Mapping[str, Row[torch.nn.Module]] = {
    "sinusoidal": Row(
        "sin(i / 10000^(2c/M)) in column 2c, the cosine in column 2c + 1",
        "Vaswani et al. 2017, 3.5",
        lambda sizes: SinusoidalPositions(sizes.query_dim),
    ),
    "two_dimensional": Row(
        "sinusoidal: of the row in one half of the columns, of the column in the other",
        "He et al. 2022, A.1; Parmar et al. 2018, 3.1",
        lambda sizes: GridPositions(5, sizes.query_dim // 4 * 4),
    ),
    "learned": Row(
        "one learned vector a position",
        "Gehring et al. 2017, 3.1",
        lambda sizes: LearnedPositions(sizes.offset + sizes.queries, sizes.query_dim),
    ),
}


def rotary(sizes: Sizes, scaling: Scaling = UNSCALED) -> Rotary:
    """Turn as much of the width as pairs up."""
    return Rotary(sizes.query_dim // 2 * 2, base=100.0, scaling=scaling)


def divisors(sizes: Sizes) -> list[float]:
    """Draw a number for each pair."""
    drawn: list[float] = (1 + 3 * torch.rand(sizes.query_dim // 2)).tolist()
    return drawn


ROTATIONS: Mapping[str, Row[Rotary]] = {
    "rotary": Row(
        "pair c of R/2 turned by i base^(-2c/R), of queries and of keys",
        "Su et al. 2021, 3.2.2; halves of the width pair up, as in Llama",
        rotary,
    ),
    "rotary_neighbors": Row(
        "the same, dimensions 2c and 2c + 1 making a pair",
        "Su et al. 2021, eq. 34",
        lambda sizes: Rotary(sizes.query_dim // 2 * 2, base=100.0, pairing=neighbors),
    ),
    "rotary_partial": Row(
        "the same, of the first R dimensions alone",
        "GPT-J and GPT-NeoX, 2021 and 2022",
        lambda sizes: Rotary(sizes.query_dim // 4 * 2, base=100.0),
    ),
    "linear_scaling": Row(
        "angles divided by a factor",
        "Chen et al. 2023, eq. 4",
        lambda sizes: rotary(sizes, LinearScaling(factor=2.5)),
    ),
    "dynamic_ntk": Row(
        "base (factor L / original - factor + 1)^(R / (R-2)) beyond the original length",
        "Peng et al. 2023, 3.3",
        lambda sizes: rotary(sizes, DynamicNtk(factor=2.0, original_length=3)),
    ),
    "yarn": Row(
        "pairs that turn seldom divided by the factor, those between in part; all longer by 0.1 ln(factor) + 1",
        "Peng et al. 2023, 3.2 and 3.4",
        lambda sizes: rotary(sizes, Yarn(factor=4.0, original_length=32, fast=8.0)),
    ),
    "llama3": Row(
        "pairs that turn seldom divided by the factor, those between by their number of turns",
        "Llama 3.1, 2024",
        lambda sizes: rotary(sizes, Llama3(factor=8.0, original_length=64)),
    ),
    "long_rope": Row(
        "each pair divided by a number of its own, another one beyond the original length",
        "Ding et al. 2024, 3.3",
        lambda sizes: rotary(sizes, LongRope(divisors(sizes), divisors(sizes), factor=4.0, original_length=3)),
    ),
    "proportional": Row(
        "angles divided by a factor; all but the first pairs stand still",
        "Gemma 4, 2026",
        lambda sizes: rotary(sizes, Proportional(share=0.5, factor=2.0)),
    ),
}

CACHES: Mapping[str, Row[Cache]] = {
    "growing": Row("all keys and values so far", "Shazeer 2019, 2.4", lambda sizes: GrowingCache(capacity=2)),
    "fixed": Row(
        "the same, in storage for so many that is made once",
        "Shazeer 2019, 2.4",
        lambda sizes: FixedCache(sizes.offset + sizes.queries),
    ),
    "sliding": Row(
        "keys and values of the last W positions",
        "Jiang et al. 2023, 2",
        lambda sizes: SlidingCache(window=3),
    ),
}


def width(sizes: Sizes) -> tuple[int, int]:
    """Return the width of a model and its number of heads: twice those of the call, so that heads can be shared."""
    return 2 * sizes.heads * sizes.query_dim, 2 * sizes.heads


HEADS: Mapping[str, Row[torch.nn.Module]] = {
    "self": Row(
        "each head: attend(W_q x, W_k x, W_v x); side by side, times W_o",
        "Vaswani et al. 2017, 3.2.2",
        lambda sizes: SelfAttention(*width(sizes), Attention()),
    ),
    "cross": Row(
        "each head: attend(W_q x, W_k y, W_v y); side by side, times W_o",
        "Vaswani et al. 2017, 3.2.3",
        lambda sizes: CrossAttention(*width(sizes), Attention()),
    ),
    "grouped": Row(
        "the same, neighboring heads sharing W_k and W_v",
        "Ainslie et al. 2023, 2.2",
        lambda sizes: SelfAttention(*width(sizes), Attention(), num_kv_heads=sizes.heads),
    ),
    "multi_query": Row(
        "the same, all heads sharing W_k and W_v",
        "Shazeer 2019, 3",
        lambda sizes: SelfAttention(*width(sizes), Attention(), num_kv_heads=1),
    ),
    "rotary": Row(
        "queries and keys turned by their positions before they attend",
        "Su et al. 2021, 3.2.2",
        lambda sizes: RotarySelfAttention(*width(sizes), Attention(), rotary(sizes), num_kv_heads=sizes.heads),
    ),
    "pooling": Row(
        "learned queries in the place of W_q x",
        "Lee et al. 2019, 3.2; Yang et al. 2016, 2.2",
        lambda sizes: AttentionPooling(CrossAttention(*width(sizes), Attention()), num_queries=sizes.queries),
    ),
}
