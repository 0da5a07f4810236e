"""`regard look`: which words of the input each word of the output used, in the terminal, as a picture, as a page.

Of a run of ours or, where the library transformers is installed, of a folder of one of its models.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from regard.cli.inputs import Machine, Site
from regard.cli.streams import result_console, say
from regard.errors import OptionError


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """What to look at, and where to show it."""

    target: Annotated[str | None, Parameter(help="A translation to look at instead of the run's own.")] = None
    steps: Annotated[
        bool, Parameter(help="Show each step: scores, weights, shares of the context, the best candidates.")
    ] = False
    png: Annotated[Path | None, Parameter(help="Write the map as a picture to this file.")] = None
    html: Annotated[Path | None, Parameter(help="Write a page with all heads to this file; it needs no network.")] = (
        None
    )
    without_belief: Annotated[
        bool, Parameter(help="Leave out the line that measures whether the picture is to be believed.")
    ] = False
    site: Site = field(default_factory=Site)
    machine: Machine = field(default_factory=Machine)


def run(
    folder: Annotated[
        Path, Parameter(name="PATH", help="A run, or the folder of a Hugging Face model (with transformers installed).")
    ],
    text: Annotated[str, Parameter(name="TEXT", help="The sentence, in quotation marks.")],
    /,
    *,
    options: Options | None = None,
) -> int:
    """Show which words of the input each word of the output used."""
    options = options or Options()
    refuse_broken(text, "TEXT")
    refuse_broken(options.target or "", "--target")
    from regard.tasks.look_pretrained import is_pretrained

    if is_pretrained(folder):
        return run_pretrained(folder, text, options)
    translator = options.machine.load(folder)

    from regard.inspection.pictures.figures import save_png
    from regard.inspection.pictures.glyphs import visible
    from regard.inspection.pictures.page import write_page
    from regard.inspection.pictures.terminal import heat_map, step_table
    from regard.tasks.look import look

    named = options.site.names(translator)
    seen = look(translator, text, options.target, **named, steps=options.steps, belief=not options.without_belief)
    if options.png is not None:
        save_png(options.png, seen.map)
        say(f"The picture is in {options.png}.")
    if options.html is not None:
        write_page(options.html, [seen.map], title=seen.source, heads=[seen.heads])
        say(f"The page is in {options.html}.")
    console = result_console()  # last, since whoever reads it may close the pipe
    console.print(heat_map(seen.map))
    console.print(visible(seen.target), soft_wrap=True)
    console.print(f"log-probability {seen.log_probability:.6f}")
    for number, step in enumerate(seen.map.steps, 1):
        console.print()
        console.print(step_table(step, number=number))
    return 0


def run_pretrained(folder: Path, text: str, options: Options) -> int:
    """Show the sharpest head of a model of transformers, or the one that is named; the page shows all."""
    from regard.inspection.pictures.atlas_page import write_atlas
    from regard.inspection.pictures.figures import save_png
    from regard.inspection.pictures.glyphs import visible
    from regard.inspection.pictures.terminal import heat_map
    from regard.tasks.look_pretrained import look_pretrained

    if options.steps:
        raise OptionError("--steps is for runs of regard: a Hugging Face model is shown without its candidates.")
    site = options.site
    seen = look_pretrained(
        folder,
        text,
        options.target,
        layer=site.layer,
        head=site.head,
        belief=not options.without_belief,
        **options.machine.chosen(),
    )
    if options.png is not None:
        save_png(options.png, seen.map)
        say(f"The picture is in {options.png}.")
    if options.html is not None:
        write_atlas(options.html, seen.panels, title=text)
        say(f"The page is in {options.html}.")
    console = result_console()
    console.print(heat_map(seen.map))
    if seen.output is not None:
        console.print(visible(seen.output), soft_wrap=True)
    return 0


def refuse_broken(text: str, name: str) -> None:
    """Refuse what the terminal handed over in another encoding than UTF-8, or in several lines."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise OptionError(f"{name} is not UTF-8 at character {error.start + 1}.") from None
    if "\n" in text:
        raise OptionError(f"{name} has several lines; look at one sentence at a time.")
