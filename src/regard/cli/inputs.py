"""Options that several commands share: parallel text, and how to run."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from regard.errors import DataError, OptionError

if TYPE_CHECKING:
    import torch

    from regard.data.text import Pairs
    from regard.generation.search import SearchOptions
    from regard.tasks.translator import Translator

Count = Annotated[int, Parameter(validator=Number(gte=1))]
"""A number from 1."""

RunFolder = Annotated[Path, Parameter(name="RUN", help="Folder that `regard train --out` wrote.")]

OutputFile = Annotated[
    Path | None, Parameter(name=("--output", "-o"), help="File for the result instead of standard output.")
]

RECIPE_OPTION = re.compile(
    r"--([a-z][a-z0-9_-]*(?:\.[a-z][a-z0-9_-]*)+|average|label[_-]smoothing)(?:=(.*))?", re.DOTALL
)
"""The name of a value of a recipe; those without a dot are the recipe's own that have no other option."""


def split_recipe_options(arguments: list[str]) -> list[str]:
    """Write `--a.b=c` and `--a.b c` as `--set a.b=c`, and a lone `-` as `./-`, which the command line knows."""
    result: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "-":
            result.append("./-")  # a path that is "-" again; for the command line a lone hyphen is an option
            continue
        if argument == "--":
            return [*result, argument, *rest]
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

    def refuse_too_long(self, pairs: "Pairs", translator: "Translator") -> None:
        """Refuse pairs that a model does not take at once, all of them by their number."""
        faults = translator.too_long(pairs.sources, pairs.targets)
        if faults:
            raise DataError([f"{self.data or self.src}, pair {n + 1}: {fault}" for n, fault in faults.items()])


def pair_chunks(pairs: "Pairs", size: int = 1_000) -> "Iterator[Pairs]":
    """Part pairs into chunks, so that what is computed for them need not be held at once."""
    for start in range(0, len(pairs), size):
        yield pairs.select(range(start, min(start + size, len(pairs))))


def word_counts(pairs: "Pairs") -> list[tuple[int, int]]:
    """Count the words of both sides of each pair: links must lie among them."""
    from regard.data.text import split_words

    return [(len(split_words(s)), len(split_words(t))) for s, t in zip(pairs.sources, pairs.targets, strict=True)]


def two_columns(columns: str) -> tuple[str, str]:
    """Read SRC,TGT."""
    names = [name.strip() for name in columns.split(",")]
    if len(names) != 2 or not all(names):
        raise OptionError(f"--columns must name two columns, SRC,TGT; it is {columns!r}.")
    return names[0], names[1]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Machine:
    """How a finished model computes."""

    precision: Annotated[
        Literal["auto", "float32", "bfloat16"], Parameter(help="auto: float32, which is exact everywhere.")
    ] = "auto"
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:1, ...")] = "auto"
    threads: Annotated[Count | None, Parameter(help="Threads on the CPU.")] = None

    def given(self) -> dict[str, Any]:
        """Return what was given, by the options' names."""
        usual = Machine()
        values = {name: getattr(self, name) for name in ("precision", "device", "threads")}
        return {f"--{name}": value for name, value in values.items() if value != getattr(usual, name)}

    def load(self, run: Path) -> "Translator":
        """Load a run."""
        from regard.tasks.load import load

        return load(run, **self.chosen())

    def chosen(self) -> dict[str, Any]:
        """Set the threads, and return the device and the type to compute in."""
        use_threads(self.threads)
        device = chosen_device(self.device)
        return {"device": device, "dtype": chosen_dtype(self.precision, device)}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Searching:
    """How translations are searched; what is not given is as the run says."""

    beam: Annotated[
        Count | None, Parameter(help="Hypotheses side by side; 1 is greedy search. [default: the run's]")
    ] = None
    length_penalty: Annotated[
        float | None,
        Parameter(
            validator=Number(gte=0, lte=10),
            help="Power of the length, 0 to 10, that log-probabilities are divided by. [default: the run's]",
        ),
    ] = None

    def options(self, translator: "Translator", n_best: int = 1) -> "SearchOptions":
        """Return how to search."""
        from regard.generation.search import SearchOptions

        stored = translator.options
        beams = stored.beams if self.beam is None else self.beam
        if n_best > beams:
            raise OptionError(f"--n-best ({n_best}) must be at most --beam, which is {beams} here.")
        alpha = stored.length_penalty if self.length_penalty is None else self.length_penalty
        return SearchOptions(beams=beams, length_penalty=alpha, n_best=n_best)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Site:
    """Which weights are taken for the alignment."""

    layer: Annotated[str | None, Parameter(help="Layer, by its number from 0 or its name. [default: the run's]")] = None
    head: Annotated[
        int | None,
        Parameter(validator=Number(gte=0), help="Head, from 0. [default: the run's, or the mean of --layer's heads]"),
    ] = None

    def names(self, translator: "Translator") -> dict[str, Any]:
        """Return layer and head as the translator takes them, once it is sure that they exist."""
        layer: int | str | None = self.layer
        if self.layer is not None and re.fullmatch("-?[0-9]{1,4}", self.layer):
            layer = int(self.layer)
        translator.chosen_site(layer, self.head)
        return {"layer": layer, "head": self.head}


def chosen_device(name: str) -> "torch.device":
    """Return the device of this name; "auto" is a GPU where there is one."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta" makes tensors, but none with a value
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise OptionError(f"--device {name} cannot be used here: {reason}. There is always cpu.") from error
    return device


def use_threads(count: int | None) -> None:
    """Compute with so many threads; None leaves the choice to PyTorch."""
    import torch

    if count is not None:
        torch.set_num_threads(count)


def chosen_dtype(precision: Literal["auto", "float32", "bfloat16"], device: "torch.device") -> "torch.dtype":
    """Return the type to compute in when a finished model is used; "auto" is float32, which is exact everywhere."""
    import torch

    return torch.bfloat16 if precision == "bfloat16" else torch.float32
