"""Options that several commands share: parallel text, and how to run."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from regard.errors import OptionError

if TYPE_CHECKING:
    import torch

    from regard.data.text import Pairs

RECIPE_OPTION = re.compile(r"--([a-z][a-z0-9_-]*(?:\.[a-z][a-z0-9_-]*)+)(?:=(.*))?", re.DOTALL)


def split_recipe_options(arguments: list[str]) -> list[str]:
    """Write `--a.b=c` and `--a.b c` as `--set a.b=c`, which the command line knows."""
    result: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        found = RECIPE_OPTION.fullmatch(argument)
        if found is None:
            result.append(argument)
            continue
        path, value = found.groups()
        value = next(rest, None) if value is None else value
        if value is None:
            raise OptionError(f"--{path} has no value; write --{path}=VALUE.")
        result += ["--set", f"{path}={value}"]
    return result


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PairFiles:
    """Where sentence pairs are read from: two files line by line, or one with columns. Plain or gzip."""

    src: Annotated[Path | None, Parameter(help="Source sentences, one a line.")] = None
    tgt: Annotated[Path | None, Parameter(help="Their translations, line by line.")] = None
    data: Annotated[Path | None, Parameter(help="Pairs in one file instead: TSV or JSONL.")] = None
    columns: Annotated[
        str | None, Parameter(help="The two columns of --data, SRC,TGT: names or numbers from 1. [default: 1,2]")
    ] = None

    def given(self) -> bool:
        """Say whether any file is named."""
        return any((self.src, self.tgt, self.data))

    def read(self) -> "Pairs":
        """Read the pairs."""
        from regard.data.tables import read_table
        from regard.data.text import read_pairs

        if self.data is not None and (self.src or self.tgt):
            raise OptionError("--data and --src/--tgt are both given: choose one.")
        if self.columns is not None and self.data is None:
            raise OptionError("--columns is for --data, which is not given.")
        if self.data is not None:
            return read_table(self.data, None if self.columns is None else two_columns(self.columns))
        if self.src is None or self.tgt is None:
            missing = " and ".join(name for name, path in (("--src", self.src), ("--tgt", self.tgt)) if path is None)
            raise OptionError(f"Sentence pairs are needed: {missing} missing. Give --src F --tgt F, or --data F.")
        return read_pairs(self.src, self.tgt)


def two_columns(columns: str) -> tuple[str, str]:
    """Read SRC,TGT."""
    names = [name.strip() for name in columns.split(",")]
    if len(names) != 2 or not all(names):
        raise OptionError(f"--columns must name two columns, SRC,TGT; it is {columns!r}.")
    return names[0], names[1]


def chosen_device(name: str) -> "torch.device":
    """Return the device of this name; "auto" is a GPU where there is one."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise OptionError(f"--device {name} cannot be used here: {reason}. There is always cpu.") from error
    return device


def use_threads(count: int | None) -> None:
    """Compute with so many threads; None leaves the choice to PyTorch."""
    import torch

    if count is None:
        return
    if count < 1:
        raise OptionError(f"--threads must be at least 1; it is {count}.")
    torch.set_num_threads(count)


def chosen_dtype(precision: Literal["auto", "float32", "bfloat16"], device: "torch.device") -> "torch.dtype":
    """Return the type to compute in when a finished model is used; "auto" is float32, which is exact everywhere."""
    import torch

    return torch.bfloat16 if precision == "bfloat16" else torch.float32
