"""Recipes: where values come from, and every fault at once."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from regard.errors import ConfigError, OptionError
from regard.models.catalogue import build_model
from regard.models.recurrent import RecurrentConfig
from regard.models.transformer import TransformerConfig
from regard.tasks.recipe import (
    as_values,
    build_recipe,
    flat,
    merged,
    nested,
    overrides,
    preset,
    preset_names,
    read_toml,
)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_builds_its_model(name: str) -> None:
    recipe = build_recipe(preset(name))
    model = build_model(recipe.model, source_vocab=263, target_vocab=263)
    assert sum(parameter.numel() for parameter in model.parameters()) > 0
    assert recipe.average <= recipe.training.keep


@pytest.mark.parametrize("name", ["transformer-tiny", "gru-attention", "gru-fixed"])
def test_presets_for_raw_text_take_either_kind_of_tokenizer(name: str) -> None:
    recipe = build_recipe(merged(preset(name), {"tokenizer": {"kind": "unigram"}}))
    assert recipe.tokenizer.kind == "unigram"


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_opens_with_its_command(name: str) -> None:
    path = Path(__file__).parents[2] / "src" / "regard" / "presets" / f"{name}.toml"
    head = path.read_text(encoding="utf-8").split("\n\n")[0]
    assert all(line.startswith("#") for line in head.split("\n"))
    assert f"regard train --preset {name}" in head or f"regard {name}" in head


def test_an_unknown_preset_is_refused_with_what_was_meant() -> None:
    with pytest.raises(OptionError) as raised:
        preset("transformer-tyni")
    names = ", ".join(preset_names())
    assert str(raised.value) == (
        f"preset 'transformer-tyni' is unknown: did you mean transformer-tiny? There are {names}."
    )


def test_nothing_given_is_a_recipe() -> None:
    recipe = build_recipe({})
    assert isinstance(recipe.model, TransformerConfig)
    assert recipe.seed == 1


@pytest.mark.parametrize("name", preset_names())
def test_a_recipe_survives_its_file(name: str) -> None:
    recipe = build_recipe(preset(name))
    text = tomli_w.dumps(as_values(recipe))
    assert build_recipe(tomllib.loads(text)) == recipe


def test_options_are_toml_where_they_read_as_toml_else_text() -> None:
    given = overrides(
        [
            "model.num-layers=4",
            "label_smoothing=0.5",
            "tokenizer.shared=false",
            "model.norm=pre",
            "a.b.c=[1, 2]",
            "d=x=y",
        ]
    )
    assert given == {
        "model": {"num_layers": 4, "norm": "pre"},
        "label_smoothing": 0.5,
        "tokenizer": {"shared": False},
        "a": {"b": {"c": [1, 2]}},
        "d": "x=y",
    }


def test_the_later_option_wins_and_one_without_value_is_refused() -> None:
    assert overrides(["a.b=1", "a.c=2", "a.b=3"]) == {"a": {"b": 3, "c": 2}}
    with pytest.raises(OptionError, match=r"--seed has no value; write --seed=VALUE\."):
        overrides(["seed"])


@pytest.mark.parametrize("option", ["=5", "model.=3", ".dropout=3", "a..b=5"])
def test_an_option_that_names_nothing_is_refused(option: str) -> None:
    with pytest.raises(OptionError, match=rf"^--{re.escape(option)} names no value of a recipe; write --NAME=VALUE"):
        overrides([option])


def test_a_model_of_another_kind_replaces_the_whole_model() -> None:
    below = {"model": {"kind": "transformer", "num_heads": 4}, "data": {"workers": 1}}
    above = {"model": {"kind": "recurrent", "cell": "lstm"}, "data": {"max_length": 9}}
    assert merged(below, above) == {
        "model": {"kind": "recurrent", "cell": "lstm"},
        "data": {"workers": 1, "max_length": 9},
    }
    assert merged(below, {"model": {"num_heads": 2}})["model"] == {"kind": "transformer", "num_heads": 2}
    assert isinstance(build_recipe(above).model, RecurrentConfig)
    assert below["model"] == {"kind": "transformer", "num_heads": 4}, "what is below stays as it is"


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        build_recipe(
            {
                "model": {"kind": "transformer", "model_dmi": 128, "num_heads": "four", "norm": "sideways"},
                "tokenizer": {"vocab_sise": 100},
                "training": {"max_updates": 10, "keep": 0},
                "lable_smoothing": 0.1,
                "data": {"workers": "many"},
            }
        )
    faults = raised.value.faults
    for told in (
        "model.model_dmi is unknown: did you mean model_dim?",
        "tokenizer.vocab_sise is unknown: did you mean vocab_size?",
        "lable_smoothing is unknown: did you mean label_smoothing?",
        "model.num_heads: ",
        "model.norm: ",
        "data.workers: ",
        "training: keep (0) must be greater than 0.",
    ):
        assert any(fault.startswith(told) for fault in faults), (told, faults)
    assert len(faults) == 7


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"label_smoothing": 1.0}, "label_smoothing must lie between 0 and below 1; it is 1.0."),
        ({"average": 0}, "average must be at least 1; it is 0."),
        ({"average": 7, "training": {"max_updates": 9}}, "average (7) checkpoints cannot be averaged"),
        ({"data": {"batch_tokens": 0}}, "data.batch_tokens must be at least 1; it is 0."),
        ({"data": {"max_length": -1}}, "data.max_length must be at least 1; it is -1."),
        ({"decoding": {"beams": 0}}, "decoding.beams must be at least 1; it is 0."),
        ({"tokenizer": {"shared": False}}, "model.share is 'all', which needs one vocabulary for both sides"),
        ({"model": {"kind": "perceptron"}}, "perceptron"),
        ({"model": 3}, "model"),
        ({"precision": "half"}, "precision"),
        ({"schedule": {"kind": "square"}}, "schedule.kind: input should be 'inverse-square-root'"),
        ({"model": {"dropout": 2}}, "model: dropout must be at least 0 and below 1; it is 2.0."),
        ({"model": {"num_heads": 3}}, "model: model_dim (128) must be a multiple of num_heads (3)"),
        ({"model": {"model_dim": 10**12}}, "model: no machine can hold a model of these sizes"),
        ({"model": {"decoder_layers": 10**9}}, "may have 1,000 layers; 1,000,000,000 are asked for."),
        ({"model": {"kind": "recurrent", "window": "local_m"}}, "model: window='local_m' needs attention='luong'"),
        ({"data": {"subword_dropout": 1}}, "data.subword_dropout must lie between 0 and below 1; it is 1.0."),
        (
            {"data": {"subword_dropout": 0.1}, "tokenizer": {"kind": "unigram"}},
            "data.subword_dropout (0.1) leaves out merges, which a tokenizer of kind 'unigram' has not.",
        ),
        ({"optimizer": {"beta1": 2, "clip_norm": -1}}, "optimizer: beta (2.0) must be at least 0 and below 1."),
        ({"decoding": {"length_penalty": -1}}, "decoding: length_penalty must lie between 0 and 10; it is -1.0."),
        ({"decoding": {"length_penalty": 200}}, "decoding: length_penalty must lie between 0 and 10; it is 200.0."),
        (
            {"training": {"max_updates": None, "patience": 2}, "schedule": {"kind": "cosine"}},
            "training: The cosine schedule falls until the training ends, and patience does not say when",
        ),
        (
            {"training": {"max_updates": 9, "select_by": "blue"}},
            "training.select_by must be loss, perplexity, accuracy, bleu, chrf; it is 'blue'.",
        ),
        ({"training": {"max_updates": None}}, "has no end: give max_updates, max_minutes or patience."),
    ],
)  # fmt: skip
def test_a_contradiction_is_told(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        build_recipe(values)
    assert told in str(raised.value)


def test_a_boolean_is_no_number_anywhere_in_a_recipe() -> None:
    """It would count as 1, and the file that is written would say so."""
    checked = 0
    for kind in ("transformer", "recurrent"):
        plain = as_values(build_recipe({"model": {"kind": kind}}))
        optional = {
            "schedule.total": 1,
            "training.max_minutes": 1,
            "training.patience": 1,
            "training.validate_every": 1,
        }
        for place, number in {**flat(plain), **optional}.items():
            if type(number) in (int, float):
                told = f"(?m)^{re.escape(place)} must be a number; it is (true|false)\\.$"
                for given in (True, False):
                    with pytest.raises(ConfigError, match=told):
                        build_recipe(merged({"model": {"kind": kind}}, nested(place.split("."), given)))
                checked += 1
    assert checked > 60
    with pytest.raises(ConfigError, match=r"^seed must be a number; it is true\.$"):
        build_recipe(overrides(["seed=true"]))
    assert build_recipe({"tokenizer": {"lowercase": True}}).tokenizer.lowercase


def test_a_file_that_is_no_toml_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"[model]\nnum_heads = \n")
    with pytest.raises(ConfigError, match=r"recipe\.toml is no TOML: .*line 2"):
        read_toml(path)
    path.write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match=r"recipe\.toml is no TOML"):
        read_toml(path)
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        read_toml(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_toml(tmp_path)


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("seed", -1, "seed must be at least 0; it is -1."),
        ("seed", 2**63, f"seed must be at most 9,223,372,036,854,775,807; it is {2**63}."),
        ("data.workers", -1, "data.workers must be at least 0; it is -1."),
        ("data.workers", 65, "data.workers must be at most 64; it is 65."),
        ("data.batch_tokens", 1_000_000_001, "data.batch_tokens must be at most 1,000,000,000; it is 1000000001."),
        ("decoding.beams", 1_001, "decoding.beams must be at most 1,000; it is 1001."),
        ("average", 1_001, "average must be at most 1,000; it is 1001."),
    ],
)
def test_numbers_that_no_machine_can_serve_are_refused(place: str, value: int, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        build_recipe(overrides([f"{place}={value}"]))
    assert told in raised.value.faults


def test_a_file_too_large_for_a_recipe_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    for content in ("#\n" * 40_000, "#" * 5_001):
        path.write_text(content)
        with pytest.raises(ConfigError, match=r"no recipe: it may have 65,536 bytes, and 5,000 of them in a line\.$"):
            read_toml(path)


def test_an_option_deeper_than_any_value_is_refused() -> None:
    with pytest.raises(OptionError, match=r"^--a\.a.*\.\.\. is unknown: no value of a recipe lies so deep\.$"):
        overrides([".".join("a" * 20_000) + "=1"])
