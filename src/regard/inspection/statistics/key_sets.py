"""Sets of keys that statistics add weights over: the first token, separators, punctuation.

They are where heads look that look at nothing in particular (Clark et al. 2019, 3.2; Xiao et al. 2024, 3.1).
"""

import unicodedata
from collections.abc import Collection, Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from regard.errors import OptionError

SEPARATORS = frozenset(
    {"[SEP]", "</s>", "<eos>", "<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "<|eot_id|>", "<sep>", "⟨/s⟩"}
)
"""Tokens that end a sentence or a text, as tokenizers write them."""
MARKS = ("##", "▁", "Ġ", "Ċ")
"""What tokenizers write before a piece to say whether it begins a word."""


def key_sets(
    tokens: Sequence[Sequence[str | None]], *, separators: Collection[str] = SEPARATORS
) -> dict[str, Bool[Tensor, "B K"]]:
    """Say which tokens are the first of their row, which separators and which punctuation.

    Args:
        tokens: A row for each batch entry; shorter ones are filled up at their end. None is padding.
        separators: What counts as one, as the tokenizer writes it.

    Raises:
        OptionError: There are no tokens.
    """
    width = max((len(row) for row in tokens), default=0)
    if width == 0:
        raise OptionError("There are no tokens: give a row of at least one for each batch entry.")
    rows = [[*row, *[None] * (width - len(row))] for row in tokens]
    firsts = [next((place for place, token in enumerate(row) if token is not None), -1) for row in rows]
    return {
        "first": torch.tensor(firsts).unsqueeze(1) == torch.arange(width),
        "separators": torch.tensor([[token in separators for token in row] for row in rows]),
        "punctuation": torch.tensor([[token is not None and is_punctuation(token) for token in row] for row in rows]),
    }


def is_punctuation(token: str) -> bool:
    """Say whether a token is of punctuation alone, but for what its tokenizer wrote before it."""
    for mark in MARKS:
        if len(token) > len(mark):
            token = token.removeprefix(mark)
    return token != "" and all(unicodedata.category(letter).startswith("P") for letter in token)
