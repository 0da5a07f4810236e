"""How good a translator is: loss, BLEU, chrF and alignment error rate, over all and by source length."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from regard.data.text import split_words
from regard.data.tokenizer_format import Split
from regard.errors import DataError, OptionError, counted
from regard.generation.search import SearchOptions
from regard.inspection.alignments.links import Gold, alignment_error_rate
from regard.tasks.pair_batches import text_pairs
from regard.tasks.translator import Translator

BUCKETS = ((1, 4), (5, 8), (9, 12), (13, 16), (17, None))
"""Lengths of the source in words that are scored apart."""


@dataclass(frozen=True)
class Bucket:
    """The scores of the sentences whose source has `first` to `last` words."""

    first: int
    last: int | None
    sentences: int
    bleu: float
    chrf: float

    @property
    def name(self) -> str:
        """Say which lengths."""
        return f"{self.first}+" if self.last is None else f"{self.first}-{self.last}"


@dataclass(frozen=True)
class Evaluation:
    """What was measured on a test set.

    Attributes:
        sentences: How many there were.
        too_long: The numbers, from 0, of pairs that are longer than the model takes at once: they are translated in
            parts, and left out of loss and alignment error rate.
        loss: Mean negative log-likelihood of a reference token, in nats, without label smoothing.
        perplexity: Its exponential.
        bleu: Corpus BLEU, 0 to 100.
        chrf: Corpus chrF, 0 to 100.
        exact: Share of the translations that equal the reference.
        signatures: How BLEU and chrF were computed, as sacrebleu tells it.
        alignment_error_rate: Of the alignment of the references, where gold links were given.
        buckets: Scores by length of the source.
        seconds: How long the translation took.
        translations: What was scored.
    """

    sentences: int
    too_long: list[int]
    loss: float
    perplexity: float
    bleu: float
    chrf: float
    exact: float
    signatures: dict[str, str]
    alignment_error_rate: float | None
    buckets: list[Bucket]
    seconds: float
    translations: list[str] = field(repr=False)


def evaluate(
    translator: Translator,
    sources: Sequence[str],
    references: Sequence[str],
    *,
    gold: Sequence[Gold] | None = None,
    options: SearchOptions | None = None,
    tokenize: str = "13a",
    lowercase: bool = False,
    batch_size: int = 64,
    layer: int | str | None = None,
    head: int | None = None,
) -> Evaluation:
    """Translate a test set and measure.

    Args:
        translator: What to measure.
        sources: Texts to translate.
        references: Their translations by people.
        gold: Links by people between words of source and reference.
        options: How to search; by default as the run says.
        tokenize: How sacrebleu splits words: "none" for text that is tokenized already.
        lowercase: Whether BLEU and chrF ignore case.
        batch_size: How many sentences at once; it changes the speed, not the result.
        layer: Whose weights are the alignment; by default the run's, like the head.
        head: Of this layer.

    Raises:
        DataError: The lists are of unequal length or empty, or gold is given and every pair is too long for the model.
    """
    sources, references = text_pairs(sources, references)
    if not sources:
        raise DataError("There is nothing to evaluate: the test set is empty.")
    bleu, chrf = metrics(tokenize, lowercase)
    too_long = translator.too_long(sources, references)
    fitting = [number for number in range(len(sources)) if number not in too_long]
    if gold is not None:
        translator.attending_layers()
        require_gold(gold, len(sources), too_long)
    began = time.perf_counter()
    found = translator.translate(sources, options=options, batch_size=batch_size)
    seconds = time.perf_counter() - began
    texts = [several[0].text for several in found]
    pairs = [sources[n] for n in fitting], [references[n] for n in fitting]
    loss = mean_loss(translator, *pairs, batch_size)
    rate = None
    if gold is not None:
        links = translator.align(*pairs, layer=layer, head=head, batch_size=batch_size)
        rate = alignment_error_rate(links, [gold[n] for n in fitting]).error_rate
    return Evaluation(
        sentences=len(sources),
        too_long=sorted(too_long),
        loss=loss,
        perplexity=math.exp(loss) if not loss >= 700 else math.inf,
        bleu=corpus_score(bleu, texts, references),
        chrf=corpus_score(chrf, texts, references),
        exact=sum(text == reference for text, reference in zip(texts, references, strict=True)) / len(texts),
        signatures={"bleu": str(bleu.get_signature()), "chrf": str(chrf.get_signature())},
        alignment_error_rate=rate,
        buckets=by_length(sources, texts, references, tokenize, lowercase),
        seconds=seconds,
        translations=texts,
    )


def require_gold(gold: Sequence[Gold], pairs: int, too_long: Mapping[int, str]) -> None:
    """Raise if there is not one gold for each pair, or no pair left that an error rate can be of."""
    if len(gold) != pairs:
        raise DataError(
            f"{counted(pairs, 'pair')} and gold links for {counted(len(gold), 'pair')} are given: give them for each."
        )
    if len(too_long) == pairs:
        raise DataError(
            f"No alignment error rate can be measured: all {pairs:,} pairs are longer than the model "
            f"takes at once (the first: {too_long[0]}) Leave the gold links out, or give shorter pairs."
        )


def mean_loss(translator: Translator, sources: Sequence[str], references: Sequence[str], batch_size: int) -> float:
    """Return the mean negative log-likelihood of a reference token; NaN where there is no token."""
    scores = translator.token_scores(sources, references, batch_size=batch_size)
    tokens = sum(len(score) for score in scores)
    return -sum(float(score.sum()) for score in scores) / tokens if tokens else math.nan


def metrics(tokenize: str, lowercase: bool) -> tuple[Any, Any]:
    """Return sacrebleu's BLEU and chrF."""
    names = BLEU.TOKENIZERS
    if tokenize not in names:
        raise OptionError(f"tokenize {tokenize!r} is unknown to sacrebleu; there are {', '.join(names)}.")
    # force: the warning about text that looks tokenized already is for people who forgot; here it was chosen.
    try:
        bleu = BLEU(tokenize=tokenize, lowercase=lowercase, force=True)
    except (ImportError, RuntimeError, OSError) as error:  # some of its tokenizers need more than sacrebleu brings
        raise OptionError(f"tokenize {tokenize!r} cannot be used here: {error}") from error
    return bleu, CHRF(lowercase=lowercase)


def usual_tokenization(split: Split) -> str:
    """Say how sacrebleu is to split words: not at all where a tokenizer takes text as tokenized already."""
    return "none" if split == "blanks" else "13a"


def corpus_score(metric: Any, texts: Sequence[str], references: Sequence[str]) -> float:
    """Return a score from 0 to 100, which sacrebleu's rounding may pass by a hair."""
    score: float = metric.corpus_score(list(texts), [list(references)]).score
    return min(100.0, score)


def by_length(
    sources: Sequence[str], texts: Sequence[str], references: Sequence[str], tokenize: str, lowercase: bool
) -> list[Bucket]:
    """Score sentences apart by the length of their source; a length that no sentence has is left out."""
    buckets = []
    for first, last in BUCKETS:
        inside = [
            number for number, source in enumerate(sources) if first <= len(split_words(source)) <= (last or math.inf)
        ]
        if inside:
            bleu, chrf = metrics(tokenize, lowercase)
            made, wanted = [texts[n] for n in inside], [references[n] for n in inside]
            buckets.append(
                Bucket(
                    first,
                    last,
                    len(inside),
                    corpus_score(bleu, made, wanted),
                    corpus_score(chrf, made, wanted),
                )
            )
    return buckets
