from pathlib import Path

import pytest

from regard.errors import ConfigError, OptionError
from regard.experiments.entries import Budget, Entry, build_entries, with_seed

SMALL = 'seed = 3\n[model]\nkind = "recurrent"\nhidden_dim = 16\n[training]\nmax_updates = 7\npatience = 2\n'


def built(
    *configs: str, budget: Budget | None = None, said: list[str] | None = None, **settings: object
) -> list[Entry]:
    told: list[str] = [] if said is None else said
    return build_entries(configs, budget=budget or Budget(), settings=settings, say=told.append)


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "small.toml").write_text(SMALL)
    return str(tmp_path / "small.toml")


def test_presets_and_files_are_named_after_themselves(file: str) -> None:
    entries = built("gru-fixed", file, "gru-attention")
    assert [entry.name for entry in entries] == ["gru-fixed", "small", "gru-attention"]
    assert entries[0].recipe.model.attention == "none"  # type: ignore[union-attr]
    assert entries[2].recipe.model.attention == "bahdanau"  # type: ignore[union-attr]
    assert entries[1].recipe.model.hidden_dim == 16  # type: ignore[union-attr]


def test_settings_are_laid_over_every_recipe(file: str) -> None:
    entries = built("gru-fixed", file, model={"model_dim": 32}, precision="float32")
    assert [entry.recipe.model.model_dim for entry in entries] == [32, 32]
    assert {entry.recipe.precision for entry in entries} == {"float32"}


def test_the_budget_is_the_only_end_of_every_training(file: str) -> None:
    for entry in built("gru-fixed", file, budget=Budget(minutes=2.5)):
        training = entry.recipe.training
        assert (training.max_minutes, training.max_updates, training.patience) == (2.5, None, None)
    for entry in built("gru-fixed", file, budget=Budget(updates=11), schedule={"warmup": 3, "total": 97}):
        training = entry.recipe.training
        assert entry.recipe.schedule.total is None, "it ends with the training"
        assert (training.max_minutes, training.max_updates, training.patience) == (None, 11, None)
        assert training.log_every == 11


def test_without_a_budget_each_recipe_keeps_its_ends(file: str) -> None:
    (entry,) = built(file)
    assert (entry.recipe.training.max_updates, entry.recipe.training.patience) == (7, 2)
    assert [str(Budget()), str(Budget(updates=1200)), str(Budget(minutes=1.5))] == [
        "as each recipe says",
        "1,200 updates",
        "1.5 minutes",
    ]


def test_all_models_get_the_tokenizer_settings_of_the_first_and_that_is_said(file: str) -> None:
    said: list[str] = []
    entries = built("gru-fixed", file, said=said)
    assert [entry.recipe.tokenizer.vocab_size for entry in entries] == [10000, 10000]
    assert said == ["All models get the tokenizer settings of gru-fixed; small had others."]
    said.clear()
    built("gru-fixed", "gru-attention", said=said)
    assert said == []


def test_seeds_count_up_from_that_of_the_recipe(file: str) -> None:
    (entry,) = built(file)
    assert [with_seed(entry.recipe, number).seed for number in range(3)] == [3, 4, 5]


def test_two_budgets_are_refused_and_so_is_none_at_all() -> None:
    with pytest.raises(OptionError, match="--updates and --minutes are both given: choose one"):
        Budget(updates=3, minutes=2.0)
    with pytest.raises(OptionError, match=r"--updates must be greater than 0; it is 0\."):
        Budget(updates=0)
    with pytest.raises(OptionError, match=r"--minutes must be greater than 0; it is inf\."):
        Budget(minutes=float("inf"))


def test_a_name_that_is_no_preset_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        OptionError, match=r"gru-atention is neither a preset: did you mean gru-attention.* nor a TOML file"
    ):
        built("gru-atention")
    with pytest.raises(OptionError, match=r"There is nothing to compare: name presets .*gru-fixed"):
        built()


def test_two_models_of_one_name_are_refused(tmp_path: Path, file: str) -> None:
    with pytest.raises(OptionError, match="Two models are named gru-fixed"):
        built("gru-fixed", "gru-fixed")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "small.toml").write_text(SMALL)
    with pytest.raises(OptionError, match=r"Two models are named small.*other/small\.toml"):
        built(file, str(tmp_path / "other" / "small.toml"))


def test_faults_of_all_recipes_are_told_at_once_with_their_models(tmp_path: Path, file: str) -> None:
    (tmp_path / "wrong.toml").write_text('label_smoothin = 0.1\n[model]\nkind = "recurrent"\n')
    with pytest.raises(ConfigError) as caught:
        built(file, str(tmp_path / "wrong.toml"), average=0)
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["small", "wrong", "wrong"]
    assert any("label_smoothin is unknown: did you mean label_smoothing?" in fault for fault in caught.value.faults)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read: No such file"):
        built(str(tmp_path / "none.toml"))
