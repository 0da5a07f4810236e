"""`regard align`: which words of sentence pairs belong together, and how right given links are."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from regard.cli.inputs import Count, Machine, OutputFile, PairFiles, Site, pair_chunks
from regard.cli.streams import opened_output
from regard.errors import OptionError, counted

if TYPE_CHECKING:
    from regard.data.text import Pairs
    from regard.inspection.alignments.links import Links

Symmetrization = Literal[
    "intersection",
    "union",
    "grow-diag",
    "grow-diag-final",
    "grow-diag-final-and",
    "grow-diag-strict",
    "grow-diag-final-strict",
]
Base = Literal[0, 1]

BATCH_SIZE = 32


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """What to align, or which links to judge."""

    pairs: PairFiles = field(default_factory=PairFiles)
    output: OutputFile = None
    site: Site = field(default_factory=Site)
    reverse: Annotated[
        Path | None, Parameter(help="A run from target to source: its links are joined with those of RUN.")
    ] = None
    symmetrize: Annotated[
        Symmetrization | None, Parameter(help="How links of two directions are joined. [default: grow-diag-final-and]")
    ] = None
    batch_size: Annotated[Count, Parameter(help="Pairs at once; changes the speed, not the result.")] = BATCH_SIZE
    machine: Machine = field(default_factory=Machine)
    links: Annotated[Path | None, Parameter(help="Links to judge or join instead of a run's, i-j a line.")] = None
    reverse_links: Annotated[
        Path | None, Parameter(help="Links of the other direction, written target-source, to join with --links.")
    ] = None
    gold: Annotated[Path | None, Parameter(help="Links by people (i-j sure, i?j possible) to judge --links by.")] = None
    base: Annotated[Base, Parameter(help="What --links and --reverse-links call a sentence's first word.")] = 0
    gold_base: Annotated[Base, Parameter(help="What --gold calls it.")] = 0
    json: Annotated[bool, Parameter(help="Print the error rate of --links as JSON.")] = False

    def __post_init__(self) -> None:
        reverse = "--reverse-links" if self.links is not None else "--reverse"
        if self.symmetrize is not None and (self.reverse_links if self.links is not None else self.reverse) is None:
            raise OptionError(f"--symmetrize joins the links of two directions: give {reverse} as well.")

    @property
    def method(self) -> str:
        """How links of two directions are joined."""
        return self.symmetrize or "grow-diag-final-and"


def run(
    folder: Annotated[Path | None, Parameter(name="RUN", help="Folder of the run; none for --links.")] = None,
    /,
    *,
    options: Options | None = None,
) -> int:
    """Print which words of each pair belong together: i-j a link, source word first, counted from 0.

    Or judge links that are given: `regard align --links FILE --gold FILE`.
    """
    options = options or Options()
    refuse_mixture(folder, options)
    if options.links is not None:
        links = given_links(options)
        return write_links(links, options) if options.gold is None else judge(links, options)
    assert folder is not None
    return align_pairs(folder, options)


def refuse_mixture(folder: Path | None, options: Options) -> None:
    """Refuse options of the one use beside those of the other."""
    if folder is None and options.links is None:
        raise OptionError("There is nothing to align: give RUN --src F --tgt F, or --links F --gold F.")
    if options.links is not None:
        others = {
            "RUN": folder,
            "--src": options.pairs.src,
            "--tgt": options.pairs.tgt,
            "--data": options.pairs.data,
            "--reverse": options.reverse,
            "--layer": options.site.layer,
            "--head": options.site.head,
            "--columns": options.pairs.columns,
            "--batch-size": options.batch_size if options.batch_size != BATCH_SIZE else None,
            **options.machine.given(),
        }
        if options.gold is None and options.reverse_links is None:
            raise OptionError("--links needs --gold to be judged by, or --reverse-links to be joined with.")
        if options.gold is None and (options.json or options.gold_base):
            name = "--json" if options.json else "--gold-base"
            raise OptionError(f"{name} is for judging by --gold, which is not given.")
    else:
        others = {
            "--gold (for a run there is: regard evaluate --gold-alignments)": options.gold,
            "--reverse-links": options.reverse_links,
            "--base": options.base or None,
            "--gold-base": options.gold_base or None,
            "--json": options.json or None,
        }
    wrong = [name for name, value in others.items() if value is not None]
    if wrong:
        side = "goes with --links" if options.links is None else "does not go with --links"
        raise OptionError(f"{', '.join(wrong)} {side}: links are either given or made by a run.")


def align_pairs(folder: Path, options: Options) -> int:
    """Align sentence pairs by one run or two."""
    from regard.inspection.alignments.links import format_pharaoh, swap, symmetrize

    pairs = options.pairs.read()
    translator = options.machine.load(folder)
    reverse = None if options.reverse is None else options.machine.load(options.reverse)
    names = options.site.names(translator)
    options.pairs.refuse_too_long(pairs, translator)
    if reverse is not None:
        reverse.attending_layers()
        options.pairs.refuse_too_long(turned(pairs), reverse)
    with opened_output(options.output) as output:
        for chunk in pair_chunks(pairs):
            size = options.batch_size
            links = translator.align(chunk.sources, chunk.targets, **names, batch_size=size)
            if reverse is not None:
                back = reverse.align(chunk.targets, chunk.sources, batch_size=size)
                links = [symmetrize(f, swap(b), options.method) for f, b in zip(links, back, strict=True)]
            for several in links:
                output.line(format_pharaoh(several))
    return 0


def turned(pairs: "Pairs") -> "Pairs":
    """Exchange source and target."""
    from regard.data.text import Pairs

    return Pairs(pairs.targets, pairs.sources)


def given_links(options: Options) -> "list[Links]":
    """Read the links that are given, and join both directions if there are two."""
    from regard.inspection.alignments.links import read_pharaoh, swap, symmetrize

    assert options.links is not None
    links = [line.possible for line in read_pharaoh(options.links, base=options.base)]
    if options.reverse_links is None:
        return links
    back = [swap(line.possible) for line in read_pharaoh(options.reverse_links, base=options.base)]
    if len(links) != len(back):
        raise OptionError(
            f"{options.links} has {counted(len(links), 'line')} and {options.reverse_links} has {len(back)}: "
            "line i of both must be of the same pair."
        )
    return [symmetrize(f, b, options.method) for f, b in zip(links, back, strict=True)]


def write_links(links: "Sequence[Links]", options: Options) -> int:
    """Write links, counted from 0."""
    from regard.inspection.alignments.links import format_pharaoh

    with opened_output(options.output) as output:
        for several in links:
            output.line(format_pharaoh(several))
    return 0


def judge(links: "Sequence[Links]", options: Options) -> int:
    """Print how right links are."""
    from regard.inspection.alignments.links import alignment_error_rate, read_pharaoh

    assert options.gold is not None
    gold = read_pharaoh(options.gold, base=options.gold_base)
    if len(links) != len(gold):
        raise OptionError(
            f"{options.links} has {counted(len(links), 'line')} and {options.gold} has {len(gold)}: "
            "line i of both must be of the same pair."
        )
    score = alignment_error_rate(links, gold)
    with opened_output(options.output) as output:
        if options.json:
            output.line(json.dumps(asdict(score)))
        else:
            output.line(
                f"AER {score.error_rate:.2%}  precision {score.precision:.2%}  "
                f"recall {score.recall:.2%}  links {score.links}"
            )
    return 0
