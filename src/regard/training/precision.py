"""Which number type a machine trains fastest in, and putting a model into it.

A model in bfloat16 holds bfloat16 weights, and the optimizer keeps float32 masters of them. Against autocast this
saves the copies at every product (15 % of a step of a small Transformer), and layers that autocast leaves in
float32 (GRU, packed LSTM on CPU) are fast as well. What stays float32 without being told: the masters and moments
(`optimizers`), softmax and sums of the objective (`objectives`), and inside torch's kernels the sums of products,
softmax and layer normalization.
"""

import statistics
import time
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from regard.attention.processor import capabilities
from regard.errors import OptionError

Name = Literal["auto", "float32", "bfloat16"]

WORTHWHILE = 1.5
"""How much faster a bfloat16 product must be before `auto` takes it where no capability tells."""


@dataclass(frozen=True)
class Precision:
    """A number type and the sentence for the log that says why it was chosen."""

    dtype: torch.dtype
    reason: str


def choose(name: Name, device: torch.device) -> Precision:
    """Choose the number type for the model's weights and activations.

    `auto` is bfloat16 where it is fast, which is found by what the processor says of itself, else by timing a
    product; a run that is resumed should keep what was chosen, and not ask again.
    """
    if name not in get_args(Name):
        raise OptionError(f"precision '{name}' is none of {', '.join(get_args(Name))}.")
    if name == "float32":
        return Precision(torch.float32, "float32, as asked.")
    fast, why = _bfloat16(device)
    if name == "bfloat16":
        doubt = "" if fast else f" It may be slower than float32 here: {why}."
        return Precision(torch.bfloat16, f"bfloat16 with float32 masters, as asked.{doubt}")
    if fast:
        return Precision(torch.bfloat16, f"bfloat16 with float32 masters: {why}.")
    return Precision(torch.float32, f"float32: {why}.")


def cast(model: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """Put a model's floating-point parameters and buffers into `dtype`, in place.

    Returns:
        The parameters that changed, by name, with the exact values that they had: the `masters` of `Optimizer`.
    """
    masters = {
        name: parameter.detach().clone()
        for name, parameter in model.named_parameters()
        if parameter.is_floating_point() and parameter.dtype != dtype
    }
    model.to(dtype)
    return masters


def _bfloat16(device: torch.device) -> tuple[bool, str]:
    """Say whether the device computes bfloat16 fast, and by which sign."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        if major >= 8:
            return True, f"this GPU (compute capability {major}.{minor}) multiplies it in hardware"
        return False, f"this GPU (compute capability {major}.{minor}) has no bfloat16 products, 8.0 has"
    if device.type == "cpu":
        return _bfloat16_on_cpu()
    return False, f"on device type '{device.type}' nothing is known to be gained by bfloat16"


def _bfloat16_on_cpu() -> tuple[bool, str]:
    """Ask the processor; where it does not say, or torch cannot ask (2.10), time a product."""
    known = capabilities()
    if not torch.backends.mkldnn.is_available():
        return False, "this build of torch has no oneDNN, which multiplies bfloat16 fast on a CPU"
    if known.get("amx_bf16"):
        return True, "this CPU multiplies it in hardware (AMX)"
    if known.get("avx512_bf16"):
        return True, "this CPU multiplies it in hardware (AVX512-BF16)"
    if known.get("architecture") == "x86_64":
        return False, "this CPU has neither AVX512-BF16 nor AMX"
    ratio = _speed_of_bfloat16()
    return ratio >= WORTHWHILE, f"a bfloat16 product ran {ratio:.1f} times as fast as a float32 one"


def _speed_of_bfloat16(size: int = 512, rounds: int = 9) -> float:
    """Time products of both types in turns: a few milliseconds."""
    ratios = []
    for _ in range(rounds):
        seconds = []
        for dtype in (torch.float32, torch.bfloat16):
            matrix = torch.ones(size, size, dtype=dtype)
            start = time.perf_counter()
            matrix @ matrix
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios)
