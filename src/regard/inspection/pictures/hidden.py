"""Which pairs of query and key may not look, in a few bytes a query, so that a page shows no weight on them.

Where a query may see one stretch of keys (causal, windows, padding) its two ends are kept; where any query of a head
may see several, a bit a pair.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8, UInt32
from torch import Tensor

from regard.attention.call import AttentionCall

HIDDEN = -1e30
"""A bias below this hides: half of what the libraries write for minus infinity."""

Numbers = TypeVar("Numbers", Tensor, np.ndarray)


@dataclass(frozen=True, kw_only=True, eq=False)
class HiddenPairs:
    """What is hidden from the queries of one head; one of the two.

    Attributes:
        stretches: [2, queries] The first key that each query may see and the one after the last; None for `bits`.
        bits: [queries, keys / 8] A bit for each pair that may not look, the first key lowest; None for `stretches`.
    """

    stretches: UInt32[np.ndarray, "2 Q"] | None
    bits: UInt8[np.ndarray, "Q k"] | None


class HiddenRows:
    """Gathers what is hidden in one layer, block of queries by block."""

    def __init__(self, keys: int) -> None:
        self.keys = keys
        self.stretches: list[np.ndarray] = []  # [h, 2, q] each, with a head or with all
        self.bits: list[np.ndarray | None] = []  # [h, q, k] where a stretch a query does not say it

    def add(self, hidden: Bool[Tensor, "h q k"]) -> None:
        """Add queries; keys that a cache did not hold yet are hidden too."""
        hidden = torch.nn.functional.pad(hidden, (0, self.keys - hidden.shape[2]), value=True)
        seen = (~hidden).to(torch.uint8)
        count = seen.sum(dim=-1)
        first = seen.argmax(dim=-1)
        last = torch.where(count > 0, self.keys - seen.flip(-1).argmax(dim=-1), first)
        self.stretches.append(torch.stack([first, last], dim=1).cpu().numpy().astype(np.uint32))
        whole = bool((last - first == count).all())
        self.bits.append(None if whole else _packed(hidden.cpu().numpy()))

    def of(self, head: int) -> HiddenPairs | None:
        """Return what is hidden from the queries of a head; None where every key may be seen."""
        own = [own_head(part, head) for part in self.stretches]
        if any(bits is not None for bits in self.bits):
            parts = [
                self._from_stretches(stretches) if bits is None else own_head(bits, head)
                for bits, stretches in zip(self.bits, own, strict=True)
            ]
            return HiddenPairs(stretches=None, bits=np.concatenate(parts))
        stretches = np.concatenate(own, axis=1)
        if (stretches[0] == 0).all() and (stretches[1] == self.keys).all():
            return None
        return HiddenPairs(stretches=stretches, bits=None)

    def _from_stretches(self, stretches: UInt32[np.ndarray, "2 q"]) -> UInt8[np.ndarray, "q k"]:
        keys, (first, last) = np.arange(self.keys), stretches[..., None]
        return _packed((keys < first) | (keys >= last))


def _packed(hidden: np.ndarray) -> np.ndarray:
    return np.asarray(np.packbits(hidden, axis=-1, bitorder="little"))


def own_head(numbers: Numbers, head: int) -> Numbers:
    """Return what is of a head, of numbers for every head or for all alike."""
    own: Numbers = numbers[head if len(numbers) > 1 else 0]
    return own


def bias_and_hidden(
    block: AttentionCall,
) -> tuple[Float[Tensor, "#H q K"] | None, Bool[Tensor, "#H q K"]]:
    """Return the bias of a block of queries and which pairs may not look, by the mask or by a very small bias.

    They have a head where all heads are alike.
    """
    mask, bias = block.dense_mask(), block.dense_bias()
    size = (block.query.shape[2], block.key.shape[2])
    hidden = torch.zeros(1, *size, dtype=torch.bool, device=block.query.device)
    if mask is not None:
        hidden = ~mask.expand(-1, -1, *size)[0]
    if bias is None:
        return None, hidden
    added = bias.expand(-1, -1, *size)[0].float()
    small = added < HIDDEN
    return added, hidden | small if small.any() else hidden
