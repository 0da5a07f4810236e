"""Reads mutated safetensors files in a process of its own, with little memory and time, beside the library.

Run as `python -m tests.hostile.judging FOLDER FIRST LAST`: what was found is printed as a line of JSON.
"""

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from regard.errors import DamagedError
from regard.files import read_tensors
from tests.hostile.mutations import mutated

MEMORY = 600 << 20
SECONDS = 3.0


def verdict(path: Path) -> dict[str, torch.Tensor] | None:
    """What the library makes of a file; given as bytes it reads a few files less."""
    try:
        found = safetensors.torch.load_file(path)
    except Exception:
        return None
    try:
        as_bytes = safetensors.torch.load(path.read_bytes())
    except Exception:
        as_bytes = None
    assert as_bytes is None or same(found, as_bytes)
    return found


def same(mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return mine.keys() == theirs.keys() and all(
        mine[name].dtype == theirs[name].dtype
        and mine[name].shape == theirs[name].shape
        and bits(mine[name]) == bits(theirs[name])
        for name in mine
    )


def bits(tensor: torch.Tensor) -> list[Any]:
    """NaN is equal to itself here; any byte but 0 is true."""
    flat = tensor.reshape(-1)
    return flat.tolist() if flat.dtype == torch.bool else flat.view(torch.uint8).tolist()


def judge(path: Path, number: int) -> str:
    """Say in a word what became of a file."""
    _, content = mutated(number)
    path.write_bytes(content)
    expected = verdict(path)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)  # who takes longer is killed, also where no Python runs
    try:
        found = read_tensors(path)
    except DamagedError as error:
        if not str(error).startswith(f"{path} is not a valid safetensors file: "):
            return f"told as: {error}"
        return "refused" if expected is None else "refused where the library reads"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if expected is None:
        return "read where the library refuses"
    return "read" if same(found, expected) else "read otherwise than by the library"


def main(folder: Path, first: int, last: int) -> None:
    torch.set_num_threads(1)
    os.chdir(folder)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
    counts: dict[str, list[int]] = {}
    slowest = 0.0
    for number in range(first, last):
        began = time.perf_counter()
        counts.setdefault(f"{mutated(number)[0]}: {judge(Path('given'), number)}", []).append(number)
        slowest = max(slowest, time.perf_counter() - began)
    print(json.dumps({"counts": {name: [len(at), at[:3]] for name, at in counts.items()}, "slowest": slowest}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
