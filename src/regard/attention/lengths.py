"""Lengths: masks of what a row of keys holds. Their numbers are kept on the host too."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from regard.attention.grid import Extent, check_rows, check_tensor, look_up_row
from regard.attention.masks import Block, Mask, within
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
        if self.lengths.shape[0] != extent.batch:  # len() would fix the size while torch.compile traces
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
    check_tensor(f"{name} of a padding mask", values)
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


class Documents(Mask):
    """Documents packed into one row: a query may look at keys of its own document (Krell et al. 2021).

    `numbers` [B N], or [1 N] for all, says which document each position belongs to; a negative number, and every
    position beyond, belongs to none. `document_numbers` makes it of lengths. For texts join it with Causal().
    """

    def __init__(self, documents: Int[Tensor, "#B N"]) -> None:
        check_tensor("documents", documents)
        if documents.dim() != 2 or documents.is_floating_point() or documents.dtype == torch.bool:
            raise ShapeError(
                "Documents are whole numbers [batch, positions], or [1, positions] for all; these are "
                f"{documents.dtype} of shape {list(documents.shape)}."
            )
        if documents.shape[1] == 0:
            raise ShapeError(f"Documents need one position or more; these are of shape {list(documents.shape)}.")
        self.documents = documents
        self.host_runs = None if torch.compiler.is_compiling() or documents.is_meta else runs(documents)

    @property
    def sees_itself(self) -> bool:
        """It does."""
        return True

    def check(self, extent: Extent) -> None:
        """Want a row a batch entry, or one for all."""
        check_rows("Documents", self.documents, extent)

    def allows(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Compare the documents of both sides."""
        asked = look_up_row(self.documents, batch, query, torch.full_like(query, -1))
        return (asked == look_up_row(self.documents, batch, key, torch.full_like(key, -1))) & (asked >= 0)

    def block(self, queries: range, keys: range) -> Block:
        """Compare the documents that reach into the block."""
        if torch.compiler.is_compiling() or not self.host_runs:
            return "mixed"
        answers = {block_of_row(row, queries, keys) for row in self.host_runs}
        return answers.pop() if len(answers) == 1 else "mixed"

    def seen(self, extent: Extent) -> Bool[Tensor, "#B K"] | None:
        """In a whole row, what belongs to a document."""
        if torch.compiler.is_compiling() or not self.host_runs:
            return super().seen(extent)
        keys = extent.key_positions
        if not within(keys, extent.query_positions):
            return super().seen(extent)
        if not any(NOBODY in documents_at(row, keys) for row in self.host_runs):
            return None
        batch, _, _, key = extent._replace(batch=len(self.documents)).indices()
        return look_up_row(self.documents, batch, key, torch.full_like(key, NOBODY))[:, 0, 0] >= 0

    def keep(self, entries: Int[Tensor, "N"]) -> "Documents":
        """Choose batch entries, where there are several."""
        return Documents(self.documents[entries] if len(self.documents) > 1 else self.documents)


NOBODY = -1
Runs = tuple[list[int], list[int]]
"""Where each run of one document begins, and its number, of one row; the last run goes on for ever."""


def document_numbers(lengths: Sequence[Sequence[int]], *, width: int | None = None) -> Int[Tensor, "B N"]:
    """Number the positions of rows into which documents of these lengths are packed; what is left over gets -1.

    Rows are as wide as the longest, or `width`.
    """
    sums = [sum(row) for row in lengths]
    least = min((length for row in lengths for length in row), default=0)
    widest = max(sums, default=0)
    if least < 0 or (width is not None and width < widest):
        raise ShapeError(
            f"Documents of lengths {least} and more fill {widest} positions and the rows have "
            f"{widest if width is None else width}; lengths are 0 or more, and must fit."
        )
    rows = torch.full((len(lengths), widest if width is None else width), NOBODY)
    for row, counts, end in zip(rows, lengths, sums, strict=True):
        row[:end] = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts, dtype=torch.long))
    return rows


def runs(documents: Int[Tensor, "B N"]) -> list[Runs]:
    """Return the runs of each row."""
    width = documents.shape[1]
    host = documents.cpu().clamp(min=NOBODY)
    found = []
    for row in host:
        changes = 1 + (row[1:] != row[:-1]).nonzero().flatten()
        starts = [0, *changes.tolist()]
        found.append(([*starts, width], [*row[starts].tolist(), NOBODY]))
    return found


def documents_at(row: Runs, positions: range) -> set[int]:
    """Return the documents that some positions belong to."""
    starts, documents = row
    before = {NOBODY} if positions.start < 0 else set()
    first = max(bisect_right(starts, positions.start) - 1, 0)
    return before | set(documents[first : bisect_left(starts, positions.stop)])


def block_of_row(row: Runs, queries: range, keys: range) -> Block:
    """Say whether a block is allowed nowhere, everywhere, or in part, in one row."""
    asking, asked = documents_at(row, queries), documents_at(row, keys)
    if asking == asked and len(asking) == 1 and NOBODY not in asking:
        return "full"
    return "mixed" if (asking & asked) - {NOBODY} else "empty"
