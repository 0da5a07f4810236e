"""The family of errors that regard raises on purpose.

    RegardError
    ├── InputError (ValueError)        what a user gave; the command exits with 2
    │   ├── OptionError                an argument or option that is out of range or contradicts another
    │   │   └── UnknownNameError       (KeyError) a name that a mapping does not hold
    │   ├── ShapeError                 a tensor of the wrong rank, size or type
    │   └── FaultsError                several faults told at once
    │       ├── ConfigError            of a configuration
    │       └── DataError              of a file of data
    └── WorkError (RuntimeError)       the work itself failed; the command exits with 1
        ├── DamagedError               a stored file is not what was written
        ├── DivergedError              a loss or gradient that is not finite, too often in a row
        └── NotANumberError            a finished model that computes NaN

A message says what was given, what is allowed and what to do.
"""

from collections.abc import Sequence


class RegardError(Exception):
    """Anything that regard raises on purpose."""


class InputError(RegardError, ValueError):
    """What a user gave cannot be used."""


class OptionError(InputError):
    """An argument or option is out of range or contradicts another."""


class UnknownNameError(OptionError, KeyError):
    """A mapping, such as a lens, does not hold the name that it is asked for."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would put it in quotes


class ShapeError(InputError):
    """A tensor has the wrong rank, size, type or device."""


class FaultsError(InputError):
    """Several faults told at once.

    Attributes:
        faults: One sentence a fault, in the order in which they were found.
    """

    shown = 20

    def __init__(self, faults: str | Sequence[str]) -> None:
        self.faults = [faults] if isinstance(faults, str) else list(faults)
        hidden = len(self.faults) - self.shown
        lines = self.faults[: self.shown] + ([f"... and {hidden} more faults."] if hidden > 0 else [])
        super().__init__("\n".join(lines))


class ConfigError(FaultsError):
    """A configuration has one fault or several."""


class DataError(FaultsError):
    """A file of data has one fault or several."""


class WorkError(RegardError, RuntimeError):
    """The work itself failed."""


class DamagedError(WorkError):
    """A stored file is not what was written."""


class DivergedError(WorkError):
    """A loss or a gradient was not finite too often in a row."""


class NotANumberError(WorkError):
    """A finished model computes NaN.

    Attributes:
        sentences: For which sentences of its batch, counted from 0.
    """

    def __init__(self, message: str, sentences: Sequence[int]) -> None:
        self.sentences = list(sentences)
        super().__init__(message)


def counted(number: int, noun: str) -> str:
    """Write "1 pair" or "2 pairs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
