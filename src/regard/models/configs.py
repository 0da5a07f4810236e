"""What the configuration of every model is checked for: numbers in their range, names that exist."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, get_args, get_type_hints


def out_of_range(config: Any, *, counts: Sequence[str], shares: Sequence[str]) -> list[str]:
    """Say which options have a value that they cannot have.

    Counts are whole numbers from 1, or None where it is allowed; shares lie from 0 to below 1; what has a Literal type
    is one of its names.
    """
    given = {field.name: getattr(config, field.name) for field in fields(config)}
    choices = {name: get_args(kind) for name, kind in get_type_hints(type(config)).items()}
    return [
        *(f"{n} must be at least 1; it is {given[n]}." for n in counts if given[n] is not None and given[n] < 1),
        *(f"{n} must be at least 0 and below 1; it is {given[n]}." for n in shares if not 0 <= given[n] < 1),
        *(
            f"{name} must be {' or '.join(map(repr, allowed))}; it is {given[name]!r}."
            for name, allowed in choices.items()
            if allowed and isinstance(allowed[0], str) and given[name] not in allowed
        ),
    ]
