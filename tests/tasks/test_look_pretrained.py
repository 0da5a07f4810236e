"""Models of transformers, tiny and random, made here and read as anyone's folder is."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch

from regard.errors import OptionError
from regard.inspection.pictures.atlas_page import pack
from regard.tasks.look_pretrained import is_pretrained, look_pretrained

transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install '.[conformance]'")
from tests.tasks import pretrained  # noqa: E402 - it needs transformers

TEXT = "my feet hurt and the cat sleeps"


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained.save_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained.save_bart(tmp_path_factory.mktemp("bart"))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained.save_gpt2(tmp_path_factory.mktemp("gpt2"))


def test_every_head_of_an_encoder_is_that_of_its_eager_run(bert: Path) -> None:
    seen = look_pretrained(bert, TEXT, layer="1", head=2)
    model = transformers.AutoModel.from_pretrained(bert, attn_implementation="eager").eval()
    inputs = transformers.AutoTokenizer.from_pretrained(bert)(TEXT, return_tensors="pt")
    with torch.no_grad():
        eager = model(**inputs, output_attentions=True).attentions
    (one,) = seen.panels
    assert list(one.rows.tokens) == ["[CLS]", *TEXT.replace("sleeps", "sleep s").split(), "[SEP]"]
    assert len(one.charts) == 6
    for place, chart in enumerate(one.charts):
        assert chart.weights is not None
        best = eager[place // 3][0, place % 3].topk(chart.weights.shape[1], dim=-1).values
        assert torch.allclose(torch.tensor(chart.weights.astype(float) / 65535).float(), best, atol=1e-4)
    assert seen.map.columns == ("[CLS]", *TEXT.split(), "[SEP]")
    cat = eager[1][0, 2, 6]
    expected = torch.cat([cat[:7], (cat[7] + cat[8])[None], cat[9:]])
    assert torch.allclose(torch.tensor(seen.map.values[6]).float(), expected, atol=1e-5)
    assert seen.map.note.endswith(", head 2")
    assert seen.output is None


def test_a_character_of_several_tokens_is_shown_once_in_its_word_and_as_bytes_by_token(gpt2: Path) -> None:
    seen = look_pretrained(gpt2, "the 日本 x🙂")
    (one,) = seen.panels
    pieces = ["<0xE6><0x97>", "<0xA5>", "<0xE6>", "<0x9C>", "<0xAC>"]
    smile = [f"<0x{byte:02X}>" for byte in "🙂".encode()]
    assert list(one.rows.tokens) == ["the", *pieces, "Ġ", "x", *smile]  # 262 pieces have none for the blank and 日
    assert seen.map.rows == seen.map.columns == ("the", "日本", "x", "🙂")


def test_texts_from_right_to_left_are_known_by_their_words_where_tokens_are_bytes(gpt2: Path) -> None:
    packed = pack(look_pretrained(gpt2, "قد").panels, title="x")
    assert packed.header["panels"][0]["rows"]["rtl"]
    assert packed.header["panels"][0]["rows"]["spelled"] == ["قد"]


def test_belief_is_measured_of_the_head_that_is_shown(bert: Path, bart: Path) -> None:
    for folder, target in ((bert, None), (bart, "j'ai mal aux pieds")):
        seen = look_pretrained(folder, TEXT, target, layer="1", head=2, belief=True)
        assert seen.belief is not None
        assert seen.belief.heads == (2,)
        assert seen.belief.erased_most > 0
        assert seen.map.belief == str(seen.belief)
        told = {(chart.layer, chart.head): chart.belief for chart in seen.panels[-1].charts if chart.belief}
        assert told == {(seen.belief.site, 2): str(seen.belief)}


def test_an_encoder_decoder_has_three_panels_and_a_given_output(bart: Path) -> None:
    seen = look_pretrained(bart, TEXT, "j'ai mal aux pieds")
    assert [one.name for one in seen.panels] == ["encoder", "decoder", "decoder to encoder"]
    encoder, decoder, cross = seen.panels
    assert len(encoder.charts) == len(decoder.charts) == len(cross.charts) == 6
    assert list(cross.columns.tokens) == list(encoder.rows.tokens)
    assert list(cross.rows.tokens)[:3] == ["[SEP]", "[CLS]", "j'ai"]
    assert all("encoder_attn" in chart.layer for chart in cross.charts)
    assert seen.output == "j'ai mal aux pieds"


def test_without_an_output_the_models_own_is_looked_at(bart: Path) -> None:
    seen = look_pretrained(bart, TEXT)
    assert seen.output is not None
    assert len(seen.panels[1].rows.tokens) >= 1


def test_only_models_of_other_makers_are_theirs(bert: Path, tmp_path: Path) -> None:
    assert is_pretrained(bert)
    assert not is_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        (" ", {}, "There is nothing to look at: the text is empty"),
        ("my " * 30, {}, "The text has 32 tokens and the model reads 23 at once"),
        (TEXT, {"target": "x"}, "A target is for models that make another text; bert only reads one"),
        (TEXT, {"layer": "7"}, "There is no layer '7' with head None"),
        (TEXT, {"head": 3}, "heads go from 0 to 2"),
    ],
)
def test_what_cannot_be_shown_is_refused(bert: Path, text: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError, match=told.replace("[", r"\[")):
        look_pretrained(bert, text, **options)


def test_a_folder_without_weights_is_refused_with_its_name(bert: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((bert / "config.json").read_bytes())
    with pytest.raises(OptionError, match="cannot be loaded by transformers"):
        look_pretrained(tmp_path, TEXT)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("model.safetensors", b"", "cannot be loaded by transformers: Error while deserializing header"),
        ("config.json", {"hidden_size": 66}, "cannot be loaded by transformers: "),
        ("config.json", {"hidden_size": "x"}, "cannot be loaded by transformers: "),
        ("config.json", {"num_hidden_layers": 3}, r"lacks weights of its model.*encoder\.layer\.2\..* and 13 more"),
        ("tokenizer.json", None, "has no vocabulary"),
    ],
)
def test_a_damaged_folder_is_refused_with_its_name(
    bert: Path, tmp_path: Path, name: str, content: bytes | dict[str, Any] | None, told: str
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(bert, folder)
    if content is None:
        for path in folder.glob("tokenizer*"):
            path.unlink()
    elif isinstance(content, bytes):
        (folder / name).write_bytes(content)
    else:
        (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | content))
    with pytest.raises(OptionError, match=told) as fault:
        look_pretrained(folder, TEXT)
    assert str(folder) in str(fault.value)


def test_a_text_that_the_tokenizer_cannot_read_is_refused(bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "words"
    shutil.copytree(bert, folder)
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"my": 0, "[PAD]": 1}))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]").save_pretrained(folder)
    with pytest.raises(OptionError, match=r"tokenizer cannot read the text: .*UNK"):
        look_pretrained(folder, "my zebra")
