"""Translates with regard."""

import functools

import torch
from sizes import SIZES, SOURCE_TOKENS, TARGET_TOKENS
from torch import Tensor, nn
from translation_clock import Translate, answer_requests

from regard.data.tokenizers import Tokenizer
from regard.generation.search import SearchOptions, Vocabulary, search
from regard.models.transformer import Transformer, TransformerConfig

END = Tokenizer.eos_id
VOCABULARY = Vocabulary(Tokenizer.bos_id, END, (Tokenizer.pad_id, Tokenizer.bos_id))


@functools.cache
def model(size: str, dtype: str) -> Transformer:
    """Build a model that never ends by itself: the end of sentence is the last of the tokens that the limit allows."""
    torch.manual_seed(1)
    shape = SIZES[size]
    config = TransformerConfig(
        model_dim=shape.model_dim,
        feed_forward_dim=shape.feed_forward_dim,
        num_heads=shape.num_heads,
        encoder_layers=shape.layers,
        decoder_layers=shape.layers,
    )
    built = Transformer(config, source_vocab=shape.vocab_size, target_vocab=shape.vocab_size).eval()
    built.output.register_forward_hook(rule_out_end)
    return built.to(getattr(torch, dtype))


def rule_out_end(module: nn.Module, inputs: object, logits: Tensor) -> None:
    """Put the end of sentence below all others."""
    logits[..., END] = -1e9


def prepare(size: str, dtype: str, batch: int, beams: int) -> Translate:
    """Return what translates one batch."""
    translator, vocab_size = model(size, dtype), SIZES[size].vocab_size
    source = torch.randint(3, vocab_size, (batch, SOURCE_TOKENS), generator=torch.Generator().manual_seed(1))
    lengths = torch.full((batch,), SOURCE_TOKENS)
    options = SearchOptions(beams=beams)

    def translate() -> None:
        limits = [TARGET_TOKENS - 1] * batch  # the end of sentence is one more
        found = search(translator, source, lengths, options=options, vocabulary=VOCABULARY, max_lengths=limits)
        assert all(len(several[0].tokens) == TARGET_TOKENS - 1 for several in found)

    return translate


if __name__ == "__main__":
    answer_requests(prepare)
