"""Heads whose queries and keys are turned by their positions."""

from jaxtyping import Float, Int
from torch import Tensor

from regard.attention.attend import EVERYTHING, Attention
from regard.attention.biases import Bias
from regard.attention.caches import Cache
from regard.attention.call import Memory, as_mask, hide
from regard.attention.grid import Extent
from regard.attention.heads import SelfAttention, check_states, merge_heads
from regard.attention.masks import Mask
from regard.attention.rotary import Rotary
from regard.errors import OptionError


class RotarySelfAttention(SelfAttention):
    """A sequence attends to itself; queries and keys are turned by their positions (Su et al. 2021, 3.2.2).

    A cache keeps keys turned, but for a rotation whose frequencies vary as a text grows: then it keeps them as they
    were, and each step turns all of them by the length of now, as a pass over the whole text would.
    """

    def __init__(
        self, model_dim: int, num_heads: int, attention: Attention, rotary: Rotary, *, num_kv_heads: int | None = None
    ) -> None:
        super().__init__(model_dim, num_heads, attention, num_kv_heads=num_kv_heads)
        if rotary.rotary_dim > self.head_dim:
            raise OptionError(
                f"rotary_dim ({rotary.rotary_dim}) must be at most the width of a head ({self.head_dim}: model_dim "
                f"{model_dim} / num_heads {num_heads})."
            )
        self.rotary = rotary

    def forward(
        self,
        states: Float[Tensor, "B N M"],
        *,
        mask: Mask | Tensor = EVERYTHING,
        bias: Bias | Tensor | None = None,
        cache: Cache | None = None,
        positions: Int[Tensor, "*B N"] | None = None,
    ) -> Float[Tensor, "B N M"]:
        """Attend to the states, and to what the cache holds before them.

        `positions`, [N] or [B N], are where queries and keys are turned to, if not one after the other: those of beams
        side by side, or of documents in one row. Masks and biases still count rows.
        """
        check_states("states", states, self.query_key_value.in_features)
        batch, length, _ = states.shape
        offset = 0 if cache is None else cache.length
        mask = as_mask(mask, offset)
        heads = self.query_key_value(states).view(batch, length, self.all_heads, self.head_dim).transpose(1, 2)
        query, key, value = heads.split_with_sizes(self.heads, 1)  # [B H N D], [B G N D], [B G N D]
        query = self.turned(query, offset, positions)
        if cache is None:
            extent = Extent(batch, self.num_heads, length, length, 0, states.device)
            memory = self.attention.remember(self.turned(key, 0, positions), value, mask, extent=extent)
        else:
            key, value = hide(key, value, mask, first_key=offset)
            memory = self.extended(cache, key, value, mask, positions)
        return self.output(merge_heads(self.attention(query, memory, bias=bias, offset=offset)))  # type: ignore[no-any-return]

    def turned(self, vectors: Tensor, start: int, positions: Tensor | None) -> Tensor:
        """Turn queries or keys."""
        if positions is not None:
            return self.rotary.at(vectors, positions)
        return self.rotary(vectors, start)  # type: ignore[no-any-return]

    def extended(self, cache: Cache, key: Tensor, value: Tensor, mask: Mask, positions: Tensor | None) -> Memory:
        """Put keys and values into the cache, and return all that the newest queries attend to."""
        prepare = self.attention.score.prepare_key
        if not self.rotary.varies:
            keys, values = cache.append(prepare(self.turned(key, cache.length, positions)), value)
        elif positions is None:
            keys, values = cache.append(key, value)
            keys = prepare(self.rotary(keys, cache.first_key, length=cache.length))
        else:
            raise OptionError(
                f"positions cannot be given with a cache and {type(self.rotary.scaling).__name__}, for which all keys "
                "are turned anew as a text grows. Give no positions, or use a scaling whose frequencies do not vary."
            )
        cache.check_reach(mask, key.shape[2])
        return Memory(keys, values, mask, cache.first_key)
