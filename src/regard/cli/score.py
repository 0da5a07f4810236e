"""`regard score`: the log-probability of translations that are given."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from regard.cli.inputs import Count, Machine, OutputFile, PairFiles, RunFolder, pair_chunks
from regard.cli.streams import opened_output

if TYPE_CHECKING:
    from regard.data.text import Pairs
    from regard.tasks.translator import Translator


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """What to score."""

    pairs: PairFiles = field(default_factory=PairFiles)
    output: OutputFile = None
    json: Annotated[bool, Parameter(help="Print a JSON object a line, with the score of each token.")] = False
    batch_size: Annotated[Count, Parameter(help="Pairs at once; changes the speed, not the result.")] = 32
    machine: Machine = field(default_factory=Machine)


def run(folder: RunFolder, /, *, options: Options | None = None) -> int:
    """Print the log-probability of each translation: the natural logarithm, the end of the sentence counted."""
    options = options or Options()
    pairs = options.pairs.read()
    translator = options.machine.load(folder)
    options.pairs.refuse_too_long(pairs, translator)
    with opened_output(options.output) as output:
        for chunk in pair_chunks(pairs):
            for scored in scores(translator, chunk, options.batch_size):
                output.line(
                    json.dumps(scored, ensure_ascii=False) if options.json else f"{scored['log_probability']:.6f}"
                )
    return 0


def scores(translator: "Translator", pairs: "Pairs", batch_size: int) -> Iterator[dict[str, Any]]:
    """Yield for each pair its log-probability and that of each token."""
    tokenizer = translator.tokenizers.target
    found = translator.token_scores(pairs.sources, pairs.targets, batch_size=batch_size)
    for source, target, numbers in zip(pairs.sources, pairs.targets, found, strict=True):
        ids = [*tokenizer.encode(target).ids, tokenizer.eos_id] if len(numbers) else []
        yield {
            "source": source,
            "target": target,
            "log_probability": float(numbers.sum()),
            "tokens": [
                {"token": tokenizer.token(number), "log_probability": score}
                for number, score in zip(ids, numbers.tolist(), strict=True)
            ],
        }
