"""Calls, sides and panels for the tests of the atlas."""

from typing import Any

import numpy as np
import torch

from regard.attention.call import AttentionCall
from regard.attention.masks import Everything
from regard.attention.normalizers import Softmax
from regard.attention.scores import ScaledDot
from regard.inspection.pictures.atlas import Panel, Patches, Side, panel


def a_call(
    queries: int = 13, keys: int = 17, *, heads: int = 3, groups: int = 0, seed: int = 0, **parts: Any
) -> AttentionCall:
    """A call of two texts, with peaks as trained heads have them."""
    torch.manual_seed(seed)
    query, key = torch.randn(2, heads, queries, 11) * 2, torch.randn(2, groups or heads, keys, 11)
    call = AttentionCall(query, key, key, ScaledDot(), None, Everything(), Softmax(), None, 0.0, 11**-0.5, 0)
    return call._replace(**parts)


def a_side(length: int, *, word: str = "word", words: bool = False) -> Side:
    return Side(tokens=[f"{word}{i}" for i in range(length)], words=[i // 2 for i in range(length)] if words else None)


def a_panel(
    length: int = 13, *, layers: int = 2, name: str = "encoder", side: Side | None = None, **parts: Any
) -> Panel:
    sites = {f"layer.{place}": [a_call(length, length, seed=place, **parts)] for place in range(layers)}
    return panel(sites, side or a_side(length, words=True), name=name)


def a_picture() -> Side:
    """A picture of 2 x 3 patches with a class token."""
    pixels = np.random.default_rng(0).integers(0, 255, (22, 33, 3)).astype(np.uint8)
    return Side(
        tokens=["[CLS]", *(f"{r},{c}" for r in range(2) for c in range(3))],
        patches=Patches(pixels=pixels, rows=2, columns=3),
    )
