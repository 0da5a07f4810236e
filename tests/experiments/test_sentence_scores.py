import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.errors import OptionError
from regard.experiments.sentence_scores import Bleu, Chrf, Exact, TextScore
from regard.tasks.evaluation import metrics

WORDS = st.lists(st.sampled_from(["a", "bc", "der", "Hund", "schläft", "."]), max_size=9).map(" ".join)
TEXTS = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=7)


def total(score: TextScore, texts: list[str], references: list[str]) -> float:
    return score.score(score.count(texts, references).sum(axis=0))


@given(TEXTS, st.sampled_from(["13a", "none", "char"]), st.booleans())
def test_sums_over_sentences_score_as_sacrebleu_scores_the_corpus(
    pairs: list[tuple[str, str]], tokenize: str, lowercase: bool
) -> None:
    texts, references = [text for text, _ in pairs], [reference for _, reference in pairs]
    bleu, chrf = metrics(tokenize, lowercase)
    expected = bleu.corpus_score(texts, [references]).score
    assert total(Bleu(tokenize=tokenize, lowercase=lowercase), texts, references) == pytest.approx(expected, abs=1e-9)
    expected = chrf.corpus_score(texts, [references]).score
    assert total(Chrf(lowercase=lowercase), texts, references) == pytest.approx(expected, abs=1e-9)


@given(TEXTS)
def test_sentences_can_be_counted_apart_and_added(pairs: list[tuple[str, str]]) -> None:
    texts, references = [text for text, _ in pairs], [reference for _, reference in pairs]
    for score in (Bleu(), Chrf(), Exact()):
        apart = [score.count([text], [reference]) for text, reference in pairs]
        np.testing.assert_array_equal(np.concatenate(apart), score.count(texts, references))


def test_exact_is_the_percentage_of_equal_texts() -> None:
    assert total(Exact(), ["a", "b c", "d"], ["a", "b  c", "d"]) == pytest.approx(200 / 3)


def test_signatures_are_those_of_sacrebleu() -> None:
    bleu, chrf = metrics("none", lowercase=True)
    bleu.corpus_score(["b"], [["b"]])
    chrf.corpus_score(["b"], [["b"]])
    assert Bleu(tokenize="none", lowercase=True).signature == str(bleu.get_signature())
    assert Chrf(lowercase=True).signature == str(chrf.get_signature())


def test_a_tokenizer_that_sacrebleu_lacks_is_refused() -> None:
    with pytest.raises(OptionError, match=r"tokenize 'words' is unknown to sacrebleu; there are .*13a"):
        Bleu(tokenize="words")
