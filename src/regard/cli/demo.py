"""`regard demo`: from nothing to a translator and its alignments, on the phrasebook that comes with regard."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from regard.cli.streams import complain, result_console, say
from regard.errors import OptionError

if TYPE_CHECKING:
    from regard.data.phrasebook import Example, Splits
    from regard.tasks.fit import TrainingData
    from regard.tasks.look import Look
    from regard.tasks.translator import Translator

NAMED = "my feet hurt"
SHOWN = 5
"""Sentences that are translated and shown: the one above and some of the test set."""
FEW = 1500
"""Updates; with fewer the translator is not what it could be: 1,335 gave 90.4 % exactly right, 2,542 gave 95.6 %."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """Where to write, and how long to train."""

    out: Annotated[Path, Parameter(help="Folder of the run, the picture and the page.")] = Path("demo-run")
    minutes: Annotated[float | None, Parameter(validator=Number(gt=0), help="Minutes of training. [default: 1.5]")] = (
        None
    )
    max_updates: Annotated[
        int | None,
        Parameter(validator=Number(gte=1), help="Updates of training, however long they take; --minutes ends it too."),
    ] = None
    seed: Annotated[int, Parameter(validator=Number(gte=0), help="Of everything random, the phrasebook too.")] = 1


def run(*, options: Options | None = None) -> int:
    """Train a translator on the embedded phrasebook, score it, translate new sentences, and show their alignments."""
    options = options or Options()
    make_room(options.out)

    from regard.cli.inputs import chosen_device
    from regard.data.phrasebook import splits
    from regard.tasks.fit import fit
    from regard.tasks.recipe import build_recipe, merged, preset
    from regard.training.progress import display

    given: dict[str, Any] = {"seed": options.seed}
    if options.minutes is not None or options.max_updates is not None:
        given["training"] = {"max_minutes": options.minutes}
    if options.max_updates is not None:
        given["training"]["max_updates"] = options.max_updates
    recipe = build_recipe(merged(preset("demo"), given))
    examples = splits(seed=options.seed)
    say(f"The phrasebook: {len(examples.train):,} sentences to learn from, such as: {examples.train[0].source}")
    with display(sys.stderr, recipe.training) as show_progress:
        outcome, translator = fit(
            recipe,
            training_data(examples),
            options.out,
            device=chosen_device("auto"),
            files={"phrasebook": f"regard demo --seed {options.seed}"},
            observers=[show_progress],
            say=say,
        )
    if translator is None:
        complain(f"stopped at step {outcome.step}: the demo begins anew when it is run again.")
        return 128 + (outcome.signal or 2)
    tell_if_few(outcome.step)
    show_scores(translator, examples.test)
    show_sentences(translator, chosen(examples.test), options.out)
    return 0


def tell_if_few(updates: int) -> None:
    """Say why the scores are poor on a machine that is slow or busy."""
    if updates < FEW:
        say(
            f"Only {updates:,} updates were done in the time; it takes {FEW:,} and more. "
            "--max-updates 2500 takes the time that it needs."
        )


def make_room(out: Path) -> None:
    """Remove an earlier demo; anything else that stands there is kept, and is a fault."""
    from regard.files import remove_whole
    from regard.tasks.runs import read_recipe

    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / "train.toml").is_file() or "phrasebook" not in read_recipe(out)[0]:
        raise OptionError(f"{out} is there already and is no demo's. Choose another folder with --out.")
    remove_whole(out)


def training_data(examples: "Splits") -> "TrainingData":
    """Return what to learn from and what to choose by; gold links are given for the validation set alone."""
    from regard.data.text import Pairs
    from regard.inspection.alignments.links import as_gold
    from regard.tasks.fit import TrainingData

    train, valid = (
        Pairs([one.source for one in part], [one.target for one in part]) for part in (examples.train, examples.valid)
    )
    return TrainingData(train, valid, [as_gold(one.alignment) for one in examples.valid])


def show_scores(translator: "Translator", test: "Sequence[Example]") -> None:
    """Print how good the translator is on sentences that it has not seen."""
    from regard.inspection.alignments.links import as_gold
    from regard.tasks.evaluation import evaluate

    found = evaluate(
        translator,
        [one.source for one in test],
        [one.target for one in test],
        gold=[as_gold(one.alignment) for one in test],
        batch_size=128,
    )
    rate = found.alignment_error_rate
    result_console().print(
        f"On {found.sentences} sentences that it has not seen: BLEU {found.bleu:.1f}, chrF {found.chrf:.1f}, "
        f"exactly right {found.exact:.1%}, alignment error rate {0 if rate is None else rate:.3f}",
        soft_wrap=True,
    )


def chosen(test: "Sequence[Example]") -> "list[Example]":
    """Choose the sentences to show: the named one, and others of growing length."""
    named = [one for one in test if one.source == NAMED]
    others = sorted((one for one in test if one.source != NAMED), key=lambda one: len(one.source.split(" ")))
    count = SHOWN - len(named)
    middle = others[len(others) // 4 : -len(others) // 8 or None]
    return named + [middle[place * len(middle) // count] for place in range(count)]


def show_sentences(translator: "Translator", examples: "Sequence[Example]", out: Path) -> None:
    """Translate sentences, show what each word used, and write the same as a picture and a page."""
    from regard.inspection.pictures.figures import save_png
    from regard.inspection.pictures.page import write_page
    from regard.inspection.pictures.terminal import heat_map
    from regard.tasks.look import look

    console = result_console()
    seen: list[Look] = []
    for one in examples:
        translation = translator.translate([one.source])[0][0].text
        # Gold links belong to the reference: they are shown only where the translation is the same.
        gold = one.alignment if translation == one.target else None
        seen.append(look(translator, one.source, translation, steps=True, gold=gold))
        console.print()
        console.print(heat_map(seen[-1].map))
        if translation != one.target:
            console.print(f"expected: {one.target}", soft_wrap=True)
    save_png(out / "alignment.png", [one.map for one in seen])
    write_page(
        out / "alignment.html",
        [one.map for one in seen],
        title="What each word looked at",
        heads=[one.heads for one in seen],
    )
    say(f"The same as a picture: {out / 'alignment.png'}, and as a page: {out / 'alignment.html'}")
    say(f"Go on: echo 'the cat sleeps' | regard translate {out}, or regard look {out} '{NAMED}'")
