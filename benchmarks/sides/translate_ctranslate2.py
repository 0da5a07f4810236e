"""Translates with CTranslate2, by what its converter makes of a MarianMTModel."""

import functools
import os
import random
from pathlib import Path

import ctranslate2
from ctranslate2.converters.transformers import MarianMTLoader
from marian import marian
from sizes import SIZES, SOURCE_TOKENS, TARGET_TOKENS
from translation_clock import Translate, answer_requests


def pieces(vocab_size: int) -> list[str]:
    """Return a vocabulary of made-up tokens."""
    return ["<unk>", "<s>", "</s>", *(f"t{number}" for number in range(3, vocab_size))]


@functools.cache
def model(size: str, kind: str) -> ctranslate2.Translator:
    """Convert a random model, into a folder below the present one, and load it."""
    specification = MarianMTLoader().get_model_spec(marian(SIZES[size], dropout=0.0))
    specification.register_source_vocabulary(pieces(SIZES[size].vocab_size))
    specification.register_target_vocabulary(pieces(SIZES[size].vocab_size))
    specification.config.decoder_start_token = "</s>"
    specification.validate()
    specification.optimize(quantization=None if kind == "float32" else kind)
    folder = Path(f"ctranslate2-{size}-{kind}")
    folder.mkdir()
    specification.save(str(folder))
    threads = int(os.environ["OMP_NUM_THREADS"])
    return ctranslate2.Translator(str(folder), device="cpu", compute_type=kind, inter_threads=1, intra_threads=threads)


def prepare(size: str, kind: str, batch: int, beams: int) -> Translate:
    """Return what translates one batch."""
    translator, tokens = model(size, kind), pieces(SIZES[size].vocab_size)
    chosen = random.Random(1)
    source = [chosen.choices(tokens[3:], k=SOURCE_TOKENS) for _ in range(batch)]

    def translate() -> None:
        found = translator.translate_batch(
            source, beam_size=beams, min_decoding_length=TARGET_TOKENS, max_decoding_length=TARGET_TOKENS
        )
        assert all(len(result.hypotheses[0]) == TARGET_TOKENS for result in found)

    return translate


if __name__ == "__main__":
    answer_requests(prepare)
