"""Programs that call PyTorch's attention, and tensors for them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

B, H, Q, K, D = 2, 3, 5, 7, 11


class Calling(nn.Module):
    """A program that calls a function of attention."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        super().__init__()
        self.function = function
        self.options = options

    def forward(self, *tensors: Tensor) -> Any:
        return self.function(*tensors, **self.options)


class Products(nn.Module):
    """The same, by the name in PyTorch's module."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        return functional.scaled_dot_product_attention(query, key, value, **options)


def tensors(*, heads: int = H, queries: int = Q, keys: int = K, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = (B, H, queries, D), (B, heads, keys, D), (B, heads, keys, D)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


PADDING = torch.arange(K) < torch.tensor([K, 4])[:, None]
