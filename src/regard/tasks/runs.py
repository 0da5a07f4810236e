"""A run on disk: a folder that carries all that its translator needs, and nothing that is executed.

config.json        what the model is, which of its heads were pruned, and which of its weights are its alignment
model.safetensors  its weights, in float32
tokenizer.json     the tokenizer of both sides, or of the source beside tokenizer.target.json
manifest.json      size and SHA-256 of these files; they are checked before anything is read from them
train.toml         the recipe and the files that it was trained on
metrics.jsonl      what training measured
checkpoints/       where training can go on
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor

from regard.data.tokenizers import TokenizerPair
from regard.errors import ConfigError, DamagedError, InputError, OptionError
from regard.files import digest, encode_json, encode_tensors, read_json, read_tensors, write_whole
from regard.generation.search import SearchOptions
from regard.inspection.alignments.alignment_site import AlignmentSite
from regard.inspection.effects.pruning import prune, pruned_heads
from regard.models.catalogue import blueprint, build_model
from regard.models.roles import Seq2Seq
from regard.tasks.recipe import ModelConfig, Recipe, as_values, read_toml, told, unknown_names
from regard.tasks.translator import Translator

FORMAT = 1

WEIGHTS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
"""Types that weights can be stored in; ours are float32."""


def save_run(folder: Path, translator: Translator, model_config: Any, extra: Mapping[str, Any]) -> None:
    """Write what a translator consists of, each file whole or not at all, the manifest last.

    Args:
        folder: The run; made if it is not there.
        translator: What to write.
        model_config: What its model was built from.
        extra: What else config.json should say, such as scores; told by `regard info`.
    """
    tokenizers = translator.tokenizers
    gone = pruned_heads(translator.model)
    config = {
        "format": FORMAT,
        "model_type": "regard",
        "model": dataclasses.asdict(model_config),
        "source_vocab": tokenizers.source.vocab_size,
        "target_vocab": tokenizers.target.vocab_size,
        "max_length": translator.max_length,
        "usual_length": translator.usual_length,
        "alignment": None if translator.site is None else dataclasses.asdict(translator.site),
        "decoding": dataclasses.asdict(translator.options),
        **({"pruned_heads": gone} if gone else {}),
        **extra,
    }
    folder.mkdir(parents=True, exist_ok=True)
    tokenizers.save(folder)
    write_whole(folder / "model.safetensors", encode_tensors(own_weights(translator.model), {"format": "pt"}))
    write_whole(folder / "config.json", encode_json(config))
    names = ["config.json", "model.safetensors", "tokenizer.json"]
    names += ["tokenizer.target.json"] if (folder / "tokenizer.target.json").exists() else []
    entries = {name: {"size": (folder / name).stat().st_size, "sha256": digest(folder / name)} for name in names}
    write_whole(folder / "manifest.json", encode_json({"format": FORMAT, "files": entries}))


def write_recipe(folder: Path, files: Mapping[str, str], recipe: Recipe) -> None:
    """Write train.toml: the whole recipe, and the files by the options that name them."""
    write_whole(folder / "train.toml", tomli_w.dumps({"files": dict(files), **as_values(recipe)}))


def read_recipe(folder: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Read the files and the values that train.toml holds; the values are not checked further.

    Raises:
        ConfigError: It cannot be read, or has single values where it should have tables.
    """
    path = folder / "train.toml"
    values = read_toml(path)
    tables = {"files"} | {name for name, value in dataclasses.asdict(Recipe()).items() if isinstance(value, dict)}
    faults = [
        f"{path}: {name} is {value!r} where a table is needed."
        for name, value in values.items()
        if name in tables and not isinstance(value, dict)
    ]
    files = {} if faults else values.pop("files", {})
    faults += [
        f"{path}: files.{name} is {value!r}, not text." for name, value in files.items() if type(value) is not str
    ]
    if faults:
        raise ConfigError(faults)
    return files, values


def own_weights(model: Seq2Seq) -> dict[str, Tensor]:
    """Return every parameter once, in float32, under the first of its names."""
    return {name: parameter.detach().float() for name, parameter in model.named_parameters()}


def load_run(folder: Path, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Translator:
    """Load a translator from its run.

    Raises:
        OptionError: There is no finished run at this place.
        DamagedError: A file is not what was written, and which.
    """
    described = description(checked_config(folder), folder / "config.json")
    tokenizers = TokenizerPair.load(folder)
    sizes = tokenizers.source.vocab_size, tokenizers.target.vocab_size
    if sizes != (described.source_vocab, described.target_vocab):
        raise DamagedError(
            f"The tokenizers in {folder} are not those of its model: they have {sizes[0]} and {sizes[1]} tokens, "
            f"config.json says {described.source_vocab} and {described.target_vocab}."
        )
    model = restored_model(described, read_tensors(folder / "model.safetensors"), folder)
    site = described.alignment
    if site is not None and site.layer not in model.alignment_sites():
        raise DamagedError(f"{folder / 'config.json'} names an alignment in {site.layer!r}, which its model has not.")
    model.to(device=device, dtype=dtype)
    return Translator(
        model,
        tokenizers,
        max_length=described.max_length,
        usual_length=described.usual_length,
        site=site,
        options=described.decoding,
    )


@dataclass(frozen=True, kw_only=True)
class Description:
    """What config.json must say; it may say more."""

    format: Literal[1]
    model: ModelConfig
    source_vocab: Annotated[int, Field(ge=1)]
    target_vocab: Annotated[int, Field(ge=1)]
    max_length: Annotated[int, Field(ge=1)]
    usual_length: Annotated[int, Field(ge=1)] | None = None
    alignment: AlignmentSite | None
    decoding: SearchOptions
    training: dict[str, Any] | None = None
    pruned_heads: dict[str, list[Annotated[int, Field(ge=0)]]] = field(default_factory=dict)


DESCRIPTION = TypeAdapter(Description)


def description(config: Mapping[str, Any], path: Path) -> Description:
    """Check what config.json says."""
    parts = (("model", ModelConfig), ("alignment", AlignmentSite), ("decoding", SearchOptions))
    faults = [
        fault
        for name, kind in parts
        if isinstance(config.get(name), Mapping)
        for fault in unknown_names(config[name], kind, f"{name}.")
    ]
    try:
        described = DESCRIPTION.validate_python(config)
    except ValidationError as error:
        faults += [told(detail) for detail in error.errors()]
    except InputError as error:
        faults.append(str(error))
    else:
        if not faults:
            return described
    raise DamagedError(f"{path} does not describe a translator: {' '.join(faults)}")


def restored_model(described: Description, tensors: Mapping[str, Tensor], folder: Path) -> Seq2Seq:
    """Build the model that is described and put its weights into it.

    It is built without memory first and compared with the weights, so that a description of something huge costs
    nothing.
    """
    path = folder / "model.safetensors"
    layers = described.model.encoder_layers + described.model.decoder_layers
    if layers > max(1000, len(tensors)):
        raise DamagedError(f"{path} does not fit the model that config.json describes: it has {layers} layers.")
    sizes = {"source_vocab": described.source_vocab, "target_vocab": described.target_vocab}
    try:
        plan = blueprint(described.model, **sizes)
        prune(plan, described.pruned_heads)
        check_weights(plan, tensors, path)
        model = build_model(described.model, **sizes)
        prune(model, described.pruned_heads)
    except (InputError, RuntimeError, OverflowError) as error:
        if isinstance(error, DamagedError):
            raise
        raise DamagedError(f"{folder / 'config.json'} describes a model that cannot be: {error}") from error
    put_weights(model, tensors, path)
    return model


def checked_config(folder: Path) -> dict[str, Any]:
    """Check every file against the manifest and return config.json."""
    if not (folder / "manifest.json").is_file():
        hint = "its training has not finished: continue it with --resume" if (folder / "train.toml").exists() else ""
        raise OptionError(
            f"{folder} holds no finished run{': ' + hint if hint else ''}. "
            "A run is a folder that `regard train --out` wrote, with config.json and manifest.json in it."
        )
    manifest = read_json(folder / "manifest.json", max_bytes=1 << 20)
    if manifest.get("format") != FORMAT:
        raise DamagedError(
            f"{folder / 'manifest.json'} has format {manifest.get('format')!r}; this regard reads {FORMAT}."
        )
    files = manifest.get("files")
    wanted = {"config.json", "model.safetensors", "tokenizer.json"}
    allowed = wanted | {"tokenizer.target.json"}
    if not isinstance(files, dict) or not wanted <= files.keys() <= allowed:
        raise DamagedError(f"{folder / 'manifest.json'} does not list the files of a run.")
    for name, entry in files.items():
        check_file(folder / name, entry)
    if (folder / "tokenizer.target.json").exists() and "tokenizer.target.json" not in files:
        raise DamagedError(f"{folder / 'tokenizer.target.json'} does not belong to this run: the manifest lacks it.")
    return read_json(folder / "config.json", max_bytes=1 << 20)


def check_file(path: Path, entry: Any) -> None:
    """Raise if a file is not what the manifest says."""
    if not path.is_file():
        raise DamagedError(f"{path} is missing. Copy the whole folder of the run, or take its last checkpoint anew.")
    if not isinstance(entry, dict) or (path.stat().st_size, digest(path)) != (entry.get("size"), entry.get("sha256")):
        raise DamagedError(
            f"{path} is not the file that was written: its SHA-256 differs from the one in manifest.json. "
            "Copy the run again, or finish its training again with --resume."
        )


def put_weights(model: Seq2Seq, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put every weight into its place; missing, unknown and misshapen ones are named, all at once."""
    check_weights(model, tensors, path)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[name])


def check_weights(model: Seq2Seq, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise if weights are not those of a model, or are no numbers."""
    parameters = dict(model.named_parameters())
    faults = [f"{name} is missing" for name in parameters if name not in tensors]
    faults += [f"{name} is unknown" for name in tensors if name not in parameters]
    faults += [
        f"{name} has shape {list(tensors[name].shape)}, the model has {list(parameter.shape)}"
        for name, parameter in parameters.items()
        if name in tensors and tensors[name].shape != parameter.shape
    ]
    faults += [
        f"{name} holds numbers of type {str(tensor.dtype).removeprefix('torch.')}"
        for name, tensor in tensors.items()
        if tensor.dtype not in WEIGHTS
    ]
    if faults:
        raise DamagedError(f"{path} does not fit the model that config.json describes: {'; '.join(faults)}.")
    broken = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise DamagedError(f"{path} is damaged: {', '.join(broken)} holds numbers that are not finite.")
