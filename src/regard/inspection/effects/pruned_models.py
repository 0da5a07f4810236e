"""Pruned models of the library transformers on disk, which reads no model whose heads differ from its config.

config.json          as transformers writes it, of the model before it was pruned
pruned_heads.json    which heads are gone, by module, counted as the config builds them
model.safetensors    what is left, each parameter once

Our own pruned models are saved with their runs (`tasks.runs`).
"""

from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from regard.errors import DamagedError, OptionError
from regard.files import encode_json, encode_tensors, make_folder, read_json, read_tensors, write_whole
from regard.inspection.effects.pruning import prune, pruned_heads

FORMAT = 1

Model = TypeVar("Model", bound=nn.Module)


def save_pruned(folder: str | Path, model: Any) -> None:
    """Write a model of the library transformers so that `load_pruned` brings it back to the bit.

    Raises:
        OptionError: There is no config to write, or what is given is no model.
    """
    if not isinstance(model, nn.Module):
        raise OptionError(
            f"The second argument must be a model, and is of type {type(model).__name__}: save_pruned(folder, model)."
        )
    if not hasattr(getattr(model, "config", None), "save_pretrained"):
        raise OptionError(
            f"{type(model).__name__} has no config of the library transformers to save. Build your model anew, prune "
            "it with prune(model, pruned_heads(...)) and load its state_dict; runs of ours keep their pruned heads."
        )
    path = Path(folder)
    make_folder(path)
    config: Any = model.config
    config.save_pretrained(path)
    write_whole(path / "model.safetensors", encode_tensors(state_of(model), {"format": "pt"}))
    write_whole(path / "pruned_heads.json", encode_json({"format": FORMAT, "heads": pruned_heads(model)}))


def load_pruned(model_class: type[Model], folder: str | Path) -> Model:
    """Load what `save_pruned` wrote, for evaluation.

    Raises:
        OptionError: The folder holds no pruned model, or the model one has no such heads.
        DamagedError: The weights are not those of the model.
    """
    path = Path(folder)
    if not (path / "pruned_heads.json").is_file():
        raise OptionError(
            f"{path} has no pruned_heads.json, which save_pruned writes. A model that was not pruned is loaded by "
            f"{model_class.__name__}.from_pretrained."
        )
    described = read_json(path / "pruned_heads.json", max_bytes=1 << 24)
    heads: Any = described.get("heads")
    if described.get("format") != FORMAT or not is_record(heads):
        raise DamagedError(f"{path / 'pruned_heads.json'} is not a record of pruned heads in format {FORMAT}.")
    theirs: Any = model_class
    config = theirs.config_class.from_pretrained(path)
    model: Model = theirs(config)
    prune(model, heads)
    tensors = read_tensors(path / "model.safetensors")
    put_state(model, tensors, path / "model.safetensors")
    return model.eval()


def is_record(heads: object) -> bool:
    """Say whether something is lists of numbers by name."""
    return isinstance(heads, dict) and all(
        isinstance(numbers, list) and all(type(number) is int for number in numbers) for numbers in heads.values()
    )


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Return every parameter once, under the first of its names, and the buffers that a state_dict holds."""
    stored = model.state_dict()
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    return parameters | {name: buffer.detach() for name, buffer in model.named_buffers() if name in stored}


def put_state(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Put every tensor into its place, in its own type; what does not fit is told all at once."""
    state = state_of(model)
    faults = [f"{name} is missing" for name in state if name not in tensors]
    faults += [f"{name} is unknown" for name in tensors if name not in state]
    faults += [
        f"{name} has shape {list(tensors[name].shape)}, the model has {list(own.shape)}"
        for name, own in state.items()
        if name in tensors and tensors[name].shape != own.shape
    ]
    if faults:
        raise DamagedError(f"{path} does not fit the pruned model: {'; '.join(faults)}.")
    places = dict(model.named_parameters()) | dict(model.named_buffers())
    with torch.no_grad():
        for name, tensor in tensors.items():
            places[name].data = tensor
