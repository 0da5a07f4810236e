"""One call of attention, as data: what a way runs, what an observer sees, and what a memory keeps."""

import math
from typing import NamedTuple, NoReturn

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from regard.attention.autocast import cast
from regard.attention.biases import Bias, DistanceBuckets, TensorBias
from regard.attention.grid import Extent, check_tensor
from regard.attention.masks import Everything, Mask, for_every_query
from regard.attention.normalizers import Normalizer
from regard.attention.patterns import TensorMask
from regard.attention.scores import Positions, Score
from regard.errors import OptionError, ShapeError


class Memory(NamedTuple):
    """What is attended to, prepared once.

    Attributes:
        key: Prepared keys; those that no query of their batch entry may see are zero.
        value: Values, likewise.
        mask: Which keys may be seen; joined with the mask of each call.
        first_key: Position of the first key; not 0 where a cache let go of earlier ones.
    """

    key: Float[Tensor, "B G K E"]
    value: Float[Tensor, "B G K D"]
    mask: Mask = Everything()
    first_key: int = 0

    def keep(self, entries: Int[Tensor, "N"]) -> "Memory":
        """Return the memory of the chosen batch entries, in this order."""
        key, value = self.key.index_select(0, entries), self.value.index_select(0, entries)
        return Memory(key, value, self.mask.keep(entries), self.first_key)


class AttentionCall(NamedTuple):
    """One call: tensors and parts.

    Query and key are prepared by the score; the ways pair them. `offset` is the position of the first query,
    `first_key` that of the first key: not 0 in a block of a longer call, and behind a cache that let go of keys.
    `dropout` is what is to be dropped now: 0 in evaluation.
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
    first_key: int = 0

    def extent(self) -> Extent:
        """Return the grid of queries and keys."""
        batch, heads, queries, _ = self.query.shape
        return Extent(batch, heads, queries, self.key.shape[2], self.offset, self.query.device, self.first_key)

    def positions(self) -> Positions:
        """Return where queries and keys stand."""
        queries, keys, device = self.query.shape[2], self.key.shape[2], self.query.device
        return Positions(
            torch.arange(self.offset, self.offset + queries, device=device),
            torch.arange(self.first_key, self.first_key + keys, device=device),
        )

    def dense_mask(self) -> Bool[Tensor, "#B #H #Q #K"] | None:
        """Return the mask as a tensor; None where every query may look at every key."""
        if isinstance(self.mask, Everything):
            return None
        extent = self.extent()
        return None if self.mask.whole(extent) == "full" else self.mask.dense(extent)

    def dense_bias(self) -> Float[Tensor, "#B #H #Q #K"] | None:
        """Return the bias as a tensor in the query's type."""
        return None if self.bias is None else self.bias.dense(self.extent()).to(self.query.dtype)


def prepared_call(
    query: Tensor,
    memory: Memory,
    *,
    score: Score,
    bias: Bias | Tensor | None,
    mask: Mask | Tensor,
    normalizer: Normalizer,
    soft_cap: float | None,
    dropout: float,
    scale: float | None,
    offset: int,
) -> AttentionCall:
    """Prepare the query, cast all by the autocast state, and check that it fits together."""
    if not isinstance(memory, Memory):
        refuse_memory(memory)
    check_rank("query", query)
    check_numbers(soft_cap, dropout, scale)
    if type(offset) is not int:
        check_offset(offset)
    width = query.shape[-1]
    query, key, value = cast(score.prepare_query(query), memory.key, memory.value)
    call = AttentionCall(
        query,
        key,
        value,
        score,
        as_bias(bias, offset),
        as_mask(mask, offset) & memory.mask,
        normalizer,
        soft_cap,
        dropout,
        score.scale(width) if scale is None else scale,
        offset,
        memory.first_key,
    )
    check_fit(call)
    return call


def memory_of(score: Score, key: Tensor, value: Tensor, mask: Mask, extent: Extent | None) -> Memory:
    """Prepare keys and values, hidden where the mask hides them from every query of the extent.

    A mask that hides nothing, as the padding of sentences of one length, is not kept, since each call would ask it.
    """
    check_memory(key, value)
    if not isinstance(mask, Everything):
        key, value = hide(key, value, mask, extent)
        every = Extent(key.shape[0], 1, 1, key.shape[2], 0, key.device)
        if mask.same_for_queries and mask.whole(every) == "full":
            mask = Everything()
    return Memory(score.prepare_key(key), value, mask)


def own_memory(query: Tensor, key: Tensor, value: Tensor, mask: Mask | Tensor, score: Score, offset: int) -> Memory:
    """Prepare keys and values for the queries of one call."""
    mask = as_mask(mask, offset)
    if isinstance(mask, Everything):
        return memory_of(score, key, value, mask, None)
    check_rank("query", query)
    check_rank("key", key)
    batch, heads, queries, _ = query.shape
    return memory_of(score, key, value, mask, Extent(batch, heads, queries, key.shape[2], offset, query.device))


def hide(
    key: Tensor, value: Tensor, mask: Mask, extent: Extent | None = None, *, first_key: int = 0
) -> tuple[Tensor, Tensor]:
    """Zero the keys and values that no query of their batch entry may see, so that nothing leaks from there.

    Without an extent, which says what queries there are, only what the mask hides from every query is hidden, of keys
    from position `first_key` on.
    """
    if isinstance(mask, Everything):
        return key, value
    if extent is None:
        mask = for_every_query(mask)
        extent = Extent(key.shape[0], 1, 1, key.shape[2], 0, key.device, first_key)
    mask.check(extent)
    seen = mask.seen(extent)
    if seen is None:
        return key, value
    unseen = ~seen[:, None, :, None]
    return key.masked_fill(unseen, 0.0), value.masked_fill(unseen, 0.0)


def hide_states(states: Float[Tensor, "B N M"], mask: Mask) -> Float[Tensor, "B N M"]:
    """Zero the states that the mask hides from every query, before anything is made of them."""
    return hide(states.unsqueeze(1), states.unsqueeze(1), mask)[0].squeeze(1)


def as_mask(mask: Mask | Tensor, offset: int) -> Mask:
    """Return a mask; the first row of a tensor speaks of the first query."""
    if isinstance(mask, Mask):
        return mask
    if isinstance(mask, Tensor):
        return TensorMask(mask, first_query=offset)
    raise OptionError(f"mask must be a Mask or a boolean tensor, True = may look; it is {mask!r}.")


def as_bias(bias: Bias | Tensor | None, offset: int) -> Bias | None:
    """Return a bias; the first row of a tensor speaks of the first query."""
    if bias is None or isinstance(bias, Bias):
        return bias
    if isinstance(bias, Tensor):
        return TensorBias(bias, first_query=offset)
    remedy = " Evaluate it once a forward: buckets(queries, keys)." if isinstance(bias, DistanceBuckets) else ""
    raise OptionError(f"bias must be a Bias, a tensor of numbers to add to scores, or None; it is {bias!r}.{remedy}")


def check_rank(name: str, tensor: Tensor) -> None:
    """Raise if a tensor cannot be a query, key or value."""
    if isinstance(tensor, Tensor) and tensor.dim() == 4 and tensor.is_floating_point():
        return
    check_tensor(name, tensor)
    if tensor.dim() != 4:
        raise ShapeError(f"{name} must have the axes [batch, heads, length, width]; it has {list(tensor.shape)}.")
    raise ShapeError(f"{name} must hold floating-point numbers; it holds {tensor.dtype}.")


def check_memory(key: Tensor, value: Tensor) -> None:
    """Raise if keys and values cannot belong together."""
    check_rank("key", key)
    check_rank("value", value)
    batch, heads, keys, _ = key.shape
    value_batch, value_heads, values, _ = value.shape
    if value_batch != batch:
        raise ShapeError(f"value has {value_batch} batch entries and key has {batch}.")
    if value_heads != heads or values != keys:
        raise ShapeError(
            f"key has {heads} heads of {keys} positions and value has {value_heads} of "
            f"{values}; they belong together, position by position."
        )
    if keys == 0:
        raise ShapeError("key has length 0; there is nothing to attend to.")


def check_fit(call: AttentionCall) -> None:
    """Raise if the parts of a call do not fit each other."""
    query, key, value = call.query, call.key, call.value
    if not (query.dtype == key.dtype == value.dtype and query.device == key.device == value.device):
        refuse_mixture(query, {"key": key, "value": value})
    batch, heads, _, _ = query.shape
    key_batch, key_heads, _, _ = key.shape
    if key_batch != batch:
        raise ShapeError(f"key has {key_batch} batch entries and query has {batch}.")
    if key_heads == 0 or heads % key_heads:
        raise ShapeError(f"query has {heads} heads and key has {key_heads}; the second must divide the first.")
    call.score.check(query, key)
    if not isinstance(call.mask, Everything):
        call.mask.check(call.extent())
    if call.bias is not None:
        call.bias.check(call.extent())


def refuse_mixture(query: Tensor, others: dict[str, Tensor]) -> None:
    """Raise and name the tensor that is of another type or elsewhere than the query."""
    for name, tensor in others.items():
        if tensor.dtype != query.dtype or tensor.device != query.device:
            raise ShapeError(
                f"{name} is {tensor.dtype} on {tensor.device} and query is {query.dtype} on {query.device}; "
                "they must agree. Convert one with .to(...)."
            )


def check_parts(score: Score, normalizer: Normalizer) -> None:
    """Raise if these are not a score and a normalizer; names and classes are none."""
    if isinstance(score, Score) and isinstance(normalizer, Normalizer):
        return
    for name, given, kind in (("score", score, Score), ("normalizer", normalizer, Normalizer)):
        if isinstance(given, kind):
            continue
        if isinstance(given, type) and issubclass(given, kind):
            raise OptionError(f"{name} must be an object; it is the class {given.__name__}: write {given.__name__}().")
        raise OptionError(f"{name} must be a {kind.__name__}, such as regard.attention.{name}s has; it is {given!r}.")


def refuse_memory(given: object) -> NoReturn:
    """Say that something else is attended to than a memory."""
    raise OptionError(
        f"memory must be what remember(...) returned; it is of type {type(given).__name__}. "
        "Keys and values as they are can be given to regard.attend."
    )


def check_offset(offset: int) -> None:
    """Raise if the position of the first query is not one number for all."""
    if isinstance(offset, (Tensor, float)):
        raise OptionError(
            f"offset must be a whole number, the same for all batch entries; it is {offset!r}. "
            "The mask Shifted takes a number for each."
        )


def check_numbers(soft_cap: float | None, dropout: float, scale: float | None) -> None:
    """Raise if a number is out of range."""
    if soft_cap is not None and not 0 < soft_cap < math.inf:
        raise OptionError(f"soft_cap must be a number above 0, or None for none; it is {soft_cap}.")
    if not 0 <= dropout <= 1:
        raise OptionError(f"dropout must lie between 0 and 1; it is {dropout}.")
    if scale is not None and not math.isfinite(scale):
        raise OptionError(f"scale must be a finite number, or None for the score's own; it is {scale}.")
