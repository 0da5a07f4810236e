"""Looking into one translation."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from regard.errors import OptionError
from regard.inspection.alignments.words import merge_words
from regard.inspection.pictures.glyphs import label
from regard.tasks.look import CANDIDATES, look
from tests.tasks import tiny

MODELS = {"transformer": tiny.TRANSFORMER, "recurrent": tiny.RECURRENT}
SOURCE, TARGET = "the cat sleeps", "le chat dort ici"


@pytest.mark.parametrize("name", MODELS)
def test_the_map_shows_the_weights_of_the_site_between_words(name: str) -> None:
    translator = tiny.translator(MODELS[name])
    seen = look(translator, SOURCE, TARGET)
    assert (seen.map.columns, seen.map.rows) == (tuple(SOURCE.split()), tuple(TARGET.split()))
    np.testing.assert_allclose(seen.map.values.sum(axis=1), 1, atol=1e-5)
    assert seen.log_probability == translator.score([SOURCE], [TARGET])[0]
    assert seen.links == translator.align([SOURCE], [TARGET])[0]
    assert seen.map.note == str(translator.site)
    assert seen.map.title == f"{SOURCE} → {TARGET}"
    assert seen.map.steps == ()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("site", [{}, {"layer": 0, "head": 0}])
def test_belief_is_measured_of_the_map_that_is_shown(name: str, site: dict[str, Any]) -> None:
    seen = look(tiny.translator(MODELS[name]), SOURCE, TARGET, belief=True, **site)
    assert seen.belief is not None
    assert seen.map.note.startswith(seen.belief.site)
    assert seen.belief.heads == ((0,) if site else None)
    assert 0 < seen.belief.erased_most < 1
    assert seen.map.belief == str(seen.belief)


def test_belief_is_measured_where_it_is_asked_for_and_there_is_a_translation() -> None:
    assert look(tiny.translator(), SOURCE, TARGET).map.belief == ""
    assert look(tiny.translator(), SOURCE, "", belief=True).belief is None


def test_the_heads_hold_the_map() -> None:
    seen = look(tiny.translator(), SOURCE, TARGET, layer=0, head=1)
    assert seen.heads.layers == ("decoder.0.cross_attention", "decoder.1.cross_attention")
    assert seen.heads.values.shape == (2, 2, 4, 3)
    np.testing.assert_array_equal(seen.heads.values[0, 1], seen.map.values)


def test_without_a_target_the_translators_own_is_shown() -> None:
    translator = tiny.translator()
    assert look(translator, SOURCE).target == translator.translate([SOURCE])[0][0].text


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("site", [{}, {"layer": 0}, {"layer": 0, "head": 0}])
def test_steps_tell_scores_weights_shares_and_candidates(name: str, site: dict[str, Any]) -> None:
    translator = tiny.translator(MODELS[name])
    seen = look(translator, SOURCE, TARGET, steps=True, **site)
    tokenizer = translator.tokenizers.target
    ids = [*tokenizer.encode(TARGET).ids, tokenizer.eos_id]
    assert [step.token for step in seen.map.steps] == [tokenizer.token(number) for number in ids]
    scores = translator.token_scores([SOURCE], [TARGET])[0].exp().tolist()
    for step, probability in zip(seen.map.steps, scores, strict=True):
        assert len(step.columns) == len(translator.tokenizers.source.encode(SOURCE).ids) + 1
        assert step.weights.sum() == pytest.approx(1, abs=1e-5)
        assert step.shares is not None
        assert step.shares.sum() == pytest.approx(1, abs=1e-5)
        probabilities = [candidate.probability for candidate in step.candidates]
        assert len(probabilities) == CANDIDATES
        assert probabilities == sorted(probabilities, reverse=True)
        assert tokenizer.token(tokenizer.bos_id) not in [candidate.token for candidate in step.candidates]
        for candidate in step.candidates:
            if candidate.token == step.token:
                assert candidate.probability == pytest.approx(probability, abs=1e-5)
    if name == "transformer" and site == {"layer": 0, "head": 0}:
        for step in seen.map.steps:
            expected = np.exp(step.scores - step.scores.max())
            np.testing.assert_allclose(step.weights, expected / expected.sum(), atol=1e-5)


def test_steps_say_at_which_token_the_map_shows_them() -> None:
    translator = tiny.translator()
    assert translator.site is not None
    assert {step.note for step in look(translator, SOURCE, TARGET, steps=True).map.steps} == {""}
    translator.site = replace(translator.site, head=1, step="reading")  # a mean over heads is taken after merging
    seen = look(translator, SOURCE, TARGET, steps=True)
    ((_, attention),) = translator.attention([SOURCE], [TARGET])
    first, *others = seen.map.steps
    assert first.note == "The map does not show these weights: it takes a token's from the next step, which reads it."
    for before, step in zip(seen.map.steps, others, strict=False):
        read, emitted = label(before.token), label(step.token)
        assert step.note == f"The map shows these weights at {read}, which this step reads; it emits {emitted}."
    by_token = torch.from_numpy(np.stack([step.weights for step in others]))
    rows = merge_words(by_token, attention.target_word_of[:-1], attention.source_word_of)
    np.testing.assert_allclose(seen.map.values, rows, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "There is nothing to look at: the text is empty."),
        (" \t", "There is nothing to look at: the text is empty."),
        ("the cat sleeps " * 9, "tokens and the model reads 23 at once. Look at a part of it."),
    ],
)
def test_what_cannot_be_looked_at_is_refused(text: str, told: str) -> None:
    with pytest.raises(OptionError) as raised:
        look(tiny.translator(), text)
    assert told in str(raised.value)


def test_an_empty_translation_has_an_empty_map() -> None:
    seen = look(tiny.translator(), SOURCE, "", steps=True)
    assert seen.map.rows == ()
    assert seen.links == frozenset()
    assert len(seen.map.steps) == 1


def test_a_model_without_attention_is_refused() -> None:
    with pytest.raises(OptionError, match="has no attention to its source"):
        look(tiny.translator(tiny.FIXED), SOURCE)
