"""Runs on disk: the round trip, and everything that can be wrong with a folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from regard.data.tokenizers import TokenizerPair
from regard.errors import ConfigError, DamagedError, OptionError, WorkError
from regard.files import digest, encode_json, encode_tensors, read_tensors
from regard.models.catalogue import build_model
from regard.models.transformer import TransformerConfig
from regard.tasks.load import load
from regard.tasks.runs import read_recipe, save_run
from regard.tasks.translator import Translator
from tests.tasks import tiny

FILES = ("config.json", "model.safetensors", "tokenizer.json", "manifest.json")
CONFIGS = {"transformer": tiny.TRANSFORMER, "recurrent": tiny.RECURRENT, "fixed": tiny.FIXED}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def seal(run: Path) -> None:
    """Write the manifest anew: someone means it."""
    names = [name for name in (*FILES[:3], "tokenizer.target.json") if (run / name).exists()]
    entries = {name: {"size": (run / name).stat().st_size, "sha256": digest(run / name)} for name in names}
    (run / "manifest.json").write_bytes(encode_json({"format": 1, "files": entries}))


def change_config(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((run / "config.json").read_bytes())
    change(config)
    (run / "config.json").write_bytes(encode_json(config))
    seal(run)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_saved_is_loaded_to_the_bit(name: str, tmp_path: Path) -> None:
    translator = tiny.translator(CONFIGS[name])
    save_run(tmp_path / "run", translator, CONFIGS[name], {})
    loaded = load(tmp_path / "run")
    assert isinstance(loaded, Translator)
    old, new = dict(translator.model.named_parameters()), dict(loaded.model.named_parameters())
    assert old.keys() == new.keys()
    assert all(torch.equal(old[key], new[key]) for key in old)
    assert (loaded.site, loaded.options, loaded.max_length) == (translator.site, translator.options, 23)
    assert not loaded.model.training
    texts = ["the cat sleeps", "my feet hurt"]
    assert loaded.translate(texts) == translator.translate(texts)


def test_a_tokenizer_a_side_comes_back(tmp_path: Path) -> None:
    shared = tiny.translator()
    pair = TokenizerPair(
        shared.tokenizers.source, type(shared.tokenizers.source).from_json(shared.tokenizers.source.to_json())
    )
    config = TransformerConfig(model_dim=16, num_heads=2, encoder_layers=1, decoder_layers=1, share="none")
    model = build_model(config, source_vocab=pair.source.vocab_size, target_vocab=pair.target.vocab_size)
    save_run(tmp_path / "run", Translator(model, pair), config, {})
    assert (tmp_path / "run" / "tokenizer.target.json").exists()
    assert not load(tmp_path / "run").tokenizers.shared


def test_the_precision_can_be_chosen(whole: Path) -> None:
    translator = load(whole, dtype=torch.bfloat16)
    assert all(parameter.dtype == torch.bfloat16 for parameter in translator.model.parameters())
    assert translator.translate(["the cat"])[0][0].text is not None


@pytest.mark.parametrize("name", FILES[:3])
def test_a_flipped_bit_is_found_and_the_file_named(name: str, run: Path) -> None:
    size = (run / name).stat().st_size
    for place in sorted({0, size // 3, size // 2, size - 1}):
        content = bytearray((run / name).read_bytes())
        content[place] ^= 1 << (place % 8)
        (run / name).write_bytes(content)
        with pytest.raises(DamagedError, match=f"{name} is not the file that was written: its SHA-256 differs"):
            load(run)
        content[place] ^= 1 << (place % 8)
        (run / name).write_bytes(content)
    load(run)


@pytest.mark.parametrize("name", FILES[:3])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_file_cut_short_is_named(name: str, share: float, run: Path) -> None:
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DamagedError, match=f"{name} is not the file that was written"):
        load(run)


def test_files_in_each_others_place_are_named(run: Path, tmp_path: Path) -> None:
    other = tiny.save(tmp_path / "other", seed=2)
    shutil.copy(other / "model.safetensors", run)
    with pytest.raises(DamagedError, match=r"model\.safetensors is not the file that was written"):
        load(run)
    config, tokenizer = (run / "config.json").read_bytes(), (run / "tokenizer.json").read_bytes()
    (run / "config.json").write_bytes(tokenizer)
    (run / "tokenizer.json").write_bytes(config)
    with pytest.raises(DamagedError, match=r"config\.json is not the file that was written"):
        load(run)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(name: str, run: Path) -> None:
    (run / name).unlink()
    told = "holds no finished run" if name == "manifest.json" else f"{name} is missing"
    with pytest.raises(OptionError if name == "manifest.json" else DamagedError, match=told):
        load(run)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_a_files_place_is_refused(name: str, run: Path) -> None:
    (run / name).unlink()
    (run / name).mkdir()
    with pytest.raises((OptionError, WorkError), match=name if name != "manifest.json" else "holds no finished run"):
        load(run)


def test_a_stranger_tokenizer_is_refused(run: Path) -> None:
    shutil.copy(run / "tokenizer.json", run / "tokenizer.target.json")
    with pytest.raises(DamagedError, match=r"tokenizer\.target\.json does not belong to this run"):
        load(run)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"format": 1}',
        b'{"format": 2, "files": {}}',
        b'{"format": 1, "files": {"config.json": {}}}',
        b'{"format": 1, "files": []}',
        b'{"format": 1, "files": {"config.json": 1, "model.safetensors": 2, "tokenizer.json": 3}}',
        b'{"format": 1, "files": {"config.json": {}, "model.safetensors": {}, "tokenizer.json": {}, "../x": {}}}',
        b'{"format": 1, "format": 1}',
        b'{"a":' * 5000,
        b"\xff\xfe",
        b"NaN",
    ],
)
def test_a_manifest_that_is_none_is_refused(content: bytes, run: Path) -> None:
    (run / "manifest.json").write_bytes(content)
    with pytest.raises(DamagedError):
        load(run)


HOSTILE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no model": lambda config: config.pop("model"),
    "a model of another kind": lambda config: config["model"].update(kind="os.system"),
    "no kind": lambda config: config["model"].pop("kind"),
    "an unknown value": lambda config: config["model"].update(shell="rm"),
    "text for a number": lambda config: config["model"].update(model_dim="wide"),
    "a negative width": lambda config: config["model"].update(model_dim=-16),
    "no heads": lambda config: config["model"].update(num_heads=0),
    "heads that do not divide": lambda config: config["model"].update(num_heads=3),
    "a list": lambda config: config.update(model=[1]),
    "another vocabulary": lambda config: config.update(source_vocab=7),
    "vocabulary as text": lambda config: config.update(target_vocab="many"),
    "a vocabulary that is a list": lambda config: config.update(target_vocab=[]),
    "an alignment that is text": lambda config: config.update(alignment="first"),
    "an alignment with more": lambda config: config["alignment"].update(more=1),
    "an alignment at no layer": lambda config: config["alignment"].update(layer="decoder.9"),
    "an alignment at a head that is text": lambda config: config["alignment"].update(head="one"),
    "an alignment at a step that is none": lambda config: config["alignment"].update(step="later"),
    "no beams": lambda config: config["decoding"].update(beams=0),
    "beams as text": lambda config: config["decoding"].update(beams="many"),
    "decoding with more": lambda config: config["decoding"].update(run="x"),
    "no greatest length": lambda config: config.pop("max_length"),
    "a greatest length of zero": lambda config: config.update(max_length=0),
    "another format": lambda config: config.update(format=2),
    "more layers than weights": lambda config: config["model"].update(decoder_layers=3),
    "a layer that is too many": lambda config: config["model"].update(decoder_layers=1),
    "another width": lambda config: config["model"].update(feed_forward_dim=25),
    "a huge width": lambda config: config["model"].update(feed_forward_dim=10**12),
    "a width that overflows": lambda config: config["model"].update(model_dim=10**12),
    "a training that is a number": lambda config: config.update(training=5),
    "huge depth": lambda config: config["model"].update(encoder_layers=10**9),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_config_that_describes_something_else_is_refused(name: str, run: Path) -> None:
    change_config(run, HOSTILE[name])
    with pytest.raises(DamagedError):
        load(run)


@pytest.mark.parametrize("change", ["missing", "unknown", "misshapen", "none"])
def test_weights_that_do_not_fit_are_named_all_at_once(change: str, run: Path) -> None:
    path = run / "model.safetensors"
    tensors = read_tensors(path)
    first, second = list(tensors)[:2]
    if change == "missing":
        tensors.pop(first), tensors.pop(second)
    elif change == "unknown":
        tensors |= {"../../escape": torch.zeros(2), "more": torch.zeros(1)}
    elif change == "misshapen":
        tensors |= {first: torch.zeros(2, 3), second: torch.zeros(1)}
    else:
        tensors = {}
    path.write_bytes(encode_tensors(tensors, {"format": "pt"}))
    seal(run)
    with pytest.raises(DamagedError, match=r"does not fit the model that config\.json describes") as raised:
        load(run)
    told = {
        "missing": [f"{first} is missing", f"{second} is missing"],
        "unknown": ["../../escape is unknown", "more is unknown"],
        "misshapen": [f"{first} has shape [2, 3], the model has", f"{second} has shape [1], the model has"],
        "none": [f"{first} is missing"],
    }
    assert all(text in str(raised.value) for text in told[change])


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04.", b"PK\x03\x04", b"\xff" * 64, b"\x08" + b"\x00" * 7 + b"{}      "]
)
def test_weights_that_are_no_safetensors_are_refused(content: bytes, run: Path) -> None:
    (run / "model.safetensors").write_bytes(content)
    seal(run)
    with pytest.raises(DamagedError):
        load(run)


def test_weights_that_are_not_numbers_are_refused(run: Path) -> None:
    path = run / "model.safetensors"
    tensors = read_tensors(path)
    name = next(iter(tensors))
    tensors[name] = torch.full_like(tensors[name], torch.nan)
    path.write_bytes(encode_tensors(tensors, {"format": "pt"}))
    seal(run)
    with pytest.raises(DamagedError, match=f"{name} holds numbers that are not finite"):
        load(run)


@pytest.mark.parametrize("kind", [torch.int32, torch.complex64, torch.float8_e4m3fn])
def test_weights_of_another_type_are_refused(kind: torch.dtype, run: Path) -> None:
    """Whole numbers were taken for weights; to ask whether numbers of 8 bits are finite failed."""
    path = run / "model.safetensors"
    tensors = read_tensors(path)
    name = next(iter(tensors))
    tensors[name] = tensors[name].to(kind)
    path.write_bytes(encode_tensors(tensors, {"format": "pt"}))
    seal(run)
    with pytest.raises(DamagedError, match=f"{name} holds numbers of type {str(kind).removeprefix('torch.')}"):
        load(run)


def test_a_place_without_a_run_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(OptionError, match=r"holds no finished run\. A run is a folder that"):
            load(place)
    (tmp_path / "train.toml").write_text("", encoding="utf-8")
    with pytest.raises(OptionError, match="its training has not finished: continue it with --resume"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("files = 5\n", "files is 5 where a table is needed"),
        ("model = true\ndata = 3\n", "model is True where a table is needed"),
        ("[files]\nsrc = 5\n", "files.src is 5, not text"),
    ],
)
def test_a_recipe_with_single_values_for_tables_is_refused(written: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "train.toml").write_text(written, encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"^{tmp_path / 'train.toml'}: {told}\."):
        read_recipe(tmp_path)
