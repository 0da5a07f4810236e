import dataclasses
import struct
from pathlib import Path

import matplotlib as mpl

from regard.experiments.comparison import Comparison
from regard.experiments.comparison_figure import save_figure, validation_score
from regard.experiments.trials import Validation


def size(path: Path) -> tuple[int, int]:
    written = path.read_bytes()
    assert written.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", written[16:24])
    return int(width), int(height)


def with_validations(comparison: Comparison, validations: list[Validation]) -> Comparison:
    models = [
        dataclasses.replace(
            model, trials=[dataclasses.replace(trial, validations=validations) for trial in model.trials]
        )
        for model in comparison.models
    ]
    return dataclasses.replace(comparison, models=models)


def test_the_picture_has_a_panel_for_length_and_one_for_training(comparison: Comparison, tmp_path: Path) -> None:
    save_figure(comparison, tmp_path / "both.png")
    assert size(tmp_path / "both.png") == (1650, 675)
    save_figure(with_validations(comparison, []), tmp_path / "lengths.png")
    assert size(tmp_path / "lengths.png") == (900, 675)


def test_the_same_comparison_gives_the_same_bytes_in_any_style(comparison: Comparison, tmp_path: Path) -> None:
    save_figure(comparison, tmp_path / "one.png")
    with mpl.rc_context({"font.size": 31.0, "lines.linewidth": 17.0}):
        save_figure(comparison, tmp_path / "other.png")
        assert mpl.rcParams["font.size"] == 31.0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()


def test_a_decoded_score_is_drawn_before_the_loss_where_all_have_it(comparison: Comparison) -> None:
    assert validation_score(comparison) == "loss"
    assert validation_score(with_validations(comparison, [Validation(1.0, {"loss": 2.0, "bleu": 3.0})])) == "bleu"
    some = [Validation(1.0, {"loss": 2.0, "bleu": 3.0}), Validation(2.0, {"loss": 1.0})]
    assert validation_score(with_validations(comparison, some)) == "loss"
    assert validation_score(with_validations(comparison, [])) is None


def test_a_name_with_signs_of_a_formula_is_drawn_as_it_is(comparison: Comparison, tmp_path: Path) -> None:
    models = [
        dataclasses.replace(model, name=name) for model, name in zip(comparison.models, ("_a$", "$b"), strict=True)
    ]
    save_figure(dataclasses.replace(comparison, models=models), tmp_path / "odd.png")
    assert size(tmp_path / "odd.png") == (1650, 675)
