"""`regard compare`: several models on the same data and budget."""

import json
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from regard.cli.inputs import Count, PairFiles, chosen_device, use_threads
from regard.cli.streams import complain, opened_output, result_console, say
from regard.errors import OptionError, counted

if TYPE_CHECKING:
    from regard.data.text import Pairs
    from regard.experiments.comparison import Buckets, Comparison
    from regard.experiments.entries import Budget, Entry
    from regard.experiments.trials import ComparisonData

Configs = Annotated[
    str, Parameter(name="CONFIG", help="Presets, or recipes of your own (TOML); the first is compared with.")
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MadeUp:
    """A made-up task instead of files."""

    synthetic: Annotated[
        Literal["copy", "reverse"] | None, Parameter(help="Learn to copy or to reverse sentences of random words.")
    ] = None
    max_words: Annotated[Count | None, Parameter(help="Longest sentence to learn from. [default: 20]")] = None
    test_max_words: Annotated[Count | None, Parameter(help="Longest sentence to score. [default: 60]")] = None
    count: Annotated[
        Count | None, Parameter(name="--pairs", help="Sentences to make for learning. [default: 20000]")
    ] = None

    def __post_init__(self) -> None:
        for name, value in (
            ("--max-words", self.max_words),
            ("--test-max-words", self.test_max_words),
            ("--pairs", self.count),
        ):
            if value is not None and self.synthetic is None:
                raise OptionError(f"{name} is for --synthetic, which is not given.")

    def make(self) -> "tuple[ComparisonData, Buckets]":
        """Make the data, and say which lengths to score apart."""
        from regard.data.synthetic import as_pairs, synthetic_splits
        from regard.experiments.comparison import even_buckets
        from regard.experiments.trials import ComparisonData
        from regard.inspection.alignments.links import as_gold

        assert self.synthetic is not None
        count = self.count or 20_000
        longest = self.test_max_words or 60
        held = min(500, max(1, count // 10))
        max_words = self.max_words or 20
        splits = synthetic_splits(
            self.synthetic, max_words=max_words, test_max_words=longest, train=count, valid=held, test=held
        )
        train, valid, test = (as_pairs(part) for part in splits)
        valid_gold, test_gold = ([as_gold(one.alignment) for one in part] for part in (splits.valid, splits.test))
        made = f"{self.synthetic}, up to {max_words} words, scored to {longest}"
        data = ComparisonData(train, valid, test, valid_gold, test_gold, {"synthetic": made})
        return data, even_buckets(longest)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """On what to compare, and how long."""

    pairs: PairFiles = field(default_factory=PairFiles)
    valid_src: Annotated[
        Path | None, Parameter(help="Source sentences to choose by. [default: 1,000 pairs or 5 % are held out]")
    ] = None
    valid_tgt: Annotated[Path | None, Parameter(help="Their translations.")] = None
    test_src: Annotated[
        Path | None, Parameter(help="Source sentences to score. [default: 1,000 pairs or 5 % are held out]")
    ] = None
    test_tgt: Annotated[Path | None, Parameter(help="Their translations.")] = None
    test_count: Annotated[Count | None, Parameter(help="Pairs to hold out for scoring, where no --test-src is.")] = None
    made_up: MadeUp = field(default_factory=MadeUp)
    seeds: Annotated[Count, Parameter(help="How often each model is trained.")] = 1
    updates: Annotated[Count | None, Parameter(help="Train each model for so many updates.")] = None
    minutes: Annotated[
        float | None, Parameter(validator=Number(gt=0), help="Train each model for so many minutes.")
    ] = None
    out: Annotated[
        Path, Parameter(help="Folder of the runs and the results; what is finished in it is not done again.")
    ] = Path("comparison")
    set: Annotated[
        tuple[str, ...],
        Parameter(
            show_default=False,
            help="A value for all recipes, such as data.batch_tokens=2048; --data.batch_tokens=2048 says the same.",
        ),
    ] = ()
    tokenize: Annotated[
        str | None,
        Parameter(help="How sacrebleu splits words. [default: 13a, or none where the tokenizer splits at blanks]"),
    ] = None
    lowercase: Annotated[bool, Parameter(help="Let BLEU and chrF ignore case.")] = False
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"] | None, Parameter(help="Of training, for all models.")
    ] = None
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:1, ...")] = "auto"
    threads: Annotated[Count | None, Parameter(help="Threads on the CPU.")] = None
    json: Annotated[bool, Parameter(help="Print JSON instead of tables.")] = False

    def __post_init__(self) -> None:
        for one, other in (("valid_src", "valid_tgt"), ("test_src", "test_tgt")):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                missing = one if getattr(self, one) is None else other
                raise OptionError(f"--{missing.replace('_', '-')} is missing: both sides are needed.")
        if self.test_count is not None and self.test_src is not None:
            raise OptionError("--test-count and --test-src are both given: choose one.")
        if self.made_up.synthetic and (self.pairs.given() or self.valid_src or self.test_src or self.test_count):
            raise OptionError("--synthetic makes its own data: leave out the options that name files or their parts.")


def run(*configs: Configs, options: Options | None = None) -> int:
    """Train several models on the same data and budget, and compare them."""
    options = options or Options()
    use_threads(options.threads)

    from regard.experiments.comparison import Stopped, compare
    from regard.experiments.entries import Budget
    from regard.tasks.evaluation import usual_tokenization
    from regard.training.progress import display

    budget = Budget(updates=options.updates, minutes=options.minutes)
    entries = read_entries(configs, options, budget)
    data, buckets = read_data(options)
    found = compare(
        entries,
        data,
        options.out,
        seeds=options.seeds,
        budget=budget,
        buckets=buckets,
        tokenize=options.tokenize or usual_tokenization(entries[0].recipe.tokenizer.split),
        lowercase=options.lowercase,
        device=chosen_device(options.device),
        shown=partial(display, sys.stderr),
        say=say,
    )
    if isinstance(found, Stopped):
        complain(
            f"stopped {found.model}, seed {found.seed}, at step {found.step}. The same command goes on from there."
        )
        return 128 + found.signal
    hand_over(found, options)
    return 0


def read_entries(configs: tuple[str, ...], options: Options, budget: "Budget") -> "list[Entry]":
    """Read the recipes, with what the options lay over all of them."""
    from regard.experiments.entries import build_entries
    from regard.tasks.recipe import overrides

    settings = overrides(options.set)
    if options.precision is not None:
        settings["precision"] = options.precision
    return build_entries(configs, budget=budget, settings=settings, say=say)


def read_data(options: Options) -> "tuple[ComparisonData, Buckets]":
    """Read or make what to learn from, to choose by and to score, and say which lengths to score apart."""
    if options.made_up.synthetic is not None:
        return options.made_up.make()

    from regard.data.text import hold_out, read_pairs
    from regard.experiments.trials import ComparisonData
    from regard.tasks.evaluation import BUCKETS

    train = options.pairs.read()
    if options.test_src is not None and options.test_tgt is not None:
        test = read_pairs(options.test_src, options.test_tgt)
    else:
        train, test = hold_out(train, count=options.test_count, seed=1)
        say(f"Held out to score: {counted(len(test), 'pair')}.")
    if options.valid_src is not None and options.valid_tgt is not None:
        valid = read_pairs(options.valid_src, options.valid_tgt)
    else:
        train, valid = hold_out(train, seed=1)
        say(f"Held out to choose by: {counted(len(valid), 'pair')}.")
    warn_of_known(train, test)
    return ComparisonData(train, valid, test, origin=origin(options)), BUCKETS


def warn_of_known(train: "Pairs", test: "Pairs") -> None:
    """Say how many of the sentences to score were learned from: they measure memory, not translation."""
    learned = set(train.sources)
    known = sum(source in learned for source in test.sources)
    if known:
        say(f"warning: {known:,} of the {len(test):,} sentences to score are in the training data too.")


def origin(options: Options) -> dict[str, str]:
    """Return the files that are named, by the option that names them."""
    pairs = options.pairs
    files = {
        "src": pairs.src,
        "tgt": pairs.tgt,
        "data": pairs.data,
        **{name: getattr(options, name) for name in ("valid_src", "valid_tgt", "test_src", "test_tgt")},
    }
    named = {name: str(path.absolute()) for name, path in files.items() if path is not None}
    return named | ({"columns": pairs.columns} if pairs.columns is not None else {})


def hand_over(found: "Comparison", options: Options) -> None:
    """Write the results into the folder, and print them."""
    from regard.experiments.comparison_figure import save_figure
    from regard.experiments.comparison_report import as_json, markdown, terminal
    from regard.files import encode_json, write_whole

    values = as_json(found, options.out)
    write_whole(options.out / "comparison.json", encode_json(values))
    write_whole(options.out / "comparison.md", markdown(found, "comparison.png"))
    save_figure(found, options.out / "comparison.png")
    if options.json:
        with opened_output(None) as output:
            output.line(json.dumps(values, ensure_ascii=False))
    else:
        result_console().print(terminal(found))
    say(f"The same stands in {options.out / 'comparison.md'}, comparison.json and comparison.png.")
