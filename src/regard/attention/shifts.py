"""Shifts: masks of batch entries whose queries stand at places of their own."""

import torch
from jaxtyping import Int
from torch import Tensor

from regard.attention.grid import Extent, check_tensor
from regard.attention.masks import Block, Mask
from regard.errors import ShapeError


class Shifted(Mask):
    """A mask whose queries stand `by` positions further on, a number a batch entry, which may be negative.

    For texts of several lengths that go on side by side over keys of one fixed size: where the last of Q queries is
    the last of an entry's `lengths` keys, `Shifted(Causal(), lengths - Q) & Padding(lengths)`. The numbers are kept on
    the host too, as those of `Padding`.
    """

    def __init__(self, mask: Mask, by: Int[Tensor, "B"]) -> None:
        check_tensor("by", by)
        if by.dim() != 1 or by.is_floating_point() or by.dtype == torch.bool:
            raise ShapeError(
                f"The shifts of a mask must be whole numbers, one a batch entry; they are {by.dtype} of shape "
                f"{list(by.shape)}."
            )
        self.mask = mask
        self.by = by
        self.host: list[int] = [] if torch.compiler.is_compiling() or by.is_meta else by.tolist()

    @property
    def same_for_queries(self) -> bool:
        """Whether the mask is, which then needs no shift."""
        return self.mask.same_for_queries

    def check(self, extent: Extent) -> None:
        """Want one number a batch entry, and a mask that fits from the least to the greatest."""
        if self.by.shape[0] != extent.batch:
            raise ShapeError(
                f"The mask is shifted by {len(self.by)} numbers and the call has {extent.batch} batch entries; "
                "give one number a batch entry."
            )
        for by in self.ends():
            self.mask.check(extent._replace(offset=extent.offset + by))

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Ask the mask about the places where the queries stand."""
        return self.mask.allows(batch, head, query + self.by.to(query.device)[batch], key)

    def block(self, queries: range, keys: range) -> Block:
        """Ask the mask about all places that a query of the block may stand at."""
        if torch.compiler.is_compiling() or not self.host:
            return "mixed"
        least, greatest = self.ends()
        return self.mask.block(range(queries.start + least, queries.stop + greatest), keys)

    def may_blind(self, extent: Extent) -> bool:
        """Whether it may at some shift."""
        if torch.compiler.is_compiling() or not self.host:
            return True
        return any(self.mask.may_blind(extent._replace(offset=extent.offset + by)) for by in set(self.host))

    def keep(self, entries: Int[Tensor, "N"]) -> "Shifted":
        """Choose in the mask and the numbers."""
        return Shifted(self.mask.keep(entries), self.by[entries.to(self.by.device)])

    def ends(self) -> tuple[int, ...]:
        """Return the least and the greatest shift; none where they cannot be read."""
        return (min(self.host), max(self.host)) if self.host else ()
