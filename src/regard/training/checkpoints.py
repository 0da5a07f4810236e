"""Checkpoints: whole or absent, checked by digests, safetensors and JSON only.

A checkpoint is a folder, `RUN/checkpoints/step-00001234/`, of three files and a manifest that names the size and the
SHA-256 of each. The folder appears by one rename after all of it is on the disk, so what a killed process leaves is
either a whole checkpoint or none; the digests find what a disk or a copy does later. Neither torch.load nor
safetensors notices a flipped bit.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regard.errors import DamagedError, DivergedError, WorkError
from regard.files import (
    digest,
    encode_json,
    encode_tensors,
    make_folder,
    read_bytes,
    read_json,
    read_tensors,
    remove_whole,
    write_folder,
)

VERSION = 1
_FILES = ("weights.safetensors", "optimizer.safetensors", "state.json")
_FOLDER = re.compile(r"step-(\d{8,12})")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """All that training needs to go on as if it had never stopped.

    Attributes:
        step: Updates done.
        weights: Every parameter in float32 and every buffer, by its name in the model.
        optimizer: The optimizer's moments.
        state: The rest, as JSON holds it: random states, place in the data, scores.
    """

    step: int
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    state: Mapping[str, Any]


def checkpoint_folder(run: Path, step: int) -> Path:
    """Name the folder of a checkpoint."""
    return run / "checkpoints" / f"step-{step:08d}"


def stored_steps(run: Path) -> list[int]:
    """List the steps that have a checkpoint, whole or damaged, in order."""
    try:
        names = [entry.name for entry in (run / "checkpoints").iterdir()]
    except FileNotFoundError:
        return []
    found = [int(match[1]) for name in names if (match := _FOLDER.fullmatch(name))]
    return sorted(step for step in found if checkpoint_folder(run, step).name in names)


def save(run: Path, checkpoint: Checkpoint) -> Path:
    """Store a checkpoint; when this returns it is on the disk.

    Raises:
        DivergedError: A weight or moment is not finite. Nothing is written.
        WorkError: The disk is full, ... The checkpoints before stand untouched.
    """
    for name, tensor in (*checkpoint.weights.items(), *checkpoint.optimizer.items()):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise DivergedError(
                f"{name} is not finite after step {checkpoint.step}, so step {checkpoint.step} was not saved. "
                "Take up the training from the checkpoint before with a lower learning rate."
            )
    folder = checkpoint_folder(run, checkpoint.step)
    make_folder(folder.parent)
    write_folder(folder, _encode(checkpoint))
    return folder


def load(run: Path, step: int) -> Checkpoint:
    """Load one checkpoint after checking every file of it against the manifest.

    Raises:
        DamagedError: Something is not what was written; the message names the file.
    """
    folder = checkpoint_folder(run, step)
    try:
        _verify(folder, step)
        state = read_json(folder / "state.json")
        if state.get("step") != step:
            raise DamagedError(f"{folder / 'state.json'} is of step {state.get('step')}, not {step}.")
        return Checkpoint(
            step=step,
            weights=read_tensors(folder / "weights.safetensors"),
            optimizer=read_tensors(folder / "optimizer.safetensors"),
            state=state,
        )
    except DamagedError:
        raise
    except WorkError as error:  # a file that is missing or cannot be read
        raise DamagedError(str(error)) from error


def load_latest(run: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """Load the newest whole checkpoint, or None where none was ever saved.

    Args:
        run: The run's folder.
        warn: Is given a sentence for every damaged checkpoint that was passed over.

    Raises:
        DamagedError: There are checkpoints and all of them are damaged.
    """
    faults = []
    for step in reversed(stored_steps(run)):
        try:
            return load(run, step)
        except DamagedError as error:
            faults.append(str(error))
            warn(f"The checkpoint of step {step} is damaged and passed over: {error}")
    if not faults:
        return None
    raise DamagedError(
        f"None of the {len(faults)} checkpoints in {run / 'checkpoints'} is whole, so there is nothing to resume "
        f"from. The newest: {faults[0]} Start again with another folder."
    )


def prune(run: Path, *, newest: int, keep: int, best: int | None) -> list[int]:
    """Remove checkpoints that are no longer needed, and return their steps.

    Kept are the last `keep` up to `newest`, and as many that end at `best`, so that both ends can be averaged.
    `newest` itself, the one announced last, always stays, and so do later ones, which are not of this training.
    """
    known = [step for step in stored_steps(run) if step <= newest]
    kept = {newest, *known[-keep:]}
    if best is not None:
        kept.update([step for step in known if step <= best][-keep:])
    removed = [step for step in known if step not in kept]
    for step in removed:
        remove_whole(checkpoint_folder(run, step))
    return removed


def _encode(checkpoint: Checkpoint) -> Iterator[tuple[str, bytes]]:
    """Give the files one after the other and the manifest last, so that only one is in memory."""
    encoders = {
        "weights.safetensors": lambda: encode_tensors(checkpoint.weights),
        "optimizer.safetensors": lambda: encode_tensors(checkpoint.optimizer),
        "state.json": lambda: encode_json({**checkpoint.state, "step": checkpoint.step}),
    }
    entries = {}
    for name in _FILES:
        content = encoders[name]()
        entries[name] = {"bytes": len(content), "sha256": sha256(content).hexdigest()}
        yield name, content
    yield "manifest.json", _encode_manifest(checkpoint.step, entries)


def _encode_manifest(step: int, entries: Mapping[str, Mapping[str, Any]]) -> bytes:
    return encode_json({"format": "regard checkpoint", "version": VERSION, "step": step, "files": entries})


def _verify(folder: Path, step: int) -> None:
    """Compare every file with the manifest, and the manifest with the only text that it could be."""
    path = folder / "manifest.json"
    manifest = read_json(path, max_bytes=1 << 16)
    if manifest.get("version") != VERSION:
        raise DamagedError(f"{path} is of version {manifest.get('version')}; this regard reads version {VERSION}.")
    if manifest.get("step") != step:
        raise DamagedError(f"{path} is of step {manifest.get('step')}, not {step}.")
    if not isinstance(manifest.get("files"), dict):
        raise DamagedError(f"{path} lists no files.")
    entries = {name: _measure(folder / name, manifest["files"].get(name)) for name in _FILES}
    if read_bytes(path, max_bytes=1 << 16) != _encode_manifest(step, entries):
        raise DamagedError(f"{path} is not what was written.")


def _measure(path: Path, listed: object) -> dict[str, Any]:
    """Return the size and SHA-256 of a file if they are as listed; a file of another size is not read at all."""
    size = path.stat().st_size if path.is_file() else None
    wanted = listed.get("bytes") if isinstance(listed, dict) else None
    if size is None or size != wanted:
        raise DamagedError(f"{path} has {size} bytes where {wanted} were written.")
    entry = {"bytes": size, "sha256": digest(path)}
    if entry != listed:
        raise DamagedError(f"{path} is not what was written: its SHA-256 differs.")
    return entry
