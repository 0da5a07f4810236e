"""What the processor can do, as PyTorch tells it."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch

TILES = {torch.bfloat16: "amx_bf16", torch.float16: "amx_fp16"}


def capabilities() -> Mapping[str, Any]:
    """Return the processor's capabilities by name; none where torch cannot ask (2.10)."""
    ask: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    return ask()


@functools.cache
def multiplies_by_tiles(dtype: torch.dtype) -> bool:
    """Say whether the processor multiplies tiles of this type (AMX), which PyTorch's fused kernel then uses."""
    return bool(capabilities().get(TILES.get(dtype, "")))
