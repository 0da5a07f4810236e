"""`regard align`."""

import json
from pathlib import Path

import pytest

from regard.inspection.alignments.links import SYMMETRIZATIONS, parse_pharaoh, swap, symmetrize
from tests.cli.conftest import Regard


def links_of(lines: list[str]) -> list[frozenset[tuple[int, int]]]:
    return [parse_pharaoh(line).sure for line in lines]


def test_each_pair_gets_a_line_of_links_within_its_words(
    run_folder: Path, pair: tuple[Path, Path], regard: Regard
) -> None:
    first, second, third = links_of(regard("align", run_folder, "--src", pair[0], "--tgt", pair[1]).lines)
    assert second == frozenset()
    for links, sizes in ((first, (3, 3)), (third, (3, 4))):
        assert links
        assert all(source < sizes[0] and target < sizes[1] for source, target in links)


def test_two_directions_are_joined(
    run_folder: Path, recurrent_run: Path, pair: tuple[Path, Path], regard: Regard
) -> None:
    forward = links_of(regard("align", run_folder, "--src", pair[0], "--tgt", pair[1]).lines)
    back = links_of(regard("align", recurrent_run, "--src", pair[1], "--tgt", pair[0]).lines)
    for method in (None, *SYMMETRIZATIONS):
        chosen = () if method is None else ("--symmetrize", method)
        command = ("align", run_folder, "--src", pair[0], "--tgt", pair[1], "--reverse", recurrent_run, *chosen)
        joined = [symmetrize(f, swap(b), method or "grow-diag-final-and") for f, b in zip(forward, back, strict=True)]
        assert links_of(regard(*command).lines) == joined


def test_batch_size_and_output_change_no_link(
    run_folder: Path, pair: tuple[Path, Path], regard: Regard, tmp_path: Path
) -> None:
    command = ("align", run_folder, "--src", pair[0], "--tgt", pair[1])
    expected = regard(*command).out
    assert regard(*command, "--batch-size", 1).out == expected
    assert regard(*command, "-o", tmp_path / "links").out == b""
    assert (tmp_path / "links").read_bytes() == expected


def test_a_model_without_attention_is_refused(
    fixed_run: Path, run_folder: Path, pair: tuple[Path, Path], regard: Regard
) -> None:
    files = ("--src", pair[0], "--tgt", pair[1])
    for command in (("align", fixed_run, *files), ("align", run_folder, *files, "--reverse", fixed_run)):
        outcome = regard(*command)
        assert (outcome.status, outcome.out) == (2, b"")
        assert "This model has no attention to its source" in outcome.err


@pytest.fixture
def hansards(tmp_path: Path) -> Path:
    """Links of two directions and gold, all counted from 1, as Hansards' are."""
    (tmp_path / "forward").write_bytes(b"1-1 2-3\n1-1 2-2\n")
    (tmp_path / "reverse").write_bytes(b"1-1 3-2 2-2\n1-1\n")  # target-source
    (tmp_path / "gold").write_bytes(b"1-1 2?2 2-3\n1-1\n")
    return tmp_path


def test_given_links_are_judged(hansards: Path, regard: Regard) -> None:
    command = ("align", "--links", hansards / "forward", "--gold", hansards / "gold", "--base", 1, "--gold-base", 1)
    outcome = regard(*command)
    # 4 links: 3 sure, 3 possible; 3 sure in gold: 1 - (3 + 3) / (4 + 3).
    assert outcome.lines == ["AER 14.29%  precision 75.00%  recall 100.00%  links 4"]
    assert json.loads(regard(*command, "--json").out) == {
        "error_rate": pytest.approx(1 / 7),
        "precision": 0.75,
        "recall": 1.0,
        "links": 4,
    }


def test_the_base_of_links_and_gold_may_differ(hansards: Path, regard: Regard) -> None:
    (hansards / "zero").write_bytes(b"0-0 1?1 1-2\n0-0\n")
    one = regard("align", "--links", hansards / "forward", "--base", 1, "--gold", hansards / "zero")
    other = regard("align", "--links", hansards / "forward", "--base", 1, "--gold", hansards / "gold", "--gold-base", 1)
    assert one.out == other.out


def test_given_links_are_joined_and_counted_from_0(hansards: Path, regard: Regard) -> None:
    both = ("--links", hansards / "forward", "--reverse-links", hansards / "reverse", "--base", 1)
    assert regard("align", *both, "--symmetrize", "intersection").lines == ["0-0 1-2", "0-0"]
    assert regard("align", *both, "--symmetrize", "union").lines == ["0-0 1-1 1-2", "0-0 1-1"]
    judged = regard("align", *both, "--symmetrize", "union", "--gold", hansards / "gold", "--gold-base", 1)
    assert judged.lines == ["AER 12.50%  precision 80.00%  recall 100.00%  links 5"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "There is nothing to align: give RUN --src F --tgt F, or --links F --gold F."),
        (["--links", "f"], "--links needs --gold to be judged by, or --reverse-links to be joined with."),
        (["--links", "f", "--gold", "g", "--src", "s", "--head", "1"], "--src, --head does not go with --links"),
        (
            [
                "--links",
                "f",
                "--gold",
                "g",
                "--columns",
                "2,1",
                "--batch-size",
                "7",
                "--device",
                "cpu",
                "--threads",
                "1",
            ],
            "--columns, --batch-size, --device, --threads does not go with --links",
        ),
        (["run", "--links", "f", "--gold", "g"], "RUN does not go with --links"),
        (["run", "--gold", "g"], "regard evaluate --gold-alignments"),
        (["run", "--base", "1", "--json"], "--base, --json goes with --links"),
        (["run", "--symmetrize", "union"], "--symmetrize joins the links of two directions: give --reverse as well."),
        (
            ["--links", "f", "--gold", "g", "--symmetrize", "union"],
            "--symmetrize joins the links of two directions: give --reverse-links as well.",
        ),
        (["--links", "f", "--reverse-links", "g", "--json"], "--json is for judging by --gold, which is not given."),
        (["--links", "f", "--reverse-links", "g", "--gold-base", "1"], "--gold-base is for judging by --gold"),
        (["--links", "f", "--gold", "g", "--base", "2"], "--base"),
        (["--links", "nowhere", "--gold", "g"], "nowhere cannot be read: No such file or directory."),
    ],
)
def test_options_of_the_two_uses_are_not_mixed(arguments: list[str], told: str, regard: Regard) -> None:
    outcome = regard("align", *arguments)
    assert (outcome.status, outcome.out) == (2, b"")
    assert told in outcome.err


def test_files_of_different_length_and_broken_links_are_refused(hansards: Path, regard: Regard) -> None:
    (hansards / "short").write_bytes(b"1-1\n")
    (hansards / "broken").write_bytes(b"1-1 x\n1_1\n")
    gold = ("--gold", hansards / "gold")
    outcome = regard("align", "--links", hansards / "short", *gold)
    assert outcome.status == 2
    assert f"{hansards / 'short'} has 1 line and {hansards / 'gold'} has 2" in outcome.err
    outcome = regard("align", "--links", hansards / "forward", "--reverse-links", hansards / "short", *gold)
    assert outcome.status == 2
    assert f"{hansards / 'forward'} has 2 lines and {hansards / 'short'} has 1" in outcome.err
    outcome = regard("align", "--links", hansards / "broken", *gold)
    assert outcome.status == 2
    assert f"{hansards / 'broken'}:1: word 2 ('x') is no link" in outcome.err
    assert f"{hansards / 'broken'}:2: word 1 ('1_1') is no link" in outcome.err
