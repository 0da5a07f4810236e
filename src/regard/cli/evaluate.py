"""`regard evaluate`: how good a run is on a test set."""

import json
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from regard.cli.inputs import Count, Machine, PairFiles, RunFolder, Searching, Site, word_counts
from regard.cli.streams import opened_output, result_console, say, show_rows
from regard.errors import OptionError, counted

if TYPE_CHECKING:
    from regard.data.text import Pairs
    from regard.inspection.alignments.links import Gold
    from regard.tasks.evaluation import Evaluation


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """On what to measure, and how."""

    pairs: PairFiles = field(default_factory=PairFiles)
    gold_alignments: Annotated[
        Path | None, Parameter(help="Links by people between the words of each pair: i-j sure, i?j possible.")
    ] = None
    gold_base: Annotated[Literal[0, 1], Parameter(help="What they call the first word of a sentence.")] = 0
    site: Site = field(default_factory=Site)
    tokenize: Annotated[
        str | None,
        Parameter(help="How sacrebleu splits words. [default: 13a, or none where the tokenizer splits at blanks]"),
    ] = None
    lowercase: Annotated[bool, Parameter(help="Let BLEU and chrF ignore case.")] = False
    searching: Searching = field(default_factory=Searching)
    batch_size: Annotated[Count, Parameter(help="Sentences at once; changes the speed, not the result.")] = 64
    output: Annotated[Path | None, Parameter(name=("--output", "-o"), help="Write the translations to this file.")] = (
        None
    )
    json: Annotated[bool, Parameter(help="Print JSON instead of a table.")] = False
    machine: Machine = field(default_factory=Machine)

    def __post_init__(self) -> None:
        if self.gold_base and self.gold_alignments is None:
            raise OptionError("--gold-base is for --gold-alignments, which is not given.")
        if self.site != Site() and self.gold_alignments is None:
            raise OptionError("--layer and --head are for --gold-alignments, which is not given.")
        if str(self.output) == "-":
            raise OptionError("--output - would mix translations and scores. Name a file, or use regard translate.")


def run(folder: RunFolder, /, *, options: Options | None = None) -> int:
    """Measure loss, perplexity, BLEU, chrF, exact matches and alignment error rate, over all and by source length."""
    options = options or Options()
    pairs = options.pairs.read()
    gold = read_gold(options, pairs)
    translator = options.machine.load(folder)
    names = options.site.names(translator) if gold is not None else {}

    from regard.tasks.evaluation import evaluate, usual_tokenization

    with opened_output(options.output) if options.output is not None else nullcontext() as output:
        found = evaluate(
            translator,
            pairs.sources,
            pairs.targets,
            gold=gold,
            options=options.searching.options(translator),
            tokenize=options.tokenize or usual_tokenization(translator.tokenizers.target.form.split),
            lowercase=options.lowercase,
            batch_size=options.batch_size,
            **names,
        )
        if output is not None:
            for text in found.translations:
                output.line(text)
    if found.too_long:
        numbers = ", ".join(str(number + 1) for number in found.too_long[:20])
        say(
            f"{counted(len(found.too_long), 'pair')} longer than the model takes at once, translated in parts and left "
            f"out of loss and alignment error rate: {numbers}{' ...' if len(found.too_long) > 20 else ''}."
        )
    if options.json:
        with opened_output(None) as printed:
            printed.line(json.dumps(described(found), ensure_ascii=False))
    else:
        show(found)
    return 0


def read_gold(options: Options, pairs: "Pairs") -> "Sequence[Gold] | None":
    """Read the links by people; those that point outside of their sentences are faults."""
    from regard.inspection.alignments.links import read_pharaoh

    if options.gold_alignments is None:
        return None
    return read_pharaoh(options.gold_alignments, base=options.gold_base, lengths=word_counts(pairs))


def described(found: "Evaluation") -> dict[str, Any]:
    """Return what was measured as JSON takes it; what is not a number is null."""
    values = asdict(found)
    del values["translations"]
    values["too_long"] = [number + 1 for number in found.too_long]
    for bucket, of in zip(values["buckets"], found.buckets, strict=True):
        bucket["name"] = of.name
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }


def show(found: "Evaluation") -> None:
    """Print tables."""
    from rich.table import Table

    rate = found.alignment_error_rate
    show_rows(
        [
            ("sentences", f"{found.sentences:,}", ""),
            ("loss", f"{found.loss:.4f}", "nats a token"),
            ("perplexity", f"{found.perplexity:.4g}", ""),
            ("BLEU", f"{found.bleu:.2f}", found.signatures["bleu"]),
            ("chrF", f"{found.chrf:.2f}", found.signatures["chrf"]),
            ("exact", f"{found.exact:.1%}", "translations that equal the reference"),
            *([] if rate is None else [("AER", f"{rate:.2%}", "alignment error rate of the references")]),
        ]
    )
    buckets = Table(box=None, pad_edge=False, title="by words of the source", title_justify="left")
    for heading in ("words", "sentences", "BLEU", "chrF"):
        buckets.add_column(heading, justify="right")
    for bucket in found.buckets:
        buckets.add_row(bucket.name, f"{bucket.sentences:,}", f"{bucket.bleu:.2f}", f"{bucket.chrf:.2f}")
    result_console().print(buckets)
