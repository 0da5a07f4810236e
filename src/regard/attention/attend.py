"""Attention: the three verbs `attend`, `attention_weights` and `mix`, and the module `Attention`.

Every call, whoever makes it, passes `run_call`, where observers see it and the way is chosen.
"""

import functools
from collections.abc import Callable
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from regard.attention.autocast import autocasts, without_autocast
from regard.attention.biases import Bias
from regard.attention.call import (
    AttentionCall,
    Memory,
    as_mask,
    check_numbers,
    check_parts,
    memory_of,
    own_memory,
    prepared_call,
)
from regard.attention.grid import Extent
from regard.attention.masks import Everything, Mask
from regard.attention.normalizers import Normalizer, Softmax
from regard.attention.patterns import Causal
from regard.attention.scores import ScaledDot, Score
from regard.attention.ways import additive, flex, fused, products, reference, streamed, windowed
from regard.attention.ways.blocks import is_causal, needs_gradient, share_left
from regard.attention.ways.choice import alone, giving_weights, in_one_piece
from regard.errors import OptionError

mix = reference.mix

WAYS: dict[str, ModuleType] = {
    "reference": reference,
    "products": products,
    "fused": fused,
    "additive": additive,
    "streamed": streamed,
    "windowed": windowed,
    "flex": flex,
}

AUTO, STEADY = "auto", "steady"
"""The names by which a way is chosen: the fastest, and the fastest of those whose bits do not depend on company."""

CUT = 512 * 512
"""Queries times keys from which skipping what a mask hides pays, by `benchmarks/ways.py`."""
LONG = 1024 * 1024
"""Queries times keys beyond which a map is not held in one piece, by the same."""
SHARE, SHARE_OF_LEARNING = 0.7, 0.4
"""Share of a map that a mask may leave for the rest to be skipped, where nothing learns or the map is long, and where
something learns: gradients are gathered block by block. By the same."""

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

    The parts are in `regard.attention`: scores in `scores` and `kernels`, biases in `biases`, masks in `patterns`,
    `lengths` and `shifts`, normalizers in `normalizers`; `catalogue` names them all, with equation and source.

    Keys and values may have fewer heads than queries (G divides H): neighbors share. `dropout` always applies, as in
    `F.scaled_dot_product_attention`: give 0 in evaluation. `scale` replaces the score's own. `offset` is the
    position of the first query when that of the first key is 0: with a cache, the number of earlier keys. `way` is
    "auto" for the fastest, the name of one of `WAYS`, or "steady": half precision then gives the same bits whatever
    padding and company a sentence has.

    Raises:
        ShapeError: Tensors do not fit each other, and which.
        OptionError: The way is unknown or cannot run this call, and why.
    """
    if is_plain(score, bias, mask, normalizer, soft_cap, dropout, scale, offset, way):
        causal = type(mask) is Causal
        if alone(query, key, value, causal=causal, steady=way == STEADY):
            return functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
    check_parts(score, normalizer)
    call = prepared_call(
        query,
        own_memory(query, key, value, mask, score, offset),
        score=score,
        bias=bias,
        mask=EVERYTHING,
        normalizer=normalizer,
        soft_cap=soft_cap,
        dropout=dropout,
        scale=scale,
        offset=offset,
    )
    return run_call(call, way)


def is_plain(
    score: Score,
    bias: Bias | Tensor | None,
    mask: Mask | Tensor,
    normalizer: Normalizer,
    soft_cap: float | None,
    dropout: float,
    scale: float | None,
    offset: int,
    way: str,
) -> bool:
    """Say whether this is the softmax of scaled products, nothing but later keys hidden, and nobody looks.

    If besides its tensors are such as `choice.alone` takes, no call is built of it: that would take longer than the
    attention of a few tokens.
    """
    return (
        type(score) is ScaledDot
        and type(normalizer) is Softmax
        and (type(mask) is Everything or (type(mask) is Causal and offset == 0))
        and bias is None
        and soft_cap is None
        and scale is None
        and dropout == 0
        and type(offset) is int
        and way in (AUTO, STEADY)
        and not observers
    )


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
    """Return how much each query is to use each key: `attend` is `mix(attention_weights(...), value)`.

    Arguments are those of `attend`, and so is what it raises.
    """
    check_parts(score, normalizer)
    call = prepared_call(
        query,
        own_memory(query, key, key, mask, score, offset),
        score=score,
        bias=bias,
        mask=EVERYTHING,
        normalizer=normalizer,
        soft_cap=soft_cap,
        dropout=0.0,
        scale=scale,
        offset=offset,
    )
    return outside_autocast(giving_weights(call).weights, call)


def run_call(call: AttentionCall, way: str = "auto") -> Float[Tensor, "B H Q E"]:
    """Run a call by a way, past the observers: the last in the list sees it first, and the way sees what they leave."""
    if not observers and not autocasts(call.query):
        return run_by(way, call)
    run: Run = functools.partial(run_by, way)
    for around in observers:
        run = watched(around, run)
    return outside_autocast(run, call)


def outside_autocast(run: Run, call: AttentionCall) -> Tensor:
    """Run with autocast off: what a call holds is cast already."""
    if not autocasts(call.query):
        return run(call)
    with without_autocast(call.query):
        return run(call)


def run_by(way: str, call: AttentionCall) -> Tensor:
    """Run a call by a way."""
    runner = chosen_way(call, steady=way == STEADY) if way in (AUTO, STEADY) else named_way(call, way)
    context: Tensor = runner.run(call)
    return context


def watched(around: Observer, run: Run) -> Run:
    """Put an observer around a way."""
    return lambda call: around(call, run)


def chosen_way(call: AttentionCall, *, steady: bool = False) -> ModuleType:
    """Choose the fastest way that can run the call; under torch.compile no size is looked at, and the batch never.

    The last bits of half precision differ from way to way, and a translator must translate a sentence alike in any
    company: it asks for what is steady.
    """
    if torch.compiler.is_compiling():
        return reference if fused.why_not(call) else fused
    chosen = in_one_piece(call, steady=steady)
    if chosen is fused and isinstance(call.mask, Everything):
        return fused
    if is_causal(call) and (chosen is fused or products.learns_by_hand(call)):
        return chosen
    scores = call.query.shape[2] * call.key.shape[2]
    if scores < CUT:
        return chosen
    if call.query.device.type == "cpu":
        if hides_much(call) and (not steady or chosen is in_one_piece(call)):  # what is fastest runs its blocks
            return windowed
    elif not flex.why_not(call) and (chosen is not fused or hides_much(call)):
        return flex
    return chosen if chosen is fused or scores <= LONG else streamed


def hides_much(call: AttentionCall) -> bool:
    """Say whether the mask leaves so little that it pays to look for it."""
    extent = call.extent()
    short = call.query.shape[2] * call.key.shape[2] <= LONG
    most = SHARE_OF_LEARNING if short and needs_gradient(call) else SHARE
    return share_left(call.mask, extent.query_positions, extent.key_positions) <= most


def named_way(call: AttentionCall, way: str) -> ModuleType:
    """Return the way of this name, or raise its reason for not running the call."""
    if way not in WAYS:
        raise OptionError(f"way {way!r} is unknown; there are 'auto', 'steady', {', '.join(map(repr, WAYS))}.")
    reason: str | None = WAYS[way].why_not(call)
    if reason:
        able = [name for name in WAYS if not WAYS[name].why_not(call)]
        raise OptionError(
            f"way {way!r} cannot run this call: {reason}. Use way='auto' or way={' or '.join(map(repr, able))}."
        )
    return WAYS[way]


class Attention(nn.Module):
    """The equation with its parts, as a module; its state is that of its parts alone.

    `remember` prepares what is attended to once; the caller holds the Memory:

        memory = attention.remember(key, value)
        context = attention(query, memory)
    """

    def __init__(
        self,
        score: Score | None = None,
        *,
        normalizer: Normalizer | None = None,
        soft_cap: float | None = None,
        dropout: float = 0.0,
        scale: float | None = None,
        way: str = "auto",
    ) -> None:
        super().__init__()
        check_numbers(soft_cap, dropout, scale)
        self.score = ScaledDot() if score is None else score
        self.normalizer = Softmax() if normalizer is None else normalizer
        check_parts(self.score, self.normalizer)
        self.soft_cap = soft_cap
        self.dropout = dropout
        self.scale = scale
        self.way = way

    def remember(
        self,
        key: Float[Tensor, "B G K C"],
        value: Float[Tensor, "B G K E"],
        mask: Mask | Tensor = EVERYTHING,
        *,
        extent: Extent | None = None,
    ) -> Memory:
        """Prepare keys and values once, for any number of queries.

        Keys that the mask hides from every query get zeros, so that nothing leaks from there. Of a mask that speaks
        of queries this is known only if `extent` says which queries there will be.
        """
        return memory_of(self.score, key, value, as_mask(mask, 0 if extent is None else extent.offset), extent)

    def forward(
        self,
        query: Float[Tensor, "B H Q D"],
        memory: Memory,
        *,
        mask: Mask | Tensor = EVERYTHING,
        bias: Bias | Tensor | None = None,
        offset: int = 0,
    ) -> Float[Tensor, "B H Q E"]:
        """Attend to a memory; its own mask is joined with `mask`."""
        score, normalizer, soft_cap, scale = self.score, self.normalizer, self.soft_cap, self.scale
        dropout = self.dropout if self.training else 0.0
        plain = is_plain(score, bias, mask, normalizer, soft_cap, dropout, scale, offset, self.way)
        if plain and isinstance(memory, Memory) and type(memory.mask) is Everything and memory.first_key == 0:
            key, value, causal = memory.key, memory.value, type(mask) is Causal
            if alone(query, key, value, causal=causal, steady=self.way == STEADY):
                return functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
        call = prepared_call(
            query,
            memory,
            score=score,
            bias=bias,
            mask=mask,
            normalizer=normalizer,
            soft_cap=soft_cap,
            dropout=dropout,
            scale=scale,
            offset=offset,
        )
        return run_call(call, self.way)

    def extra_repr(self) -> str:
        """Name what is no module."""
        chosen = [f"{name}={value}" for name in ("soft_cap", "scale") if (value := getattr(self, name)) is not None]
        return ", ".join([*chosen, f"dropout={self.dropout}", f"way={self.way!r}"])
