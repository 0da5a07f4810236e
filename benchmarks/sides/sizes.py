"""The sizes that all sides build, and the length of what they translate."""

from typing import NamedTuple

SOURCE_TOKENS = 15
TARGET_TOKENS = 16


class Size(NamedTuple):
    """The shape of a Transformer with one vocabulary for both sides."""

    model_dim: int
    feed_forward_dim: int
    num_heads: int
    layers: int
    vocab_size: int


SIZES = {"tiny": Size(128, 256, 4, 4, 10_000), "base": Size(512, 2048, 8, 6, 32_000)}
