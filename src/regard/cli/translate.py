"""`regard translate`: lines in, as many lines out, in bounded memory; at a terminal line by line."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from regard.cli.inputs import Count, Machine, OutputFile, RunFolder, Searching, Site
from regard.cli.streams import Output, lines_of, opened_input, opened_output, say
from regard.errors import OptionError

if TYPE_CHECKING:
    from regard.inspection.alignments.links import Links
    from regard.tasks.translations import Translation
    from regard.tasks.translator import Translator

CHUNK_LINES, CHUNK_CHARACTERS = 1_000, 1_000_000
"""So much at most is translated at once; lines of like length share batches, so a larger chunk is faster."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """How to translate, and what to write."""

    output: OutputFile = None
    alignments: Annotated[
        Path | None, Parameter(help="Write the words that belong together to this file, i-j (Pharaoh), line by line.")
    ] = None
    json: Annotated[
        bool, Parameter(help="Print a JSON object a line: translation, scores, alignment, the list of --n-best.")
    ] = False
    n_best: Annotated[
        Count | None, Parameter(help="Print up to so many translations a line: LINE ||| TEXT ||| LOG-PROB ||| SCORE.")
    ] = None
    searching: Searching = field(default_factory=Searching)
    max_length: Annotated[
        Count | None, Parameter(help="The most tokens of a line's translation. [default: twice the source's and 20]")
    ] = None
    batch_size: Annotated[Count, Parameter(help="Lines at once; changes the speed, not the result.")] = 32
    site: Site = field(default_factory=Site)
    machine: Machine = field(default_factory=Machine)

    def __post_init__(self) -> None:
        if self.alignments is not None and str(self.alignments) == str(self.output or "-"):
            raise OptionError(f"--alignments and the translations cannot both go to {self.alignments}.")


@dataclass(frozen=True)
class Result:
    """A line, its translations, the best first, and the links of the best; None where there is no attention."""

    line: str
    translations: "list[Translation]"
    links: "Links | None"


def run(
    folder: RunFolder,
    input_: Annotated[Path | None, Parameter(name="INPUT", help="Text, a sentence a line; gzip too.")] = None,
    /,
    *,
    options: Options | None = None,
) -> int:
    """Translate lines of text: as many lines out as in, an empty line for an empty line.

    Without INPUT standard input is read; at a terminal each line is answered at once.
    """
    options = options or Options()
    translating = Translating(options.machine.load(folder), options)
    with (
        opened_input(input_) as (stream, name),
        opened_output(options.output) as output,
        opened_output(options.alignments) if options.alignments else nullcontext() as alignments,
    ):
        at_terminal = input_ is None and stream.isatty()
        lines = lines_of(stream, name)
        number = 0
        for chunk in prompted(lines) if at_terminal else chunks(lines):
            for result in translating.results(chunk):
                tell_parts(result, f"{name}:{number + 1}", limited=options.max_length is not None)
                translating.write(result, number, output, alignments)
                number += 1
            if options.output is None:
                output.flush()
    return 0


def chunks(lines: Iterator[str]) -> Iterator[list[str]]:
    """Put lines together, as many as a chunk holds."""
    chunk: list[str] = []
    characters = 0
    for line in lines:
        chunk.append(line)
        characters += len(line)
        if len(chunk) == CHUNK_LINES or characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def prompted(lines: Iterator[str]) -> Iterator[list[str]]:
    """Ask for each line."""
    say("Write a sentence and press Enter; Ctrl-D ends.")
    while True:
        print("> ", end="", file=sys.stderr, flush=True)
        line = next(lines, None)
        if line is None:
            say("")
            return
        yield [line]


def tell_parts(result: Result, place: str, *, limited: bool) -> None:
    """Tell of a line that was too long to be translated as one, and of what a limit left nothing for."""
    parts = result.translations[0].parts
    if len(parts) < 2:
        return
    reached = max((number for number, (_, target) in enumerate(parts, start=1) if target), default=0)
    rest = f", but --max-length was used up by the first {reached}" if limited and reached < len(parts) else ""
    say(f"{place}: longer than what the model learned from; translated in {len(parts)} parts{rest}.")


class Translating:
    """A translator and how it was told to translate and to write."""

    def __init__(self, translator: "Translator", options: Options) -> None:
        self.translator, self.options = translator, options
        self.search = options.searching.options(translator, options.n_best or 1)
        if options.max_length is not None and options.max_length > translator.max_target_length:
            limit = translator.max_target_length
            raise OptionError(f"--max-length must be at most {limit} for this model; it is {options.max_length}.")
        attends = bool(translator.model.alignment_sites())
        wanted = options.alignments is not None or options.site != Site()
        self.aligned = wanted or (options.json and attends)
        self.names = options.site.names(translator) if self.aligned else {}

    def results(self, lines: Sequence[str]) -> list[Result]:
        """Translate lines."""
        size = self.options.batch_size
        found = self.translator.translate(
            lines, options=self.search, max_length=self.options.max_length, batch_size=size
        )
        links: Sequence[Links | None] = [None] * len(lines)
        if self.aligned:
            best = [several[0] for several in found]
            links = self.translator.align_parts(lines, best, **self.names, batch_size=size)
        return [Result(*of_line) for of_line in zip(lines, found, links, strict=True)]

    def write(self, result: Result, number: int, output: Output, alignments: Output | None) -> None:
        """Write what was found for the line with this number, from 0."""
        from regard.inspection.alignments.links import format_pharaoh

        best = result.translations[0]
        if self.options.json:
            output.line(json.dumps(described(result), ensure_ascii=False))
        elif self.options.n_best is None:
            output.line(best.text)
        else:
            for one in result.translations:
                output.line(f"{number} ||| {one.text} ||| {one.log_probability:.6f} ||| {one.score:.6f}")
        if alignments is not None and result.links is not None:
            alignments.line(format_pharaoh(result.links))


def described(result: Result) -> dict[str, object]:
    """Return what is known of a line as JSON takes it."""
    best = result.translations[0]
    return {
        "source": result.line,
        "translation": best.text,
        "log_probability": best.log_probability,
        "score": best.score,
        "parts": max(1, len(best.parts)),
        "alignment": None if result.links is None else sorted(result.links),
        "n_best": [
            {"translation": one.text, "log_probability": one.log_probability, "score": one.score}
            for one in result.translations
        ],
    }
