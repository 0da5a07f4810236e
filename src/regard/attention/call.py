"""One call of attention, as data: what a way runs, what an observer sees, and what a memory keeps."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from regard.attention.biases import Bias
from regard.attention.grid import Extent
from regard.attention.masks import Everything, Mask
from regard.attention.normalizers import Normalizer
from regard.attention.scores import Positions, Score


class Memory(NamedTuple):
    """What is attended to, prepared once.

    Attributes:
        key: Prepared keys; those that no query of their batch entry may see are zero.
        value: Values, likewise.
        mask: Which keys may be seen; joined with the mask of each call.
    """

    key: Float[Tensor, "B G K E"]
    value: Float[Tensor, "B G K D"]
    mask: Mask = Everything()

    def keep(self, entries: Int[Tensor, "N"]) -> "Memory":
        """Return the memory of the chosen batch entries, in this order."""
        key, value = self.key.index_select(0, entries), self.value.index_select(0, entries)
        return Memory(key, value, self.mask.keep(entries))


class AttentionCall(NamedTuple):
    """One call: tensors and parts.

    Query and key are prepared by the score; the ways pair them. `offset` is the position of the first query, that of
    the first key being 0. `dropout` is what is to be dropped now: 0 in evaluation.
    """

    query: Float[Tensor, "B H Q E"]
    key: Float[Tensor, "B G K E"]
    value: Float[Tensor, "B G K D"]
    score: Score
    bias: Bias | None
    mask: Mask
    normalizer: Normalizer
    soft_cap: float | None
    dropout: float
    scale: float
    offset: int

    def extent(self) -> Extent:
        """Return the grid of queries and keys."""
        batch, heads, queries, _ = self.query.shape
        return Extent(batch, heads, queries, self.key.shape[2], self.offset, self.query.device)

    def positions(self) -> Positions:
        """Return where queries and keys stand."""
        queries, keys, device = self.query.shape[2], self.key.shape[2], self.query.device
        return Positions(
            torch.arange(self.offset, self.offset + queries, device=device), torch.arange(keys, device=device)
        )

    def dense_mask(self) -> Bool[Tensor, "#B #H #Q #K"] | None:
        """Return the mask as a tensor; None where every query may look at every key."""
        extent = self.extent()
        return None if self.mask.whole(extent) == "full" else self.mask.dense(extent)

    def dense_bias(self) -> Float[Tensor, "#B #H #Q #K"] | None:
        """Return the bias as a tensor in the query's type."""
        return None if self.bias is None else self.bias.dense(self.extent()).to(self.query.dtype)
