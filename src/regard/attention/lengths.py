"""Lengths: masks of what a row of keys holds. Their numbers are kept on the host too."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from regard.attention.grid import Extent
from regard.attention.masks import Block, Mask
from regard.errors import ShapeError


class Padding(Mask):
    """Keys from `starts` (0 where not given) up to `lengths`, each a number a batch entry, hold something.

    The numbers are kept on the host too, so that blocks are answered without asking the device; where they are not
    known (while torch.compile traces, on the meta device) every block is "mixed". A length may go beyond the keys
    that there are, since those may grow.
    """

    def __init__(self, lengths: Int[Tensor, "B"], starts: Int[Tensor, "B"] | None = None) -> None:
        self.lengths = lengths
        self.starts = starts
        self.kept: Tensor | None = None
        self.host_lengths = numbers("lengths", lengths)
        self.host_starts = [0] * len(self.host_lengths) if starts is None else numbers("starts", starts)
        if starts is not None and len(starts) != len(lengths):
            raise ShapeError(
                f"Padding was given {len(lengths)} lengths and {len(starts)} starts; give as many of both."
            )

    @property
    def same_for_queries(self) -> bool:
        """It is."""
        return True

    def check(self, extent: Extent) -> None:
        """Want one length a batch entry."""
        if len(self.lengths) != extent.batch:
            raise ShapeError(
                f"The padding mask holds {len(self.lengths)} lengths and the call has {extent.batch} batch entries; "
                "give one length a batch entry."
            )

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Allow the keys that hold something."""
        inside = key < self.lengths.to(key.device)[batch]
        return inside if self.starts is None else inside & (key >= self.starts.to(key.device)[batch])

    def dense(self, extent: Extent) -> Bool[Tensor, "B 1 1 K"]:
        """Keep the answer, which is the same for all layers and all steps."""
        if torch.compiler.is_compiling():
            return super().dense(extent)
        keys = extent.first_key + extent.keys
        if self.kept is None or self.kept.shape[-1] < keys or self.kept.device != extent.device:
            with torch.inference_mode(False):  # what is kept must serve training too
                self.kept = super().dense(extent._replace(keys=keys, first_key=0))
        return self.kept if self.kept.shape[-1] == extent.keys else self.kept[..., extent.first_key : keys]

    def block(self, queries: range, keys: range) -> Block:
        """Compare the block with the shortest and the longest row."""
        if torch.compiler.is_compiling() or not self.host_lengths:
            return "mixed"
        if keys.start >= max(self.host_starts) and keys.stop <= min(self.host_lengths):
            return "full"
        if keys.stop <= min(self.host_starts) or keys.start >= max(self.host_lengths):
            return "empty"
        return "mixed"

    def seen(self, extent: Extent) -> Bool[Tensor, "#B K"] | None:
        """Every query sees the same keys."""
        return None if self.whole(extent) == "full" else self.dense(extent._replace(queries=1)).view(-1, extent.keys)

    def may_blind(self, extent: Extent) -> bool:
        """A row that holds something shows it."""
        if torch.compiler.is_compiling() or not self.host_lengths:
            return True
        keys = extent.key_positions
        rows = zip(self.host_starts, self.host_lengths, strict=True)
        return any(min(length, keys.stop) <= max(start, keys.start) for start, length in rows)

    def keep(self, entries: Int[Tensor, "N"]) -> "Padding":
        """Choose lengths and starts."""
        chosen = entries.to(self.lengths.device)
        return Padding(self.lengths[chosen], None if self.starts is None else self.starts[chosen])


def numbers(name: str, values: Tensor) -> list[int]:
    """Return the numbers of a padding mask; none where they cannot be read."""
    if values.dim() != 1 or values.is_floating_point() or values.dtype == torch.bool:
        raise ShapeError(
            f"{name} of a padding mask must be whole numbers, one a batch entry; "
            f"they are {values.dtype} of shape {list(values.shape)}."
        )
    if torch.compiler.is_compiling() or values.is_meta:
        return []
    known: list[int] = values.tolist()
    if known and min(known) < 0:
        raise ShapeError(f"{name} of a padding mask must be 0 or more; the least is {min(known)}.")
    return known
