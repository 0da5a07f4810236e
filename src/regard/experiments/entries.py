"""The models of a comparison: each a recipe by its name, all with the same tokenizer settings and budget."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.errors import ConfigError, OptionError
from regard.tasks.recipe import Recipe, build_recipe, merged, preset, preset_names, read_toml, suggestion


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long each model is trained, one of the two; without any, as its recipe says."""

    updates: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.updates is not None and self.minutes is not None:
            raise OptionError("--updates and --minutes are both given: choose one.")
        for name, value in (("--updates", self.updates), ("--minutes", self.minutes)):
            if value is not None and not 0 < value < float("inf"):
                raise OptionError(f"{name} must be greater than 0; it is {value}.")

    def __str__(self) -> str:
        if self.updates is not None:
            return f"{self.updates:,} updates"
        return "as each recipe says" if self.minutes is None else f"{self.minutes:g} minutes"

    def laid_on(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Make the budget the only end of a training and its schedule, so that no model gets less than another."""
        if self.updates is None and self.minutes is None:
            return dict(values)
        training = dict(values.get("training", {}))
        for name in ("max_updates", "max_minutes", "patience"):
            training.pop(name, None)
        if self.updates is None:
            training["max_minutes"] = self.minutes
        else:
            training["max_updates"] = self.updates
            training["log_every"] = min(training.get("log_every", self.updates), self.updates, 50)
        schedule = {name: value for name, value in values.get("schedule", {}).items() if name != "total"}
        return {**values, "training": training, "schedule": schedule}


@dataclass(frozen=True)
class Entry:
    """A model to compare: its name and how it is trained."""

    name: str
    recipe: Recipe


def build_entries(
    configs: Sequence[str], *, budget: Budget, settings: Mapping[str, Any], say: Callable[[str], None]
) -> list[Entry]:
    """Read the recipes to compare.

    Args:
        configs: Names of presets, or TOML files.
        budget: How long each is trained.
        settings: Values laid over each recipe.
        say: Is told whose tokenizer settings are taken, where recipes differ.

    Raises:
        ConfigError: With the faults of all recipes.
    """
    values = {name: merged(found, settings) for name, found in named_values(configs).items()}
    tokenizers = {name: found.get("tokenizer", {}) for name, found in values.items()}
    first = next(iter(values))
    if others := [name for name, settings in tokenizers.items() if settings != tokenizers[first]]:
        say(f"All models get the tokenizer settings of {first}; {', '.join(others)} had others.")
    entries, faults = [], []
    for name, found in values.items():
        try:
            entries.append(Entry(name, build_recipe(budget.laid_on({**found, "tokenizer": tokenizers[first]}))))
        except ConfigError as error:
            faults += [f"{name}: {fault}" for fault in error.faults]
    if faults:
        raise ConfigError(faults)
    return entries


def named_values(configs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the values of each recipe by its name: the preset's, or the file's without its ending."""
    values: dict[str, dict[str, Any]] = {}
    for config in configs:
        name = config if config in preset_names() else Path(config).stem
        if name in values:
            raise OptionError(f"Two models are named {name}. Name one of the files differently: {config}.")
        values[name] = preset(config) if config in preset_names() else from_file(config)
    if not values:
        raise OptionError(f"There is nothing to compare: name presets ({', '.join(preset_names())}) or TOML files.")
    return values


def from_file(config: str) -> dict[str, Any]:
    """Read a recipe from a file; what is neither a file nor looks like one was meant as a preset."""
    path = Path(config)
    if not path.exists() and path.suffix != ".toml":
        names = preset_names()
        raise OptionError(
            f"{config} is neither a preset{suggestion(config, names)} nor a TOML file; "
            f"there are the presets {', '.join(names)}."
        )
    return read_toml(path)


def with_seed(recipe: Recipe, number: int) -> Recipe:
    """Return the recipe with the seed of its n-th repetition, from 0."""
    return dataclasses.replace(recipe, seed=recipe.seed + number)
