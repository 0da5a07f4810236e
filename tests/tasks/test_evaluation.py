"""Measuring a translator."""

import math
from itertools import pairwise

import pytest
import sacrebleu

from regard.errors import DataError, OptionError
from regard.generation.search import SearchOptions
from regard.inspection.alignments.links import Gold, alignment_error_rate
from regard.tasks.evaluation import BUCKETS, Evaluation, evaluate, metrics, usual_tokenization
from regard.tasks.translator import Translator
from tests.tasks import tiny

SOURCES = ["the cat sleeps", "", "my feet hurt and i am", "i am hungry"]
REFERENCES = ["le chat dort", "", "j'ai très mal aux pieds aujourd'hui", "j'ai faim"]
GREEDY = SearchOptions(beams=1)


@pytest.fixture(scope="module")
def found() -> Evaluation:
    return evaluate(tiny.translator(), SOURCES, REFERENCES, options=GREEDY)


def test_loss_is_the_mean_over_tokens(found: Evaluation) -> None:
    scores = tiny.translator().token_scores(SOURCES, REFERENCES)
    loss = -sum(float(score.sum()) for score in scores) / sum(map(len, scores))
    assert found.loss == pytest.approx(loss, abs=1e-6)
    assert found.perplexity == pytest.approx(math.exp(loss), rel=1e-5)


def test_scores_are_those_of_sacrebleu(found: Evaluation) -> None:
    assert found.bleu == pytest.approx(sacrebleu.corpus_bleu(found.translations, [REFERENCES]).score)
    assert found.chrf == pytest.approx(sacrebleu.corpus_chrf(found.translations, [REFERENCES]).score)
    assert found.translations == [one[0].text for one in tiny.translator().translate(SOURCES, options=GREEDY)]
    assert found.exact == 0.25  # the empty line


def test_buckets_part_the_sentences_by_words(found: Evaluation) -> None:
    assert [(bucket.name, bucket.sentences) for bucket in found.buckets] == [("1-4", 2), ("5-8", 1)]
    bounds = [(first, last) for first, last in BUCKETS]
    assert all(last is not None and last + 1 == following for (_, last), (following, _) in pairwise(bounds))
    only = found.buckets[1]
    alone = sacrebleu.corpus_bleu([found.translations[2]], [[REFERENCES[2]]]).score
    assert only.bleu == pytest.approx(alone)


def test_batch_size_changes_nothing() -> None:
    one, many = (evaluate(tiny.translator(), SOURCES, REFERENCES, options=GREEDY, batch_size=size) for size in (1, 32))
    assert one.translations == many.translations
    assert one.loss == pytest.approx(many.loss, abs=1e-5)


def test_gold_is_compared_with_the_alignment_of_the_references() -> None:
    translator = tiny.translator()
    gold = [Gold(frozenset({(0, 0)}), frozenset({(0, 0), (1, 1)}))] * len(SOURCES)
    found = evaluate(translator, SOURCES, REFERENCES, gold=gold, options=GREEDY)
    expected = alignment_error_rate(translator.align(SOURCES, REFERENCES), gold).error_rate
    assert found.alignment_error_rate == expected


def test_pairs_that_are_too_long_are_translated_and_left_out_of_the_loss() -> None:
    translator = tiny.translator()
    long = "the cat sleeps. " * 9
    gold = [Gold(frozenset({(0, 0)}), frozenset({(0, 0)}))] * 2
    found = evaluate(translator, [SOURCES[0], long], [REFERENCES[0], "le"], gold=gold, options=GREEDY)
    alone = evaluate(translator, SOURCES[:1], REFERENCES[:1], gold=gold[:1], options=GREEDY)
    assert found.too_long == [1]
    assert (found.loss, found.alignment_error_rate) == (alone.loss, alone.alignment_error_rate)
    assert len(found.translations) == 2
    assert found.translations[1]


def test_nothing_to_evaluate_and_unknown_splitting_are_refused() -> None:
    with pytest.raises(DataError, match="There is nothing to evaluate: the test set is empty"):
        evaluate(tiny.translator(), [], [])
    with pytest.raises(OptionError, match="tokenize 'words' is unknown to sacrebleu; there are"):
        metrics("words", lowercase=False)


ONE = Gold(frozenset({(0, 0)}), frozenset({(0, 0)}))


@pytest.mark.parametrize(
    ("sides", "gold", "told"),
    [
        ((["a", "b", "c"], ["a", "b"]), None, r"^3 sources and 2 targets are given: give one for each\.$"),
        ((["a"], []), None, r"^1 source and 0 targets are given"),
        ((["a", "b"], ["a", "b"]), [ONE], r"^2 pairs and gold links for 1 pair are given: give them for each\.$"),
        ((["a"], ["b"]), [ONE] * 3, r"^1 pair and gold links for 3 pairs are given"),
        (
            ([tiny.LINES.sources[0] * 9, tiny.LINES.sources[1] * 9], ["b", "c"]),
            [ONE] * 2,
            r"^No alignment error rate can be measured: all 2 pairs are longer than the model takes at once "
            r"\(the first: the source has \d+ tokens and the model takes 23 at once\.\) Leave the gold links out",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused_with_the_counts(
    sides: tuple[list[str], list[str]], gold: list[Gold] | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Translator, "translate", None)  # it is told before there is any work
    with pytest.raises(DataError, match=told):
        evaluate(tiny.translator(), *sides, gold=gold)


def test_pairs_that_are_all_too_long_have_scores_and_no_loss() -> None:
    found = evaluate(tiny.translator(), ["the cat sleeps. " * 9], ["le chat"], options=GREEDY)
    assert (found.sentences, found.too_long) == (1, [0])
    assert math.isnan(found.loss)


def test_only_empty_lines_have_no_loss() -> None:
    found = evaluate(tiny.translator(), ["", " "], ["", ""], options=GREEDY)
    assert math.isnan(found.loss)
    assert found.buckets == []
    assert found.exact == 1


def test_text_that_is_tokenized_already_is_scored_as_it_is() -> None:
    assert usual_tokenization("blanks") == "none"
    assert usual_tokenization("text") == "13a"
