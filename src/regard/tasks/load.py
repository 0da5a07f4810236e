"""Loading what `regard train` wrote, ready for use."""

from pathlib import Path

import torch

from regard.tasks.runs import load_run
from regard.tasks.translator import Translator


def load(path: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Translator:
    """Load the task of a run: a `Translator` with `translate`, `score`, `align` and `attention`.

    Raises:
        OptionError: There is no finished run at this place.
        DamagedError: A file is not what was written, and which.
    """
    return load_run(Path(path), device=device, dtype=dtype)
