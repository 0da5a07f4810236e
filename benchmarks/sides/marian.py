"""The same shapes as a MarianMTModel of Hugging Face, with random weights."""

import torch
from sizes import Size
from transformers import MarianConfig, MarianMTModel


def marian(size: Size, *, dropout: float) -> MarianMTModel:
    """Build it. Padding is a token more, the last, as CTranslate2's converter wants it."""
    torch.manual_seed(1)
    padding = size.vocab_size
    config = MarianConfig(
        vocab_size=size.vocab_size + 1,
        d_model=size.model_dim,
        encoder_layers=size.layers,
        decoder_layers=size.layers,
        encoder_attention_heads=size.num_heads,
        decoder_attention_heads=size.num_heads,
        encoder_ffn_dim=size.feed_forward_dim,
        decoder_ffn_dim=size.feed_forward_dim,
        activation_function="relu",
        scale_embedding=True,
        dropout=dropout,
        attention_dropout=0.0,
        activation_dropout=0.0,
        pad_token_id=padding,
        decoder_start_token_id=padding,
        bos_token_id=1,
        eos_token_id=2,
        forced_eos_token_id=None,
    )
    return MarianMTModel(config)
