"""Looking at a text through a model of the library transformers, as it is: its folder, its tokenizer, its kernels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regard.errors import OptionError
from regard.files import read_json
from regard.inspection.alignments.words import merge_words
from regard.inspection.effects.belief import Belief, measure_belief, relative_change, total_variation
from regard.inspection.lens import Lens, Site
from regard.inspection.pictures.atlas import Chart, Panel, Side, panel
from regard.inspection.pictures.maps import Map
from regard.tasks.look import DRAWS, KEYS
from regard.tasks.pretrained_side import pretrained_side, readable

LONGEST = 256
"""Tokens of an output that is searched for."""


@dataclass(frozen=True)
class PretrainedLook:
    """One text, looked into.

    Attributes:
        panels: All layers and heads: of the text, or of encoder, decoder and what the decoder looked at in the encoder.
        map: One head, between words.
        output: What the model made of the text, if it makes another one.
        belief: What the model's output does when what the map says is taken away; None where not asked for.
    """

    panels: Sequence[Panel]
    map: Map
    output: str | None
    belief: Belief | None = None


def is_pretrained(folder: Path) -> bool:
    """Say whether a folder holds a model of the library transformers, and no run of ours."""
    if not (folder / "config.json").is_file() or (folder / "manifest.json").exists():
        return False
    kind = read_json(folder / "config.json", max_bytes=1 << 24).get("model_type")
    return isinstance(kind, str) and kind != "regard"


@torch.no_grad()
def look_pretrained(
    folder: Path,
    text: str,
    target: str | None = None,
    *,
    layer: str | None = None,
    head: int | None = None,
    belief: bool = False,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> PretrainedLook:
    """Run a text through a model under the lens.

    Args:
        folder: What `save_pretrained` wrote; weights in safetensors, since nothing is unpickled here.
        text: The input.
        target: For encoder-decoders the output to look at instead of the model's own.
        layer: Which attention to show as `map`: its name, or its number from 0. By default that of the sharpest head.
        head: Which of its heads, from 0; by default the sharpest.
        belief: Whether to measure if the map is to be believed: some twenty runs more of the model.
        device: Where to run.
        dtype: What to compute in.

    Raises:
        OptionError: transformers is not installed, the folder cannot be loaded, or the text does not fit the model.
    """
    if not text.strip():
        raise OptionError("There is nothing to look at: the text is empty.")
    model, tokenizer = _loaded(folder)
    model = model.to(device=device, dtype=dtype).eval()
    source = _encoded(tokenizer, text, model)
    output: str | None = None
    if model.config.is_encoder_decoder:
        ids, output = _written(model, tokenizer, source, target)
        inputs = {**source.to(model.device), "decoder_input_ids": ids.to(model.device)}
    elif target is not None:
        raise OptionError(f"A target is for models that make another text; {model.config.model_type} only reads one.")
    else:
        ids, inputs = None, dict(source.to(model.device))
    with Lens(model) as lens:
        model(**inputs)
    read = pretrained_side(tokenizer, source, text)
    panels = (
        [panel(lens, read, name=model.config.model_type)] if ids is None else _three(model, tokenizer, ids, read, lens)
    )
    chart = _chosen(panels[-1], layer, head)
    weights = lens[chart.layer].weights()[0, chart.head]
    title = text if output is None else f"{text} → {output}"
    measured = _believed(model, inputs, chart) if belief else None
    line = "" if measured is None else str(measured)
    charts = [replace(one, belief=line) if one is chart else one for one in panels[-1].charts]
    panels[-1] = replace(panels[-1], charts=charts)
    shown = _map(panels[-1], weights, title, f"{chart.layer}, head {chart.head}", line)
    return PretrainedLook(panels, shown, output, measured)


def _believed(model: Any, inputs: dict[str, Any], chart: Chart) -> Belief:
    """Measure what a head does for what the model gives: probabilities, or states where it has no vocabulary."""
    logits = model.config.is_encoder_decoder

    def output() -> Tensor:
        found = model(**inputs)
        return found.logits if logits else found.last_hidden_state  # type: ignore[no-any-return]

    distance = total_variation if logits else relative_change
    return measure_belief(model, output, chart.layer, heads=[chart.head], distance=distance, draws=DRAWS, keys=KEYS)


def _loaded(folder: Path) -> tuple[Any, Any]:
    try:
        from transformers import AutoConfig, AutoModel, AutoModelForSeq2SeqLM, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        raise OptionError(f"{folder} is a model of the library transformers, which is not installed: "
                          "pip install transformers.") from error  # fmt: skip
    disable_progress_bar()
    known = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(folder, **known)
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModel
        wanted = {"attn_implementation": "sdpa", "use_safetensors": True, "output_loading_info": True}
        model, told = kind.from_pretrained(folder, **wanted, **known)
        tokenizer = AutoTokenizer.from_pretrained(folder, **known)
    except Exception as error:  # each of its libraries has errors of its own for damaged files
        reason = str(error).strip().split("\n")[0]
        raise OptionError(f"{folder} cannot be loaded by transformers: {reason}") from error
    _check_whole(folder, told["missing_keys"], tokenizer)
    return model, tokenizer


def _check_whole(folder: Path, missing: Iterable[str], tokenizer: Any) -> None:
    """Raise for what transformers fills in by itself: random weights, and a tokenizer that knows no word."""
    lost = sorted(name for name in missing if "pooler" not in name.split("."))  # what pools comes after all attention
    if lost:
        raise OptionError(
            f"{folder} lacks weights of its model, which would be random: {', '.join(lost[:3])}"
            f"{f' and {len(lost) - 3} more' if len(lost) > 3 else ''}. Its config.json tells of another model."
        )
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise OptionError(f"{folder} has no vocabulary: save the model's tokenizer there, tokenizer.save_pretrained.")


def _encoded(tokenizer: Any, text: str, model: Any) -> Any:
    try:
        encoded = tokenizer(text, return_tensors="pt")
    except Exception as error:  # the library tokenizers raises nothing narrower
        raise OptionError(f"The model's tokenizer cannot read the text: {error}") from error
    length, most = encoded["input_ids"].shape[1], _longest(model, tokenizer)
    if most is not None and length > most:
        raise OptionError(f"The text has {length} tokens and the model reads {most} at once. Look at a part of it.")
    return encoded


def _longest(model: Any, tokenizer: Any) -> int | None:
    """Return how many tokens a model reads; None where its positions have no end."""
    places = getattr(model.config, "max_position_embeddings", None)
    if places is None:
        return None
    return min(int(places), int(tokenizer.model_max_length))  # RoBERTa's first two positions are of no use


def _written(model: Any, tokenizer: Any, source: Any, target: str | None) -> tuple[Tensor, str]:
    """Return what the decoder reads, of the model's own output or of one that is given, and the output."""
    if target is not None:
        labels = tokenizer(text_target=target, return_tensors="pt")["input_ids"]
        return model.prepare_decoder_input_ids_from_labels(labels), target
    longest = min(LONGEST, (_longest(model, tokenizer) or LONGEST + 1) - 1)
    made = model.generate(**source.to(model.device), max_new_tokens=longest, num_beams=1, do_sample=False)
    ids = made[:, :-1] if made.shape[1] > 1 else made
    return ids, str(tokenizer.decode(made[0], skip_special_tokens=True))


def _three(model: Any, tokenizer: Any, ids: Tensor, written: Side, lens: Lens) -> list[Panel]:
    """Show encoder, decoder, and what the decoder looked at in the encoder."""
    read = Side(tokens=readable(tokenizer, tokenizer.convert_ids_to_tokens(ids[0].tolist())))
    own: dict[str, Site] = {}
    cross: dict[str, Site] = {}
    encoder = next(name for name, module in model.named_modules() if module is model.get_encoder())
    inside = {name: lens[name] for name in lens if name.startswith(f"{encoder}.")}
    for place, name in enumerate(name for name in lens if name not in inside):
        (cross if place % 2 else own)[name] = lens[name]  # a layer of a decoder looks at itself, then at the encoder
    return [
        panel(inside, written, name="encoder"),
        panel(own, read, name="decoder"),
        panel(cross, read, written, name="decoder to encoder"),
    ]


def _chosen(shown: Panel, layer: str | None, head: int | None) -> Chart:
    """Find the head that was named, or the sharpest of those that are left."""
    layers = list(dict.fromkeys(chart.layer for chart in shown.charts))
    name = layer
    if layer is not None and layer.lstrip("-").isdecimal() and -len(layers) <= int(layer) < len(layers):
        name = layers[int(layer)]
    left = [c for c in shown.charts if name in (None, c.layer) and head in (None, c.head)]
    if not left:
        heads = max(chart.head for chart in shown.charts)
        raise OptionError(f"There is no layer {layer!r} with head {head}: the layers are {', '.join(layers)}, "
                          f"or 0 to {len(layers) - 1}; heads go from 0 to {heads}.")  # fmt: skip
    return max(left, key=lambda chart: chart.sharpness)


def _map(shown: Panel, weights: Tensor, title: str, note: str, belief: str) -> Map:
    """Show one head between words; what belongs to no word, such as a mark for the end, stands for itself."""
    (rows, row_words), (columns, column_words) = _words(shown.rows), _words(shown.columns)
    merged = merge_words(weights, row_words, column_words)
    return Map(weights=merged, rows=rows, columns=columns, title=title, note=note, belief=belief)


def _words(side: Side) -> tuple[list[str], list[int]]:
    """Return the words of a side and for each token the place of its word among them."""
    names: list[str] = []
    places: list[int] = []
    before: int | None = None
    for token, word in zip(side.tokens, side.words or [-1] * len(side.tokens), strict=True):
        if word >= 0 and word == before:
            names[-1] = (side.spelled[word] if side.spelled else "") or names[-1] + token
        else:
            names.append(token)
        places.append(len(names) - 1)
        before = word
    return names, places
