"""Pruned translators: smaller, saved, loaded, and aligned by the head that was meant."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from regard.errors import DamagedError, OptionError
from regard.inspection.alignments.alignment_site import AlignmentSite
from regard.inspection.effects.pruning import pruned_heads
from regard.tasks.load import load
from regard.tasks.pruning import prune_translator
from regard.tasks.runs import save_run
from regard.tasks.translator import Translator
from tests.tasks import tiny
from tests.tasks.test_runs import change_config

CONFIG = replace(tiny.TRANSFORMER, model_dim=18, num_heads=3)
GONE = {
    "encoder.0.self_attention": [1, 2],
    "decoder.0.cross_attention": [0],
    "decoder.1.cross_attention": [0],
}
TEXTS = ["the cat sleeps", "my feet hurt"]


def translator() -> Translator:
    made = tiny.translator(CONFIG)
    made.site = AlignmentSite("decoder.1.cross_attention", 2, "gold", 0.25)
    return made


def test_a_pruned_translator_is_saved_and_loaded_to_the_bit(tmp_path: Path) -> None:
    pruned = translator()
    prune_translator(pruned, GONE)
    save_run(tmp_path / "run", pruned, CONFIG, {})
    loaded = load(tmp_path / "run")
    assert pruned_heads(loaded.model) == GONE
    assert loaded.translate(TEXTS) == pruned.translate(TEXTS)
    assert loaded.site == pruned.site
    save_run(tmp_path / "again", loaded, CONFIG, {})
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_the_alignment_stays_with_its_head() -> None:
    whole, pruned = translator(), translator()
    prune_translator(pruned, {name: heads for name, heads in GONE.items() if "cross" in name})
    assert pruned.site == AlignmentSite("decoder.1.cross_attention", 1, "gold", 0.25)
    with torch.no_grad():
        for made in (whole, pruned):  # the layer before the last adds nothing, so that both see the same states
            made.model.get_parameter("decoder.0.cross_attention.output.weight").zero_()
            made.model.get_parameter("decoder.0.cross_attention.output.bias").zero_()
    lines = ["le chat dort", "j'ai faim"]
    assert whole.align(TEXTS, lines) == pruned.align(TEXTS, lines)


def test_what_would_spoil_the_alignment_is_told() -> None:
    made = translator()
    with pytest.raises(
        OptionError, match=r"read from head 2 of decoder\.1\.cross_attention, which cannot go\. Keep it"
    ):
        prune_translator(made, {"decoder.0.cross_attention": [2], "decoder.1.cross_attention": [2]})
    with pytest.raises(OptionError, match=r"decoder\.0\.cross_attention 2, decoder\.1\.cross_attention 3\)"):
        prune_translator(made, {"decoder.0.cross_attention": [2]})
    assert pruned_heads(made.model) == {}


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({"encoder.0.self_attention": [1]}, r"has shape \["),
        ({"encoder.0.self_attention": [7]}, r"describes a model that cannot be: .* has heads 0 to 2"),
        ({"encoder.0.feed_forward": [0]}, r"describes a model that cannot be: .* cannot be pruned"),
        ({"encoder.0.self_attention": [-1]}, r"pruned_heads"),
        ([], r"pruned_heads"),
    ],
)
def test_a_false_record_of_pruned_heads_is_refused(heads: object, message: str, tmp_path: Path) -> None:
    pruned = translator()
    prune_translator(pruned, GONE)
    save_run(tmp_path / "run", pruned, CONFIG, {})
    assert json.loads((tmp_path / "run/config.json").read_bytes())["pruned_heads"] == GONE
    change_config(tmp_path / "run", lambda config: config.update(pruned_heads=heads))
    with pytest.raises(DamagedError, match=message):
        load(tmp_path / "run")
