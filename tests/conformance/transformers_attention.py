"""The attention of the library transformers by `regard.attend`: the adapter that its models are switched to.

Their models hand over queries, keys and values by heads, and say the rest in their own words: `is_causal` of the
module, `sliding_window`, `softcap`, sinks (`s_aux`), `position_bias`, and which tokens are padding, [batch, keys].
"""

from typing import Any

from torch import Tensor, nn

from regard.attention.attend import EVERYTHING, attend
from regard.attention.masks import Mask
from regard.attention.normalizers import Normalizer, SinkSoftmax, Softmax
from regard.attention.patterns import Causal, TensorMask, Window

NAME = "regard"


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: nn.Parameter | None = None,
    position_bias: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend. The last query stands at the last key, whatever a cache has dropped before."""
    causal = getattr(module, "is_causal", False) if is_causal is None else is_causal
    mask: Mask = Causal() if causal else EVERYTHING
    if sliding_window is not None:
        mask = mask & Window(sliding_window - 1, 0)
    if attention_mask is not None:
        mask = mask & TensorMask(attention_mask.bool()[:, None, None])
    normalizer: Normalizer = Softmax()
    if s_aux is not None:
        normalizer = SinkSoftmax(query.shape[1])
        normalizer.sinks = s_aux
    context = attend(
        query,
        key,
        value,
        mask=mask,
        bias=position_bias,
        normalizer=normalizer,
        soft_cap=softcap,
        dropout=dropout,
        scale=scaling,
        offset=key.shape[2] - query.shape[2],
    )
    return context.transpose(1, 2).contiguous(), None


def padding(*, kv_length: int, attention_mask: Tensor | None = None, **_: Any) -> Tensor | None:
    """Say which of the keys are no padding, instead of drawing a map."""
    return None if attention_mask is None else attention_mask[:, -kv_length:]


def register() -> None:
    """Let models of transformers be built or switched to this attention, by its name."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, padding)
