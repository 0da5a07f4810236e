"""Attention: the three verbs `attend`, `attention_weights` and `mix`, and the module `Attention`.

Every call, whoever makes it, passes `run_call`, where observers see it and the way is chosen.
"""

from collections.abc import Callable
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.biases import Bias, TensorBias
from regard.attention.call import AttentionCall, Memory
from regard.attention.grid import Extent
from regard.attention.masks import Everything, Mask, TensorMask
from regard.attention.normalizers import Normalizer, Softmax
from regard.attention.scores import ScaledDot, Score
from regard.attention.ways import fused, reference
from regard.errors import OptionError, ShapeError

mix = reference.mix

WAYS: dict[str, ModuleType] = {"reference": reference, "fused": fused}

SCALED_DOT = ScaledDot()
SOFTMAX = Softmax()
EVERYTHING = Everything()

Run = Callable[[AttentionCall], Tensor]
Observer = Callable[[AttentionCall, Run], Tensor]

observers: list[Observer] = []
"""Who sees each call: `around(call, run) -> context`. To look, call `run`; to intervene, replace it.

A plain list, since a ContextVar breaks torch.compile(fullgraph=True).
"""


def attend(
    query: Float[Tensor, "B H Q D"],
    key: Float[Tensor, "B G K C"],
    value: Float[Tensor, "B G K E"],
    *,
    score: Score = SCALED_DOT,
    bias: Bias | Tensor | None = None,
    mask: Mask | Tensor = EVERYTHING,
    normalizer: Normalizer = SOFTMAX,
    soft_cap: float | None = None,
    dropout: float = 0.0,
    scale: float | None = None,
    offset: int = 0,
    way: str = "auto",
) -> Float[Tensor, "B H Q E"]:
    """Mix the values, by how much each query is to use each key.

    Keys and values may have fewer heads than queries (G divides H): neighbors share. `dropout` always applies, as in
    `F.scaled_dot_product_attention`: give 0 in evaluation. `scale` replaces the score's own. `offset` is the
    position of the first query when that of the first key is 0: with a cache, the number of earlier keys.

    Raises:
        ShapeError: Tensors do not fit each other, and which.
        OptionError: The way is unknown or cannot run this call, and why.
    """
    call = prepared_call(query, key, value, score, bias, mask, normalizer, soft_cap, dropout, scale, offset)
    return run_call(call, way)


def attention_weights(
    query: Float[Tensor, "B H Q D"],
    key: Float[Tensor, "B G K C"],
    *,
    score: Score = SCALED_DOT,
    bias: Bias | Tensor | None = None,
    mask: Mask | Tensor = EVERYTHING,
    normalizer: Normalizer = SOFTMAX,
    soft_cap: float | None = None,
    scale: float | None = None,
    offset: int = 0,
) -> Float[Tensor, "B H Q K"]:
    """Return how much each query is to use each key: `attend` is `mix(attention_weights(...), value)`."""
    call = prepared_call(query, key, key, score, bias, mask, normalizer, soft_cap, 0.0, scale, offset)
    return reference.weights(call)


def prepared_call(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score: Score,
    bias: Bias | Tensor | None,
    mask: Mask | Tensor,
    normalizer: Normalizer,
    soft_cap: float | None,
    dropout: float,
    scale: float | None,
    offset: int,
) -> AttentionCall:
    """Check the tensors, let the score prepare them, and hide the keys that nobody may see."""
    if torch.is_autocast_enabled(query.device.type):
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    check(query, key, value)
    if soft_cap is not None and not soft_cap > 0:
        raise OptionError(f"soft_cap must be above 0, or None for none; it is {soft_cap}.")
    if not 0 <= dropout <= 1:
        raise OptionError(f"dropout must lie between 0 and 1; it is {dropout}.")
    mask = TensorMask(mask, first_query=offset) if isinstance(mask, Tensor) else mask
    bias = TensorBias(bias, first_query=offset) if isinstance(bias, Tensor) else bias
    batch, heads, queries, width = query.shape
    key, value = hide(key, value, mask, Extent(batch, heads, queries, key.shape[2], offset, query.device))
    return AttentionCall(
        score.prepare_query(query),
        score.prepare_key(key),
        value,
        score,
        bias,
        mask,
        normalizer,
        soft_cap,
        dropout,
        score.scale(width) if scale is None else scale,
        offset,
    )


def hide(key: Tensor, value: Tensor, mask: Mask, extent: Extent) -> tuple[Tensor, Tensor]:
    """Zero the keys and values that no query of their batch entry may see, so that nothing leaks from there."""
    seen = mask.seen(extent)
    if seen is None:
        return key, value
    unseen = ~seen[:, None, :, None]
    return key.masked_fill(unseen, 0.0), value.masked_fill(unseen, 0.0)


def check(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Raise if tensors cannot belong to one call."""
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        if tensor.dim() != 4:
            raise ShapeError(f"{name} must have the axes [batch, heads, length, width]; it has {list(tensor.shape)}.")
        if not tensor.is_floating_point():
            raise ShapeError(f"{name} must hold floating-point numbers; it holds {tensor.dtype}.")
        if tensor.dtype != query.dtype or tensor.device != query.device:
            raise ShapeError(
                f"{name} is {tensor.dtype} on {tensor.device} and query is {query.dtype} on {query.device}; "
                "they must agree. Convert one with .to(...)."
            )
        if tensor.shape[0] != query.shape[0]:
            raise ShapeError(f"{name} has {tensor.shape[0]} batch entries and query has {query.shape[0]}.")
    if key.shape[1:3] != value.shape[1:3]:
        raise ShapeError(
            f"key has {key.shape[1]} heads of {key.shape[2]} positions and value has {value.shape[1]} of "
            f"{value.shape[2]}; they belong together, position by position."
        )
    if key.shape[1] == 0 or query.shape[1] % key.shape[1]:
        raise ShapeError(
            f"query has {query.shape[1]} heads and key has {key.shape[1]}; the second must divide the first."
        )
    if key.shape[2] == 0:
        raise ShapeError("key has length 0; there is nothing to attend to.")


def run_call(call: AttentionCall, way: str = "auto") -> Float[Tensor, "B H Q E"]:
    """Run a call by a way, past the observers."""
    runner = chosen_way(call) if way == "auto" else named_way(call, way)
    run: Run = runner.run
    for around in observers:
        run = watched(around, run)
    if torch.is_autocast_enabled(call.query.device.type):
        with torch.autocast(call.query.device.type, enabled=False):
            return run(call)
    return run(call)


def watched(around: Observer, run: Run) -> Run:
    """Put an observer around a way."""
    return lambda call: around(call, run)


def chosen_way(call: AttentionCall) -> ModuleType:
    """Choose the fastest way that can run the call; under torch.compile no size is looked at."""
    return reference if fused.why_not(call) else fused


def named_way(call: AttentionCall, way: str) -> ModuleType:
    """Return the way of this name, or raise its reason for not running the call."""
    if way not in WAYS:
        raise OptionError(f"way {way!r} is unknown; there are 'auto', {', '.join(map(repr, WAYS))}.")
    reason: str | None = WAYS[way].why_not(call)
    if reason:
        able = [name for name in WAYS if not WAYS[name].why_not(call)]
        raise OptionError(
            f"way {way!r} cannot run this call: {reason}. Use way='auto' or way={' or '.join(map(repr, able))}."
        )
    return WAYS[way]


class Attention(nn.Module):
    """The equation with its parts, as a module; its state is that of its parts alone.

    `remember` prepares what is attended to once; the caller holds the Memory.
    """

    def __init__(
        self,
        score: Score | None = None,
        *,
        normalizer: Normalizer = SOFTMAX,
        soft_cap: float | None = None,
        dropout: float = 0.0,
        scale: float | None = None,
        way: str = "auto",
    ) -> None:
        super().__init__()
        self.score = ScaledDot() if score is None else score
        self.normalizer = normalizer
        self.soft_cap = soft_cap
        self.dropout = dropout
        self.scale = scale
        self.way = way

    def remember(
        self,
        key: Float[Tensor, "B G K C"],
        value: Float[Tensor, "B G K E"],
        mask: Mask = EVERYTHING,
        *,
        queries: int = 1,
    ) -> Memory:
        """Prepare keys and values once, for any number of queries.

        Where the mask speaks of queries too, `queries` is how many there will be.
        """
        batch, heads, keys, _ = key.shape
        key, value = hide(key, value, mask, Extent(batch, heads, queries, keys, 0, key.device))
        return Memory(self.score.prepare_key(key), value, mask)

    def forward(
        self,
        query: Float[Tensor, "B H Q D"],
        memory: Memory,
        *,
        mask: Mask = EVERYTHING,
        bias: Bias | None = None,
        offset: int = 0,
    ) -> Float[Tensor, "B H Q E"]:
        """Attend to a memory."""
        call = AttentionCall(
            self.score.prepare_query(query),
            memory.key,
            memory.value,
            self.score,
            bias,
            mask & memory.mask,
            self.normalizer,
            self.soft_cap,
            self.dropout if self.training else 0.0,
            self.score.scale(query.shape[-1]) if self.scale is None else self.scale,
            offset,
        )
        return run_call(call, self.way)

    def extra_repr(self) -> str:
        """Name the parts that are no modules."""
        return f"normalizer={type(self.normalizer).__name__}, dropout={self.dropout}, way={self.way!r}"
