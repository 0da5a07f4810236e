"""`regard train`: a translator from parallel sentences."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from regard.cli.inputs import Count, PairFiles, chosen_device, use_threads, word_counts
from regard.cli.streams import complain, say
from regard.errors import OptionError

if TYPE_CHECKING:
    from regard.tasks.fit import TrainingData
    from regard.tasks.recipe import Recipe
    from regard.tasks.translator import Translator


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """What to train on, how, and where to write it."""

    out: Annotated[Path, Parameter(help="Folder of the run; made if it is not there.")]
    pairs: PairFiles = field(default_factory=PairFiles)
    valid_src: Annotated[
        Path | None,
        Parameter(help="Source sentences to choose by; without them 1,000 pairs or 5 % of all are held out."),
    ] = None
    valid_tgt: Annotated[Path | None, Parameter(help="Their translations.")] = None
    valid_gold: Annotated[
        Path | None,
        Parameter(help="Alignments by hand of the validation pairs (Pharaoh i-j): they choose layer and head."),
    ] = None
    preset: Annotated[str | None, Parameter(help="A recipe that comes with regard. [default: transformer-tiny]")] = None
    config: Annotated[Path | None, Parameter(help="A recipe of your own (TOML), laid over the preset.")] = None
    set: Annotated[
        tuple[str, ...],
        Parameter(
            show_default=False,
            help="A value of the recipe, such as model.encoder_layers=4; --model.encoder_layers=4 says the same.",
        ),
    ] = ()
    from_: Annotated[
        Path | None, Parameter(name="--from", help="A finished run to go on from, with its model and tokenizer.")
    ] = None
    resume: Annotated[bool, Parameter(negative="", help="Go on from the last checkpoint of --out.")] = False
    max_updates: Annotated[int | None, Parameter(help="End after so many updates.")] = None
    max_minutes: Annotated[float | None, Parameter(help="End after so many minutes.")] = None
    seed: Annotated[int | None, Parameter(help="Of everything random.")] = None
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"] | None, Parameter(help="auto: bfloat16 where it is fast.")
    ] = None
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:1, ...")] = "auto"
    threads: Annotated[Count | None, Parameter(help="Threads on the CPU.")] = None
    tensorboard: Annotated[Path | None, Parameter(help="Write TensorBoard events to this folder as well.")] = None
    telemetry: Annotated[
        int | None, Parameter(help="Every so many updates, write what heads look at to attention.jsonl of the run.")
    ] = None

    def __post_init__(self) -> None:
        if (self.valid_src is None) != (self.valid_tgt is None):
            missing = "--valid-src" if self.valid_src is None else "--valid-tgt"
            raise OptionError(f"{missing} is missing: validation needs both sides.")
        if self.valid_gold is not None and self.valid_src is None:
            raise OptionError("--valid-gold needs --valid-src and --valid-tgt: the pairs that it aligns.")
        if self.telemetry is not None and self.telemetry < 1:
            raise OptionError(f"--telemetry must be 1 update or more; it is {self.telemetry}.")
        fixed = [option.partition("=")[0] for option in self.set if option.startswith(("model.", "tokenizer."))]
        if self.from_ is not None and fixed:
            raise OptionError(f"--from goes on with the model and tokenizer of {self.from_}: leave out --{fixed[0]}.")


def run(*, options: Options) -> int:
    """Train a translator on parallel sentences."""
    from regard.tasks.fit import fit
    from regard.training.progress import display

    use_threads(options.threads)
    device = chosen_device(options.device)
    files, recipe = remembered(options) if options.resume else (named_files(options), chosen_recipe(options))
    if not options.resume:
        refuse_run(options.out)
    origin = origin_of(files, begun=options.resume and has_checkpoint(options.out))
    if origin is not None:
        refuse_other_model(options, origin)
        recipe = like_origin(recipe, origin)
    data = read_data(files, recipe.seed)
    with telling_how_to_go_on(options.out), display(sys.stderr, recipe.training) as show:
        observers = [show, *tensorboard_observers(options.tensorboard)]
        outcome, translator = fit(
            recipe,
            data,
            options.out,
            device=device,
            files=files,
            resume=options.resume,
            origin=origin,
            observers=observers,
            telemetry=options.telemetry,
            say=say,
        )
    if translator is None:
        complain(f"stopped at step {outcome.step}. {how_to_go_on(options.out)}")
        return 128 + (outcome.signal or 2)
    say(f"The translator is in {options.out}. Try: echo TEXT | regard translate {options.out}")
    return 0


def chosen_recipe(options: Options) -> "Recipe":
    """Lay preset, file and options over each other."""
    from regard.tasks.recipe import build_recipe, merged, overrides, preset, read_toml

    values: dict[str, Any] = {}
    if options.config is None or options.preset is not None:
        values = preset("transformer-tiny" if options.preset is None else options.preset)
    if options.config is not None:
        values = merged(values, read_toml(options.config))
    given = merged(overrides(options.set), direct_values(options))
    return build_recipe(merged(fitted_schedule(values, given), given))


def fitted_schedule(values: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Let the schedule of a preset or file end where the options end the training.

    It ends with the minutes, and not before the updates. With fewer updates it stays as it is, so that a training that
    is cut short and gone on with equals one that was not.
    """
    schedule, said, training = values.get("schedule", {}), given.get("schedule", {}), given.get("training", {})
    if not all(isinstance(group, Mapping) for group in (schedule, said, training)):
        return values  # whoever checks the recipe tells of it
    total, updates = schedule.get("total"), training.get("max_updates")
    if total is None or "total" in said:
        return values
    fitted = {name: value for name, value in schedule.items() if name != "total"}
    if training.get("max_minutes") is None:
        fitted["total"] = max(total, updates) if isinstance(total, int) and isinstance(updates, int) else total
    return {**values, "schedule": fitted}


def direct_values(options: Options) -> dict[str, Any]:
    """Return the values of the recipe that have options of their own."""
    values, training = (
        {name: getattr(options, name) for name in names if getattr(options, name) is not None}
        for names in (("seed", "precision"), ("max_updates", "max_minutes"))
    )
    return {**values, "training": training} if training else values


def origin_of(files: dict[str, str], *, begun: bool) -> "Translator | None":
    """Load the run to go on from; a training that has begun goes on from its own checkpoint."""
    from regard.tasks.load import load

    if "from" not in files or begun:
        return None
    translator = load(files["from"])
    say(f"Model and tokenizer are those of {files['from']}.")
    return translator


@contextmanager
def telling_how_to_go_on(out: Path) -> Iterator[None]:
    """Say how to go on where someone ends the work outside the training loop, as while it is averaged and scored."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and has_checkpoint(out):
            complain(f"left before the translator was finished. {how_to_go_on(out)}")
        raise


def how_to_go_on(out: Path) -> str:
    """Name the command."""
    return f"Go on with: regard train --resume --out {out}"


def has_checkpoint(out: Path) -> bool:
    """Say whether a run holds a checkpoint."""
    from regard.training.checkpoints import stored_steps

    return bool(stored_steps(out))


def refuse_other_model(options: Options, origin: "Translator") -> None:
    """Refuse a recipe file that has a model or tokenizer of its own beside --from; of a preset, say what counts."""
    from regard.tasks.recipe import read_toml

    if options.preset is not None:
        say(f"Of the preset {options.preset} all but model and tokenizer counts.")
    if options.config is None:
        return
    given, kept = read_toml(options.config), described(origin)
    others = [
        f"{group}.{name} ({value!r}, not {kept[group].get(name)!r})"
        for group in ("model", "tokenizer")
        for name, value in given.get(group, {}).items()
        if not fits(name, value, kept[group].get(name))
    ]
    if others:
        raise OptionError(
            f"--from goes on with the model and tokenizer of {options.from_}, and {options.config} has others: "
            f"{', '.join(others)}. Take them out of it, or train anew without --from."
        )


def fits(name: str, given: Any, kept: Any) -> bool:
    """Say whether a value is that of the run to go on from, whose vocabulary may be smaller than what was asked for."""
    return bool(given >= kept) if name == "vocab_size" and isinstance(given, int) else bool(given == kept)


def described(origin: "Translator") -> dict[str, dict[str, Any]]:
    """Return model and tokenizer of a translator as a recipe has them."""
    import dataclasses

    model: Any = origin.model
    source = origin.tokenizers.source
    tokenizer = {**source.form._asdict(), "vocab_size": source.vocab_size, "shared": origin.tokenizers.shared}
    return {"model": dataclasses.asdict(model.config), "tokenizer": tokenizer}


def like_origin(recipe: "Recipe", origin: "Translator") -> "Recipe":
    """Take model and tokenizer of the translator to go on from, and check the recipe anew."""
    from regard.tasks.recipe import as_values, build_recipe

    return build_recipe({**as_values(recipe), **described(origin)})


def named_files(options: Options) -> dict[str, str]:
    """Return the files that are named, by the option that names them, as full paths."""
    if not options.pairs.given():
        raise OptionError("There is nothing to train on: give --src F --tgt F, or --data F.")
    return given_files(options)


def given_files(options: Options) -> dict[str, str]:
    """Return the files that are named, which may be none."""
    pairs = options.pairs
    files = {
        "src": pairs.src,
        "tgt": pairs.tgt,
        "data": pairs.data,
        "valid_src": options.valid_src,
        "valid_tgt": options.valid_tgt,
        "valid_gold": options.valid_gold,
        "from": options.from_,
    }
    named = {name: str(path.absolute()) for name, path in files.items() if path is not None}
    return named | ({"columns": pairs.columns} if pairs.columns is not None else {})


def read_data(files: dict[str, str], seed: int) -> "TrainingData":
    """Read the pairs to learn from and those to choose by."""
    from regard.data.text import hold_out, read_pairs
    from regard.inspection.alignments.links import read_pharaoh
    from regard.tasks.fit import TrainingData

    paths = {name: Path(value) for name, value in files.items() if name != "columns"}
    pairs = PairFiles(
        src=paths.get("src"), tgt=paths.get("tgt"), data=paths.get("data"), columns=files.get("columns")
    ).read()
    if "valid_src" not in paths:
        train, valid = hold_out(pairs, seed=seed)
        say(f"Held out to choose by: {len(valid):,} of {len(pairs):,} pairs.")
        return TrainingData(train, valid)
    valid = read_pairs(paths["valid_src"], paths["valid_tgt"])
    gold = read_pharaoh(paths["valid_gold"], lengths=word_counts(valid)) if "valid_gold" in paths else None
    return TrainingData(pairs, valid, gold)


def refuse_run(out: Path) -> None:
    """Refuse a folder that holds a run, begun or finished, or that cannot be made."""
    if (out / "checkpoints").exists() or (out / "manifest.json").exists():
        raise OptionError(f"{out} holds a run already. Go on with --resume, or choose another folder.")
    nearest = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise OptionError(f"--out {out} cannot be made: {nearest} is no folder that you may write to. Choose another.")


def remembered(options: Options) -> tuple[dict[str, str], "Recipe"]:
    """Read train.toml back; only the ends of training may be others now."""
    from regard.tasks.recipe import FREE, build_recipe, changes, merged, overrides
    from regard.tasks.runs import read_recipe

    path = options.out / "train.toml"
    if not path.exists():
        raise OptionError(f"There is nothing to resume: {path} is missing. Start anew without --resume.")
    fixed = (options.preset, options.config, options.seed, options.from_)
    if any(value is not None for value in fixed):
        raise OptionError(f"--resume goes on as {path} says: leave out --preset, --config, --seed and --from.")
    files, values = read_recipe(options.out)
    recipe = build_recipe(merged(merged(values, overrides(options.set)), direct_values(options)))
    free = [f"training.{name}" for name in FREE]
    changed = [change for change in changes(build_recipe(values), recipe) if change.partition(" ")[0] not in free]
    if changed:
        raise OptionError(
            f"--resume goes on as {path} says, but {'; '.join(changed)}. Leave that out: what may "
            f"change is {', '.join(free)}."
        )
    given = given_files(options)
    if options.pairs.given():  # they take the place of all that the pairs were read from
        files = {name: value for name, value in files.items() if name not in ("src", "tgt", "data", "columns")}
    return {**files, **given}, recipe


def tensorboard_observers(folder: Path | None) -> list[Any]:
    """Return the observer that writes TensorBoard events, if wanted."""
    if folder is None:
        return []
    from regard.training.tensorboard import TensorBoard

    return [TensorBoard(folder)]
