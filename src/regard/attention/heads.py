"""Heads: projections around the equation (Vaswani et al. 2017, 3.2.2)."""

from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.attend import EVERYTHING, Attention
from regard.attention.biases import Bias
from regard.attention.caches import Cache
from regard.attention.call import Memory, as_mask, hide, hide_states
from regard.attention.grid import Extent
from regard.attention.masks import Mask
from regard.errors import OptionError, ShapeError


def split_heads(states: Float[Tensor, "B N M"], num_heads: int) -> Float[Tensor, "B H N D"]:
    """Cut the width into heads."""
    return states.view(*states.shape[:-1], num_heads, states.shape[-1] // num_heads).transpose(1, 2)


def merge_heads(context: Float[Tensor, "B H N D"]) -> Float[Tensor, "B N M"]:
    """Put the heads side by side again."""
    return context.transpose(1, 2).flatten(-2)


def head_dim(model_dim: int, num_heads: int) -> int:
    """Return the width of a head; the heads share the model's width evenly."""
    if num_heads < 1:
        raise OptionError(f"num_heads must be 1 or more; it is {num_heads}.")
    if model_dim < 1 or model_dim % num_heads:
        lower = model_dim // num_heads * num_heads
        nearest = f"{lower} and {lower + num_heads} are" if lower > 0 else f"{num_heads} is"
        raise OptionError(
            f"model_dim ({model_dim}) must be a multiple of num_heads ({num_heads}): {nearest} the nearest."
        )
    return model_dim // num_heads


def shared_heads(num_heads: int, num_kv_heads: int | None) -> int:
    """Return the number of heads of keys and values: as many as of queries, or fewer that divide them."""
    if num_kv_heads is None:
        return num_heads
    if num_kv_heads < 1 or num_heads % num_kv_heads:
        able = [number for number in range(1, num_heads + 1) if num_heads % number == 0]
        raise OptionError(
            f"num_kv_heads ({num_kv_heads}) must divide num_heads ({num_heads}): {', '.join(map(str, able))} do."
        )
    return num_kv_heads


def check_states(name: str, states: Tensor, width: int) -> None:
    """Raise if a tensor cannot be a sequence of states of this width."""
    if states.dim() != 3 or states.shape[-1] != width:
        raise ShapeError(f"{name} must have the axes [batch, length, {width}]; it has {list(states.shape)}.")


class SelfAttention(nn.Module):
    """A sequence attends to itself, by several heads.

    With fewer `num_kv_heads` neighboring heads share keys and values: grouped queries (Ainslie et al. 2023, 2.2), with
    one multi-query attention (Shazeer 2019, 3). What a cache keeps shrinks by as much.

    What the mask hides leaks into no other row. Hidden rows are queries too, though, and what is not finite in them
    would reach the gradients of all: a model hides its padding at the door (`call.hide_states`).
    """

    def __init__(
        self, model_dim: int, num_heads: int, attention: Attention, *, num_kv_heads: int | None = None
    ) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, head_dim(model_dim, num_heads)
        self.num_kv_heads = shared_heads(num_heads, num_kv_heads)
        self.heads = (num_heads, self.num_kv_heads, self.num_kv_heads)  # of queries, keys and values
        self.all_heads = sum(self.heads)
        self.query_key_value = nn.Linear(model_dim, self.all_heads * self.head_dim)
        self.attention = attention
        self.output = nn.Linear(model_dim, model_dim)
        for part in self.query_key_value.weight.split_with_sizes([heads * self.head_dim for heads in self.heads]):
            nn.init.xavier_uniform_(part.detach())
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.query_key_value.bias)
        nn.init.zeros_(self.output.bias)

    def forward(
        self,
        states: Float[Tensor, "B N M"],
        *,
        mask: Mask | Tensor = EVERYTHING,
        bias: Bias | Tensor | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "B N M"]:
        """Attend to the states, and to what the cache holds before them."""
        check_states("states", states, self.query_key_value.in_features)
        batch, length, _ = states.shape
        heads = self.query_key_value(states).view(batch, length, self.all_heads, self.head_dim).transpose(1, 2)
        query, key, value = heads.split_with_sizes(self.heads, 1)  # [B H N D], [B G N D], [B G N D]
        offset = 0 if cache is None else cache.length
        mask = as_mask(mask, offset)
        if cache is None:
            extent = Extent(batch, self.num_heads, length, length, 0, states.device)
            memory = self.attention.remember(key, value, mask, extent=extent)
        else:
            key, value = hide(key, value, mask, first_key=offset)
            key, value = cache.append(self.attention.score.prepare_key(key), value)
            if cache.first_key:
                cache.check_reach(mask, length)
            memory = Memory(key, value, mask, cache.first_key)
        return self.output(merge_heads(self.attention(query, memory, bias=bias, offset=offset)))  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """A sequence attends to another, by several heads; neighbors may share keys and values, as in SelfAttention."""

    def __init__(
        self,
        model_dim: int,
        num_heads: int,
        attention: Attention,
        memory_dim: int | None = None,
        *,
        num_kv_heads: int | None = None,
    ) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, head_dim(model_dim, num_heads)
        self.num_kv_heads = shared_heads(num_heads, num_kv_heads)
        self.query = nn.Linear(model_dim, model_dim)
        self.key_value = nn.Linear(memory_dim or model_dim, 2 * self.num_kv_heads * self.head_dim)
        self.attention = attention
        self.output = nn.Linear(model_dim, model_dim)
        for part in (self.query.weight, *self.key_value.weight.chunk(2), self.output.weight):
            nn.init.xavier_uniform_(part.detach())
        for linear in (self.query, self.key_value, self.output):
            nn.init.zeros_(linear.bias)

    def remember(self, states: Float[Tensor, "B K C"], mask: Mask | Tensor = EVERYTHING) -> Memory:
        """Prepare what is attended to, once."""
        mask = as_mask(mask, 0)
        check_states("memory's states", states, self.key_value.in_features)
        states = hide_states(states, mask)
        heads = self.key_value(states).view(*states.shape[:2], 2, self.num_kv_heads, self.head_dim)
        key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)  # [B G K D]
        return self.attention.remember(key, value, mask)

    def forward(self, states: Float[Tensor, "B Q M"], memory: Memory) -> Float[Tensor, "B Q M"]:
        """Attend to a memory."""
        check_states("states", states, self.query.in_features)
        return self.output(merge_heads(self.attention(split_heads(self.query(states), self.num_heads), memory)))  # type: ignore[no-any-return]
