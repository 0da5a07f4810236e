"""A recipe: everything that a training of a translator is decided by, as one tree of values.

It is read from a preset, a TOML file and options like `--model.encoder_layers=4`, in this order, the later over the
earlier; all its faults are told at once. What was used stands in the run's train.toml.
"""

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from regard.data.tokenizers import TokenizerConfig
from regard.errors import ConfigError, InputError, OptionError
from regard.generation.search import SearchOptions
from regard.models.catalogue import blueprint
from regard.models.recurrent import RecurrentConfig
from regard.models.transformer import TransformerConfig
from regard.training.config import TrainingConfig
from regard.training.loop import require_end
from regard.training.optimizers import check_settings
from regard.training.schedules import ScheduleConfig

ModelConfig = Annotated[TransformerConfig | RecurrentConfig, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What of the data is used, and how it is put into batches.

    Attributes:
        max_length: Pairs with more tokens than this on a side are left out of training, and told.
        batch_tokens: Target tokens in a batch, padding counted; the source side has the same limit.
        subword_dropout: Share of the tokenizer's merges that are left out at random while training, so that words are
            spelled by other pieces in every epoch (BPE-dropout, Provilkov et al. 2020, who use 0.1); learning
            takes longer.
        workers: Processes that put batches together; 0 does it in the training process.
    """

    max_length: int = 256
    batch_tokens: int = 4096
    subword_dropout: float = 0.0
    workers: int = 0


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Adam (Kingma & Ba 2015) with decoupled weight decay.

    Attributes:
        clip_norm: Gradients with a greater global norm are scaled down to it; 0 leaves them.
    """

    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-9
    weight_decay: float = 0.0
    clip_norm: float = 1.0


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """How the finished translator searches unless it is told otherwise, and whether the unfinished one does.

    Attributes:
        beams: Hypotheses side by side; 1 is greedy search.
        length_penalty: The power of the length that log-probabilities are divided by, 0 to 10.
        at_validation: Translate the validation set, greedily, and measure BLEU and chrF at each validation, also where
            `training.select_by` names neither.
    """

    beams: int = 5
    length_penalty: float = 1.0
    at_validation: bool = False


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train a translator.

    Attributes:
        label_smoothing: Share of the probability that is spread over the whole vocabulary (Szegedy et al. 2016).
        average: How many checkpoints, the best and those before it, the finished model is the mean of.
        seed: Of everything random: split, initialization, dropout, order.
        precision: "auto" is bfloat16 where the machine computes it fast.
    """

    model: ModelConfig = field(default_factory=TransformerConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    training: TrainingConfig = field(default_factory=lambda: TrainingConfig(max_updates=8000))
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    label_smoothing: float = 0.1
    average: int = 5
    seed: int = 1
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


ADAPTER = TypeAdapter(Recipe)

DECODED = ("bleu", "chrf")
"""Scores of the decoded validation set; measured where `training.select_by` names one, or `decoding.at_validation`."""

SELECTABLE = ("loss", "perplexity", "accuracy", *DECODED)
"""What `training.select_by` may name."""

FREE = ("max_updates", "max_minutes", "patience", "keep", "log_every")
"""Of `training`, what may be another when a run is resumed: it changes when training ends, not what it computes."""

MOST_LAYERS = 1_000

LARGEST_TOML, LONGEST_LINE, DEEPEST = 1 << 16, 5_000, 9
"""Bounds on bytes, bytes of a line and dots of an option: to read a dotted key takes the square of its length."""


def preset_names() -> list[str]:
    """Return the names of the presets that come with the package."""
    folder = resources.files("regard") / "presets"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def preset(name: str) -> dict[str, Any]:
    """Return the values of a preset."""
    names = preset_names()
    if name not in names:
        raise OptionError(f"preset {name!r} is unknown{suggestion(name, names) or '.'} There are {', '.join(names)}.")
    return tomllib.loads((resources.files("regard") / "presets" / f"{name}.toml").read_text(encoding="utf-8"))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; a fault names the file, line and column."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_TOML + 1)
        if len(raw) > LARGEST_TOML or max(map(len, raw.split(b"\n"))) > LONGEST_LINE:
            raise ConfigError(
                f"{path} is no recipe: it may have {LARGEST_TOML:,} bytes, and {LONGEST_LINE:,} of them in a line."
            )
        return tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # a number of too many digits is a plain ValueError
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} is no TOML: {error}.") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error


def overrides(options: Iterable[str]) -> dict[str, Any]:
    """Turn `a.b=c` into nested values; c is TOML where it reads as TOML, else text."""
    values: dict[str, Any] = {}
    for option in options:
        path, equals, text = option.partition("=")
        if not equals:
            raise OptionError(f"--{option} has no value; write --{path}=VALUE.")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            value = text
        keys = path.replace("-", "_").split(".")
        if not all(keys):
            raise OptionError(f"--{option[:40]} names no value of a recipe; write --NAME=VALUE or --GROUP.NAME=VALUE.")
        if len(keys) > DEEPEST:
            raise OptionError(f"--{path[:40]}... is unknown: no value of a recipe lies so deep.")
        values = merged(values, nested(keys, value))
    return values


def nested(keys: list[str], value: Any) -> dict[str, Any]:
    """Return {a: {b: value}} for the keys [a, b]."""
    return {keys[0]: nested(keys[1:], value) if len(keys) > 1 else value}


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay nested values over others. A model of another kind replaces the whole model.

    Raises:
        ConfigError: What has values of its own above is a single value below.
    """
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        if old is not None and isinstance(value, Mapping) and not isinstance(old, Mapping):
            raise ConfigError(
                f"{key} is given as {repr(old)[:80]} and with {', '.join(f'{key}.{name}' for name in value)}: "
                "it is either one value or several, and one of the two must go."
            )
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            other_kind = "kind" in value and "kind" in old and value["kind"] != old["kind"] and key == "model"
            result[key] = dict(value) if other_kind else merged(old, value)
        else:
            result[key] = value
    return result


def build_recipe(values: Mapping[str, Any]) -> Recipe:
    """Check nested values and make a recipe of them.

    Raises:
        ConfigError: All unknown names, wrong types and contradictions, at once.
    """
    values = dict(values)
    if isinstance(values.get("model"), Mapping):
        values["model"] = {"kind": "transformer", **values["model"]}
    faults = unknown_names(values, Recipe) + misplaced_booleans(values, Recipe)
    try:
        recipe = ADAPTER.validate_python(without_unknown(values, Recipe))
    except ValidationError as error:
        raise ConfigError(faults + [told(detail) for detail in error.errors()]) from None
    except ConfigError as error:
        raise ConfigError(faults + error.faults) from None
    faults += contradictions(recipe)
    if faults:
        raise ConfigError(faults)
    return recipe


def as_values(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as nested values; what is None is left out, for TOML has no None."""
    return without_none(dataclasses.asdict(recipe))


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out, at every depth, what is None."""
    kept = {key: value for key, value in values.items() if value is not None}
    return {key: without_none(value) if isinstance(value, Mapping) else value for key, value in kept.items()}


def changes(old: Recipe, new: Recipe) -> list[str]:
    """Say of each value that differs between two recipes what it was and what it is."""
    before, after = flat(as_values(old)), flat(as_values(new))
    return [
        f"{name} was {before.get(name)} and is {after.get(name)}"
        for name in before | after
        if before.get(name) != after.get(name)
    ]


def flat(values: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Write nested values as a.b = c."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{place}{name}.") if isinstance(value, Mapping) else {f"{place}{name}": value}
    return found


def told(detail: Any) -> str:
    """Tell one of pydantic's faults in our words."""
    place = ".".join(str(part) for part in detail["loc"] if part not in ("transformer", "recurrent"))
    message = str(detail["msg"]).removeprefix("Value error, ")
    given = detail["input"]
    shown = "" if isinstance(given, Mapping) or detail["type"] == "value_error" else f"; it is {repr(given)[:80]}"
    return f"{place}: {message[0].lower()}{message[1:].removesuffix('.')}{shown}."


def contradictions(recipe: Recipe) -> list[str]:
    """Name what no single value is to blame for."""
    faults = []
    shares = {"label_smoothing": recipe.label_smoothing, "data.subword_dropout": recipe.data.subword_dropout}
    for name, value in shares.items():
        if not 0 <= value < 1:
            faults.append(f"{name} must lie between 0 and below 1; it is {value}.")
    for place, value, lowest, highest in (
        ("average", recipe.average, 1, 1_000),
        ("data.max_length", recipe.data.max_length, 1, 1_000_000),
        ("data.batch_tokens", recipe.data.batch_tokens, 1, 1_000_000_000),
        ("data.workers", recipe.data.workers, 0, 64),
        ("decoding.beams", recipe.decoding.beams, 1, 1_000),
        ("seed", recipe.seed, 0, 2**63 - 1),
    ):
        if value < lowest:
            faults.append(f"{place} must be at least {lowest}; it is {value}.")
        if value > highest:
            faults.append(f"{place} must be at most {highest:,}; it is {value}.")
    if recipe.data.subword_dropout and recipe.tokenizer.kind != "bpe":
        faults.append(
            f"data.subword_dropout ({recipe.data.subword_dropout}) leaves out merges, which a tokenizer of kind "
            f"'{recipe.tokenizer.kind}' has not. Set it to 0, or tokenizer.kind to 'bpe'."
        )
    if recipe.training.select_by not in SELECTABLE:
        faults.append(f"training.select_by must be {', '.join(SELECTABLE)}; it is {recipe.training.select_by!r}.")
    if recipe.model.share == "all" and not recipe.tokenizer.shared:
        faults.append(
            "model.share is 'all', which needs one vocabulary for both sides, and tokenizer.shared is false. "
            "Set tokenizer.shared to true, or model.share to 'target' or 'none'."
        )
    if recipe.average > recipe.training.keep:
        faults.append(
            f"average ({recipe.average}) checkpoints cannot be averaged where only training.keep "
            f"({recipe.training.keep}) are kept. Raise training.keep."
        )
    return faults + refused_parts(recipe)


def refused_parts(recipe: Recipe) -> list[str]:
    """Try what a training is put together from, so that what a part refuses is told before there is any work."""
    given = recipe.optimizer
    betas = (given.beta1, given.beta2)
    parts: dict[str, Callable[[], object]] = {
        "model": lambda: tried_model(recipe),
        "optimizer": lambda: check_settings(betas, given.epsilon, given.weight_decay, given.clip_norm),
        "training": lambda: require_end(recipe.schedule, recipe.training),
        "decoding": lambda: SearchOptions(length_penalty=recipe.decoding.length_penalty),
    }
    faults = []
    for place, make in parts.items():
        try:
            make()
        except InputError as error:
            faults += [f"{place}: {fault}" for fault in str(error).split("\n")]
    return faults


def tried_model(recipe: Recipe) -> None:
    """Raise if there can be no such model."""
    layers = max(recipe.model.encoder_layers, recipe.model.decoder_layers)
    if layers > MOST_LAYERS:
        raise OptionError(f"encoder and decoder may have {MOST_LAYERS:,} layers; {layers:,} are asked for.")
    size = max(1, recipe.tokenizer.vocab_size)
    try:
        blueprint(recipe.model, source_vocab=size, target_vocab=size)
    except (RuntimeError, OverflowError) as error:
        raise OptionError(f"no machine can hold a model of these sizes ({error}).") from error


def unknown_names(values: Mapping[str, Any], kind: Any, place: str = "") -> list[str]:
    """Name what a dataclass does not know, at every depth, with the nearest name that it knows."""
    known = members(kind, values)
    faults = []
    for name, value in values.items():
        if name not in known:
            faults.append(f"{place}{name} is unknown{suggestion(name, known) or '.'}")
        elif isinstance(value, Mapping):
            faults += unknown_names(value, known[name], f"{place}{name}.")
    return faults


def misplaced_booleans(values: Mapping[str, Any], kind: Any, place: str = "") -> list[str]:
    """Name, at every depth, what is true or false and must be a number; for pydantic true is 1."""
    known = members(kind, values)
    faults = []
    for name, value in values.items():
        if name not in known:
            continue  # however deep it goes
        if isinstance(value, Mapping):
            faults += misplaced_booleans(value, known[name], f"{place}{name}.")
        elif isinstance(value, bool) and {int, float} & {known[name], *typing.get_args(known[name])}:
            faults.append(f"{place}{name} must be a number; it is {str(value).lower()}.")
    return faults


def without_unknown(values: Mapping[str, Any], kind: Any) -> dict[str, Any]:
    """Leave out what a dataclass does not know, so that the rest can be checked."""
    known = members(kind, values)
    return {
        name: without_unknown(value, known[name]) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if name in known
    }


def members(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return names and types of a dataclass's fields; of several dataclasses, the one that `kind` names."""
    if typing.get_origin(kind) is Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        options = typing.get_args(kind)
        wanted = [option for option in options if getattr(option, "kind", None) == values.get("kind")]
        kind = (wanted or options)[0]
    if not dataclasses.is_dataclass(kind):
        return {}
    return typing.get_type_hints(kind, include_extras=True)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Name what was probably meant."""
    alike = difflib.get_close_matches(name, list(known), n=1)
    return f": did you mean {alike[0]}?" if alike else ""
