"""Tiny translators with random weights: nothing is learned, but everything can be run."""

from functools import cache
from pathlib import Path
from typing import Any

import torch

from regard.data.text import Pairs
from regard.data.tokenizers import TokenizerConfig, TokenizerPair
from regard.generation.search import SearchOptions
from regard.inspection.alignments.alignment_site import AlignmentSite
from regard.models.catalogue import build_model
from regard.models.recurrent import RecurrentConfig
from regard.models.transformer import TransformerConfig
from regard.tasks.runs import save_run
from regard.tasks.translator import Translator

LINES = Pairs(
    ["the cat sleeps", "my feet hurt", "i am hungry", "the red house is here", "she does not eat bread"] * 3,
    ["le chat dort", "j'ai mal aux pieds", "j'ai faim", "la maison rouge est ici", "elle ne mange pas de pain"] * 3,
)
TRANSFORMER = TransformerConfig(
    model_dim=16, feed_forward_dim=24, num_heads=2, encoder_layers=1, decoder_layers=2, share="all"
)
RECURRENT = RecurrentConfig(model_dim=16, hidden_dim=12, share="all")
FIXED = RecurrentConfig(model_dim=16, hidden_dim=12, attention="none", share="all")


@cache
def tokenizers() -> TokenizerPair:
    return TokenizerPair.train(LINES, TokenizerConfig(vocab_size=300))


def translator(config: Any = TRANSFORMER, *, seed: int = 1, max_length: int = 23, loud: float = 4.0) -> Translator:
    """A translator that knows nothing. `loud` weights make its choices clear, so that rounding changes none."""
    torch.manual_seed(seed)
    pair = tokenizers()
    model = build_model(config, source_vocab=pair.source.vocab_size, target_vocab=pair.target.vocab_size)
    with torch.no_grad():
        model.output.weight.mul_(loud)
        model.output.weight[3:259] *= 0.1  # single bytes: mostly no text
    site = None
    if model.alignment_sites():
        site = AlignmentSite(model.alignment_sites()[-1], None, "gold", 0.25)
    options = SearchOptions(beams=3, length_penalty=1.0)
    return Translator(model, pair, max_length=max_length, site=site, options=options)


def save(folder: Path, config: Any = TRANSFORMER, **changes: Any) -> Path:
    save_run(folder, translator(config, **changes), config, {"training": {"step": 7, "minutes": 0.5}})
    return folder
