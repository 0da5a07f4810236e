"""Autocast: attention casts as PyTorch's autocast would have it, once, at its door; the ways run with autocast off."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def autocasts(tensor: Tensor) -> bool:
    """Say whether autocast is on where a tensor is; the meta device knows no autocast."""
    if tensor.is_cpu:  # costs a fifth of asking for the name of the device
        return torch.is_autocast_enabled("cpu")
    kind = tensor.device.type
    return kind != "meta" and torch.is_autocast_enabled(kind)


def without_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """Switch autocast off where a tensor is, if it is on."""
    return torch.autocast(tensor.device.type, enabled=False) if autocasts(tensor) else nullcontext()


def cast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Cast to the type that autocast computes in, where it is on; it leaves float64 alone, and so does this."""
    if not autocasts(tensors[0]):
        return tensors
    dtype = torch.get_autocast_dtype(tensors[0].device.type)
    return tuple(tensor if tensor.dtype == torch.float64 else tensor.to(dtype) for tensor in tensors)
