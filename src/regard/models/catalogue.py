"""Every model by the kind that its config names. A plain table."""

from collections.abc import Callable
from typing import Any

from regard.models.recurrent import Recurrent, RecurrentConfig
from regard.models.roles import Seq2Seq
from regard.models.transformer import Transformer, TransformerConfig

MODELS: dict[type, Callable[..., Seq2Seq]] = {
    TransformerConfig: Transformer,
    RecurrentConfig: Recurrent,
}


def build_model(config: Any, *, source_vocab: int, target_vocab: int) -> Seq2Seq:
    """Build the model that a config describes, with random weights."""
    return MODELS[type(config)](config, source_vocab=source_vocab, target_vocab=target_vocab)
