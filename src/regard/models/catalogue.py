"""Every model by the kind that its config names. A plain table."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

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


class _Unfilled(TorchFunctionMode):
    """Leaves normal weights unfilled: to draw them on "meta", torch 2.13 imports 800 modules, which takes a second."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func is nn.init.normal_:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def blueprint(config: Any, *, source_vocab: int, target_vocab: int) -> Seq2Seq:
    """Build a model of shapes alone, which takes no memory: it tells what can be, and which weights would fit."""
    with torch.device("meta"), _Unfilled():
        return build_model(config, source_vocab=source_vocab, target_vocab=target_vocab)
