"""`regard look`."""

from pathlib import Path

import pytest

from regard.tasks.load import load
from tests.cli.conftest import Regard

PAIR = ("the cat sleeps", "--target", "le chat dort")


def test_the_terminal_shows_the_map_the_translation_and_its_log_probability(run_folder: Path, regard: Regard) -> None:
    outcome = regard("look", run_folder, *PAIR)
    score = load(run_folder).score([PAIR[0]], [PAIR[2]])[0]
    text = outcome.out.decode()
    assert outcome.status == 0
    assert "the cat sleeps → le chat dort" in text
    assert "decoder.1.cross_attention, mean over heads, emitting step" in text
    assert "change of the output: most attended token erased" in text
    assert text.endswith(f"\nle chat dort\nlog-probability {score:.6f}\n")
    assert "change of the output" not in regard("look", run_folder, *PAIR, "--without-belief").out.decode()


def test_without_a_target_the_runs_own_translation_is_looked_at(run_folder: Path, regard: Regard) -> None:
    translation = regard("translate", run_folder, stdin=b"the cat").lines[0]
    assert regard("look", run_folder, "the cat").lines[-2] == translation


def test_layer_and_head_can_be_chosen(run_folder: Path, regard: Regard) -> None:
    text = regard("look", run_folder, *PAIR, "--layer", "0", "--head", "1").out.decode()
    assert "decoder.0.cross_attention, head 1, emitting step (by user)" in text


def test_steps_show_every_token_with_candidates(run_folder: Path, regard: Regard) -> None:
    text = regard("look", run_folder, *PAIR, "--steps").out.decode()
    tokens = len(load(run_folder).tokenizers.target.encode(PAIR[2]).ids) + 1
    assert text.count("share of the context") == text.count("best: ") == tokens
    assert "step 1: " in text
    assert f"step {tokens}: " in text


def test_a_picture_and_a_page_are_written(
    run_folder: Path, recurrent_run: Path, regard: Regard, tmp_path: Path
) -> None:
    for number, run in enumerate((run_folder, recurrent_run)):
        png, page = tmp_path / f"{number}.png", tmp_path / f"{number}.html"
        outcome = regard("look", run, *PAIR, "--png", png, "--html", page, "--steps")
        assert outcome.err == f"The picture is in {png}.\nThe page is in {page}.\n"
        assert png.read_bytes().startswith(b"\x89PNG")
        assert "Content-Security-Policy" in page.read_text(encoding="utf-8")


def test_the_page_is_written_though_printing_is_broken_off(
    run_folder: Path, regard: Regard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_off(*parts: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rich.console.Console.print", broken_off)
    page = tmp_path / "map.html"
    assert regard("look", run_folder, *PAIR, "--html", page).status == 130
    assert "Content-Security-Policy" in page.read_text(encoding="utf-8")


def test_characters_that_act_on_a_terminal_are_shown_by_signs(run_folder: Path, regard: Regard) -> None:
    outcome = regard("look", run_folder, "a cat", "--target", "un \x1b[31mchat\x07 \u202ebla")
    assert outcome.status == 0
    assert "un ⟨1B⟩[31mchat⟨07⟩ ⟨202E⟩bla" in outcome.lines
    assert not any(sign in line for line in outcome.lines for sign in "\x1b\x07\u202e")


@pytest.mark.parametrize("markup", ["[red]red[/red]", "<b>bold</b>", "[/]", ":smile:"])
def test_markup_in_the_text_stays_text(markup: str, run_folder: Path, regard: Regard) -> None:
    outcome = regard("look", run_folder, markup, "--target", markup)
    assert outcome.status == 0
    assert markup in outcome.lines


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "There is nothing to look at: the text is empty."),
        ("  ", "There is nothing to look at: the text is empty."),
        ("a\nb", "TEXT has several lines; look at one sentence at a time."),
        ("a\udcffb", "TEXT is not UTF-8 at character 2."),
        ("the cat sleeps " * 20, "tokens and the model reads 23 at once. Look at a part of it."),
    ],
)
def test_a_text_that_cannot_be_looked_at_is_refused(text: str, told: str, run_folder: Path, regard: Regard) -> None:
    outcome = regard("look", run_folder, text)
    assert (outcome.status, outcome.out) == (2, b"")
    assert told in outcome.err


def test_a_model_without_attention_is_refused(fixed_run: Path, regard: Regard) -> None:
    outcome = regard("look", fixed_run, "the cat")
    assert (outcome.status, outcome.out) == (2, b"")
    assert "has no attention to its source" in outcome.err


def test_a_picture_that_cannot_be_written_ends_with_1(run_folder: Path, regard: Regard, tmp_path: Path) -> None:
    outcome = regard("look", run_folder, *PAIR, "--png", tmp_path / "no" / "map.png")
    assert outcome.status == 1
    assert "Cannot write" in outcome.err
    assert "Make the folder first" in outcome.err


def test_a_folder_of_a_hugging_face_model_is_shown_with_all_its_heads(regard: Regard, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed: pip install '.[conformance]'")
    from tests.tasks import pretrained

    folder, page, png = pretrained.save_bert(tmp_path / "bert"), tmp_path / "page.html", tmp_path / "map.png"
    outcome = regard("look", folder, "my feet hurt", "--layer", "1", "--head", "2", "--html", page, "--png", png)
    assert outcome.status == 0
    assert "encoder.layer.1.attention.self, head 2" in outcome.out.decode()
    assert "change of the output" in outcome.out.decode()
    assert outcome.err.endswith(f"The picture is in {png}.\nThe page is in {page}.\n")
    assert "Content-Security-Policy" in page.read_text(encoding="utf-8")
    assert png.read_bytes().startswith(b"\x89PNG")
    refused = regard("look", folder, "my feet hurt", "--steps")
    assert refused.status == 2
    assert "--steps is for runs of regard" in refused.err
