"""The translator on random tiny models."""

import dataclasses
import re
from typing import Any

import pytest
import torch

from regard.data.text import split_words
from regard.errors import DataError, NotANumberError, OptionError
from regard.generation.search import Hypothesis, SearchOptions
from regard.inspection.alignments.alignment_site import AlignmentSite
from regard.inspection.alignments.words import join_links
from regard.inspection.lens import Lens
from regard.models.recurrent import RecurrentConfig
from regard.models.transformer import TransformerConfig
from regard.tasks.translations import Translation
from regard.tasks.translator import Found, Translator
from tests.tasks import tiny

TEXTS = ["the cat sleeps", "", "my feet hurt, you know", "   ", "i am hungry", "she does not eat bread", "the"]
MODELS: dict[str, Any] = {
    "transformer": tiny.TRANSFORMER,
    "learned positions": TransformerConfig(
        model_dim=16, num_heads=2, feed_forward_dim=24, encoder_layers=1, decoder_layers=1,
        positions="learned", max_length=211,
    ),
    "bahdanau": tiny.RECURRENT,
    "luong": RecurrentConfig(model_dim=16, hidden_dim=12, attention="luong", score="general", input_feeding=True),
    "local": RecurrentConfig(
        model_dim=16, hidden_dim=12, attention="luong", score="general", window="local_p", reach=2
    ),
    "fixed": tiny.FIXED,
}  # fmt: skip
ATTENDING = [name for name in MODELS if name != "fixed"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def made(name: str, **changes: Any) -> Translator:
    return tiny.translator(MODELS[name], **changes)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("beams", [1, 3])
def test_the_log_probability_of_a_translation_is_its_score(name: str, beams: int) -> None:
    translator = made(name)
    options = SearchOptions(beams=beams, n_best=beams, length_penalty=0.75)
    for text, several in zip(TEXTS, translator.translate(TEXTS, options=options), strict=True):
        forced = translator.score([text] * len(several), [one.text for one in several])
        assert [one.log_probability for one in several] == pytest.approx(forced, abs=1e-4)
        assert [one.score for one in several] == sorted((one.score for one in several), reverse=True)
        assert len({one.text for one in several}) == len(several)
        for one in several:
            tokens = len(translator.tokenizers.target.encode(one.text).ids) + 1
            if split_words(text):
                assert one.score == pytest.approx(one.log_probability / tokens**0.75)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("beams", [1, 3])
def test_batch_size_order_and_company_change_nothing(name: str, beams: int) -> None:
    translator = made(name)
    options = SearchOptions(beams=beams)
    alone = [translator.translate([text], options=options)[0][0] for text in TEXTS]
    for batch_size in (1, 2, 7, 32):
        found = [several[0] for several in translator.translate(TEXTS, options=options, batch_size=batch_size)]
        assert [one.text for one in found] == [one.text for one in alone]
        expected = [one.log_probability for one in alone]
        assert [one.log_probability for one in found] == pytest.approx(expected, abs=1e-4)
    backwards = translator.translate(TEXTS[::-1], options=options)
    assert [several[0].text for several in backwards[::-1]] == [one.text for one in alone]


def test_a_model_that_computes_nan_translates_nothing() -> None:
    translator = made("transformer")
    with torch.no_grad():
        translator.model.output.weight[5] = torch.nan
    told = (
        r"^The model computes NaN for the text 'she does not eat bread' and 2 others\. Its weights are not finite: "
        r"target_embedding\.weight\. Take weights of before that, or train anew\.$"
    )
    with pytest.raises(NotANumberError, match=told):
        translator.translate(["i am hungry", "", "she does not eat bread", "the"])


def test_texts_without_a_word_need_no_model() -> None:
    translator = made("transformer")
    for several in translator.translate(["", "  ", "\t", "\u3000"]):
        assert [(one.text, one.log_probability, one.score, one.parts) for one in several] == [("", 0.0, 0.0, ())]
    assert translator.score(["", " "], ["", "\t"]) == [0.0, 0.0]
    assert translator.align([""], [""]) == [frozenset()]
    assert translator.translate([]) == []
    assert translator.score([""], ["le chat"])[0] < 0


@pytest.mark.parametrize("blank", [" ", "\t", "\u00a0", "\u3000"])
def test_a_line_of_blanks_has_no_links_and_loses_no_other(blank: str) -> None:
    translator = made("transformer")
    expected = translator.align(["the cat"], ["le chat"])
    assert translator.align(["the cat"] * 2, ["le chat", blank]) == [*expected, frozenset()]
    assert translator.align(["the cat", blank], ["le chat"] * 2) == [*expected, frozenset()]
    assert translator.align([blank], [blank]) == [frozenset()]


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batches_of_no_pairs_are_refused_everywhere(batch_size: int) -> None:
    translator = made("transformer")
    pair = ["the cat"], ["le chat"]
    for run in (translator.score, translator.token_scores, translator.align):
        with pytest.raises(OptionError, match=f"batch_size must be at least 1; it is {batch_size}"):
            list(run(*pair, batch_size=batch_size))
    with pytest.raises(OptionError, match=f"batch_size must be at least 1; it is {batch_size}"):
        translator.translate(pair[0], batch_size=batch_size)


def test_a_translator_takes_one_token_at_least() -> None:
    with pytest.raises(OptionError, match="max_length must be at least 1; it is 0"):
        made("transformer", max_length=0)


def test_a_translation_is_spelled_as_the_tokenizer_would() -> None:
    """A search may find `ch a t` where the tokenizer writes `chat`; what is told is what `score` says of the text."""
    translator = made("transformer")
    tokenizer = translator.tokenizers.target
    hypotheses = []
    for text in ("le chat dort", "le"):
        ids = [
            i
            for letter in f" {text}"
            for i in range(tokenizer.vocab_size)
            if tokenizer.token(i) == letter.replace(" ", "▁")
        ]
        assert tokenizer.decode(ids) == text
        hypotheses.append(ids)
    given = [Hypothesis(tuple(ids), -0.5, -0.1) for ids in hypotheses]
    found = translator.finished("the cat sleeps", given, SearchOptions(length_penalty=1.0))
    expected = dict(
        zip(("le chat dort", "le"), translator.score(["the cat sleeps"] * 2, ["le chat dort", "le"]), strict=True)
    )
    assert {one.text: one.log_probability for one in found} == pytest.approx(expected)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_a_spelling_that_is_longer_than_the_model_takes_keeps_its_score_and_gets_no_links() -> None:
    config = dataclasses.replace(MODELS["learned positions"], max_length=31)
    translator = tiny.translator(config)
    hypothesis = Hypothesis((3 + 0xFF,) * 30, -7.5, -0.25)  # bytes that are no text: each becomes three
    (found,) = translator.finished("the cat", [hypothesis], SearchOptions(length_penalty=1.0))
    assert (found.text, found.log_probability) == ("\ufffd" * 30, -7.5)
    assert translator.too_long(["the cat"], [found.text]).keys() == {0}
    assert translator.align_parts(["the cat"], [found]) == [frozenset()]


def test_a_letter_of_more_tokens_than_the_model_takes_is_translated() -> None:
    translator = made("transformer", max_length=1)
    for several in translator.translate(["a \u8a9e", "\U0001f600"], options=SearchOptions(beams=1), max_length=3):
        assert several[0].log_probability < 0


def test_equal_texts_are_told_once_and_a_final_carriage_return_never() -> None:
    translator = made("transformer")
    tokenizer = translator.tokenizers.target
    ids = tuple(tokenizer.encode("le chat").ids)
    ending = (*ids, *tokenizer.encode("le\r").ids[-1:])
    assert tokenizer.decode(ending) == "le chat\r"
    given = [Hypothesis(ids, -1.0, -0.5), Hypothesis(ending, -2.0, -0.5)]
    assert [one.text for one in translator.finished("the cat", given, SearchOptions())] == ["le chat"]


@pytest.mark.parametrize("name", MODELS)
def test_long_texts_are_translated_in_parts(name: str) -> None:
    translator = made(name, max_length=11)
    text = "the cat sleeps. my feet hurt, i am hungry. " * 3
    (several,) = translator.translate([text], options=SearchOptions(beams=2))
    best = several[0]
    assert len(best.parts) > 1
    assert "".join(source for source, _ in best.parts).replace(" ", "") == text.replace(" ", "")
    alone = translator.translate([source for source, _ in best.parts], options=SearchOptions(beams=2))
    assert best.text == " ".join(one[0].text for one in alone if one[0].text)
    assert best.log_probability == pytest.approx(sum(one[0].log_probability for one in alone), abs=1e-3)


@pytest.mark.parametrize("name", ["transformer", "bahdanau"])
@pytest.mark.parametrize("limit", [1, 5, 17, 57])
def test_the_greatest_length_is_that_of_the_whole_text(name: str, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    translator, options = made(name, max_length=11), SearchOptions(beams=3, n_best=3)
    spelled: dict[str, int] = {}
    finished = Translator.finished

    def watched(self: Translator, text: str, hypotheses: list[Hypothesis], options: SearchOptions) -> list[Translation]:
        spelled[text] = max(len(hypothesis.tokens) for hypothesis in hypotheses)
        return finished(self, text, hypotheses, options)

    monkeypatch.setattr(Translator, "finished", watched)
    long = "the cat sleeps. my feet hurt, i am hungry, she does not eat bread."
    found = translator.translate([long, "", "the cat"], options=options, max_length=limit)
    for text, several in zip((long, "", "the cat"), found, strict=True):
        parts = [source for source, _ in several[0].parts]
        assert "".join(parts).replace(" ", "") == text.replace(" ", ""), "no part is left out"
        assert sum(spelled[part] for part in parts) <= limit
    sides = zip(*found[0][0].parts, strict=True)
    assert found[0][0].log_probability == pytest.approx(sum(translator.score(*sides)), abs=1e-3)
    (alone,) = translator.translate([long], options=options, max_length=limit)
    assert [one.text for one in alone] == [one.text for one in found[0]], "company changes nothing"


def test_every_part_gets_what_those_before_it_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"a": 5, "b": 0, "c": 9, "d": 9, "e": 9, "f": 3, "g": 4}
    calls: list[dict[str, int]] = []

    def search(
        self: Translator, texts: list[str], options: SearchOptions, limits: list[int], batch_size: int
    ) -> list[Found]:
        calls.append(dict(zip(texts, limits, strict=True)))
        return [Found([Translation(t, 0, 0)], min(wanted[t], n)) for t, n in zip(texts, limits, strict=True)]

    monkeypatch.setattr(Translator, "search", search)
    found = made("transformer").search_within([["a", "b", "c", "d", "e"], ["f", "g"]], SearchOptions(), 7, 32)
    assert calls == [{"a": 7, "f": 7}, {"b": 2, "g": 4}, {"c": 2}, {"d": 0, "e": 0}]
    assert [[one.text for (one,) in several] for several in found] == [["a", "b", "c", "d", "e"], ["f", "g"]]


def test_a_blank_part_takes_no_translation_away() -> None:
    translator, options = made("transformer", max_length=11), SearchOptions(beams=3, n_best=3)
    whole, alone = translator.translate([f"{' ' * 30}the cat sleeps", "the cat sleeps"], options=options)
    assert [one.text for one in whole] == [one.text for one in alone]
    assert len(whole) == 3


def test_links_of_parts_are_counted_over_the_whole_text() -> None:
    translator = made("transformer", max_length=11)
    text = "the cat sleeps. my feet hurt, i am hungry. "
    translations = [several[0] for several in translator.translate([text, "", "the cat"])]
    links, nothing, short = translator.align_parts([text, "", "the cat"], translations)
    assert nothing == frozenset()
    assert short == translator.align(["the cat"], [translations[2].text])[0]
    source_start = target_start = 0
    expected = set()
    for source, target in translations[0].parts:
        part = translator.align([source], [target])[0]
        expected |= {(source_start + s, target_start + t) for s, t in part}
        source_start += len(split_words(source))
        target_start += len(split_words(target))
    assert source_start == len(split_words(text))
    assert links == expected


def test_pairs_that_are_too_long_are_refused_by_number() -> None:
    translator = made("learned positions")
    assert (translator.max_length, translator.max_target_length) == (23, 210)
    long = "the cat sleeps " * 80
    sources, targets = ["the", long, "the"], ["le", "le", long]
    assert sorted(translator.too_long(sources, targets)) == [1, 2]
    with pytest.raises(
        DataError, match=r"pair 2: the source has \d+ tokens and the model takes 23 at once\."
    ) as raised:
        translator.score(sources, targets)
    assert "pair 3: the target has" in str(raised.value)
    with pytest.raises(DataError, match=r"2 sources and 1 target are given: give one for each\."):
        translator.align(["a", "b"], ["c"])


@pytest.mark.parametrize("name", ATTENDING)
@pytest.mark.parametrize("beams", [1, 3])
def test_attention_of_a_translation_is_its_teacher_forced_attention(name: str, beams: int) -> None:
    """Whatever the search did, the map belongs to the finished tokens; company in the batch leaves it alone."""
    translator = made(name)
    texts = [text for text in TEXTS if split_words(text)]
    found = [several[0].text for several in translator.translate(texts, options=SearchOptions(beams=beams))]
    together = dict(translator.attention(texts, found))
    begin, end = translator.vocabulary.begin, translator.tokenizers.source.eos_id
    for number, (source, target) in enumerate(zip(texts, found, strict=True)):
        ids = [*translator.tokenizers.source.encode(source).ids, end]
        made_ids = [begin, *translator.tokenizers.target.encode(target).ids]
        with torch.inference_mode(), Lens(translator.model) as lens:
            translator.model(torch.tensor([ids]), torch.tensor([len(ids)]), torch.tensor([made_ids]))
        expected = torch.stack([lens[site].weights()[0] for site in translator.model.alignment_sites()])
        assert together[number].tokens.shape == expected.shape
        torch.testing.assert_close(together[number].tokens, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(
            together[number].words("emitting").sum(-1), torch.ones((*expected.shape[:2], len(split_words(target))))
        )


def test_links_are_those_of_the_chosen_site() -> None:
    translator = made("transformer")
    source, target = ["the cat sleeps"], ["le chat dort ici"]
    ((_, attention),) = translator.attention(source, target)
    for layer, head in ((0, None), (1, 1), ("decoder.0.cross_attention", 0), (-1, 0)):
        number = layer if isinstance(layer, int) else 0
        weights = attention.words("emitting")[number]
        expected = join_links(weights.mean(dim=0) if head is None else weights[head])
        assert translator.align(source, target, layer=layer, head=head) == [expected]


def test_the_site_is_the_runs_unless_named() -> None:
    translator = made("transformer")
    stored = AlignmentSite("decoder.0.cross_attention", 1, "gold", 0.125, "reading")
    translator.site = stored
    assert translator.chosen_site() == stored
    assert translator.chosen_site(head=0) == AlignmentSite("decoder.0.cross_attention", 0, "user", None, "reading")
    assert translator.chosen_site(layer=1) == AlignmentSite("decoder.1.cross_attention", None, "user")
    translator.site = None
    assert translator.chosen_site().layer == "decoder.1.cross_attention"


@pytest.mark.parametrize(
    ("layer", "head", "told"),
    [
        (2, None, "layer must lie between 0 and 1; it is 2."),
        (
            "encoder",
            None,
            "layer 'encoder' is unknown; there are decoder.0.cross_attention, decoder.1.cross_attention.",
        ),
        (0, 2, "head must lie between 0 and 1; it is 2."),
    ],
)
def test_a_site_that_is_not_there_is_refused(layer: Any, head: int | None, told: str) -> None:
    with pytest.raises(OptionError) as raised:
        made("transformer").align(["the"], ["le"], layer=layer, head=head)
    assert str(raised.value) == told


def test_a_model_without_attention_says_so() -> None:
    translator = made("fixed")
    for ask in (lambda: translator.align(["the"], ["le"]), lambda: list(translator.attention(["the"], ["le"]))):
        with pytest.raises(OptionError, match="This model has no attention to its source: its context is fixed"):
            ask()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1; it is 0."),
        ({"max_length": 0}, "max_length must lie between 1 and 344 for this model; it is 0."),
        ({"max_length": 345}, "max_length must lie between 1 and 344 for this model; it is 345."),
    ],
)
def test_options_out_of_range_are_refused(values: dict[str, int], told: str) -> None:
    with pytest.raises(OptionError) as raised:
        made("transformer").translate(["the"], **values)  # type: ignore[arg-type]
    assert str(raised.value) == told


def test_candidates_are_every_layers_mean_and_every_head_at_either_step() -> None:
    translator = made("transformer")
    ((_, attention),) = translator.attention(["the cat"], ["le chat"])
    assert len(translator.candidate_links(attention)) == 2 * 2 * (1 + 2)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("the cat", "must be a list of texts, also of a single one; it is 'the cat'."),
        (None, "must be a list of texts, also of a single one; it is None."),
        (["the cat", 3], "must hold texts; number 1, counted from 0, is 3."),
        (["\ud800"], "must be Unicode; number 0, counted from 0, has half a surrogate pair."),
    ],
)
def test_what_is_no_list_of_texts_is_refused(given: Any, told: str) -> None:
    translator = tiny.translator(tiny.FIXED)
    with pytest.raises(DataError, match=re.escape(f"texts {told}")):
        translator.translate(given)
    for use in (translator.score, translator.align):
        with pytest.raises(DataError, match=re.escape(f"sources {told}")):
            use(given, ["le chat"])
        with pytest.raises(DataError, match=re.escape(f"targets {told}")):
            use(["the cat"], given)


def test_texts_may_be_told_one_by_one() -> None:
    translator = tiny.translator(tiny.FIXED)
    assert translator.translate(iter(TEXTS)) == translator.translate(TEXTS)  # type: ignore[arg-type]
