"""Translates with Hugging Face's MarianMTModel and its `generate`."""

import functools

import torch
from marian import marian
from sizes import SIZES, SOURCE_TOKENS, TARGET_TOKENS
from transformers import MarianMTModel
from translation_clock import Translate, answer_requests


@functools.cache
def model(size: str, dtype: str) -> MarianMTModel:
    """Build a model once."""
    return marian(SIZES[size], dropout=0.0).eval().to(getattr(torch, dtype))


def prepare(size: str, dtype: str, batch: int, beams: int) -> Translate:
    """Return what translates one batch."""
    translator = model(size, dtype)
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(3, SIZES[size].vocab_size, (batch, SOURCE_TOKENS), generator=generator)

    def translate() -> None:
        found = translator.generate(
            source,
            attention_mask=torch.ones_like(source),
            min_new_tokens=TARGET_TOKENS,
            max_new_tokens=TARGET_TOKENS,
            num_beams=beams,
            do_sample=False,
            use_cache=True,
        )
        assert found.shape == (batch, 1 + TARGET_TOKENS)

    return translate


if __name__ == "__main__":
    answer_requests(prepare)
