"""`regard score`."""

import json
from pathlib import Path

import pytest

from regard.tasks.load import load
from tests.cli.conftest import Regard


def test_each_pair_gets_its_log_probability(run_folder: Path, pair: tuple[Path, Path], regard: Regard) -> None:
    outcome = regard("score", run_folder, "--src", pair[0], "--tgt", pair[1])
    expected = load(run_folder).score(
        ["the cat sleeps", "", "my feet hurt"], ["le chat dort", "", "j'ai mal aux pieds"]
    )
    assert outcome.lines == [f"{number:.6f}" for number in expected]
    assert outcome.lines[1] == "0.000000"


def test_batch_size_changes_no_score(run_folder: Path, pair: tuple[Path, Path], regard: Regard) -> None:
    command = ("score", run_folder, "--src", pair[0], "--tgt", pair[1])
    one, many = (regard(*command, "--batch-size", size).lines for size in (1, 32))
    assert [float(line) for line in one] == pytest.approx([float(line) for line in many], abs=1e-4)


def test_json_tells_the_score_of_each_token(run_folder: Path, pair: tuple[Path, Path], regard: Regard) -> None:
    rows = [
        json.loads(line) for line in regard("score", run_folder, "--src", pair[0], "--tgt", pair[1], "--json").lines
    ]
    assert [list(row) for row in rows] == [["source", "target", "log_probability", "tokens"]] * 3
    for row in rows:
        total = sum(token["log_probability"] for token in row["tokens"])
        assert row["log_probability"] == pytest.approx(total)
        assert "".join(token["token"] for token in row["tokens"][:-1]).replace("▁", " ").strip() == row["target"]
    assert [token["token"] for token in rows[1]["tokens"]] == []


def test_scores_can_go_to_a_file(run_folder: Path, pair: tuple[Path, Path], regard: Regard, tmp_path: Path) -> None:
    command = ("score", run_folder, "--src", pair[0], "--tgt", pair[1])
    assert regard(*command, "-o", tmp_path / "scores") == (0, b"", "")
    assert (tmp_path / "scores").read_bytes() == regard(*command).out


def test_a_table_is_read_by_its_columns(
    run_folder: Path, pair: tuple[Path, Path], regard: Regard, tmp_path: Path
) -> None:
    table = tmp_path / "pairs.tsv"
    table.write_text("fr\ten\nle chat dort\tthe cat sleeps\n\t\nj'ai mal aux pieds\tmy feet hurt\n", encoding="utf-8")
    expected = regard("score", run_folder, "--src", pair[0], "--tgt", pair[1]).out
    assert regard("score", run_folder, "--data", table, "--columns", "en,fr").out == expected


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--src and --tgt missing"),
        (["--src", "s"], "--tgt missing"),
        (["--tgt", "t"], "--src missing"),
        (["--data", "d", "--src", "s"], "--data and --src/--tgt are both given: choose one."),
        (["--src", "s", "--tgt", "t", "--columns", "1,2"], "--columns is for --data, which is not given."),
        (["--data", "d", "--columns", "1"], "--columns must name two columns, SRC,TGT; it is '1'."),
        (["--src", "s", "--tgt", "t"], "t cannot be read: No such file or directory."),
    ],
)
def test_pairs_that_are_not_named_well_are_refused(
    arguments: list[str], told: str, run_folder: Path, regard: Regard
) -> None:
    outcome = regard("score", run_folder, *arguments)
    assert (outcome.status, outcome.out) == (2, b"")
    assert told in outcome.err


def test_pairs_that_are_too_long_are_refused_all_by_their_number(
    run_folder: Path, regard: Regard, tmp_path: Path
) -> None:
    source, target = tmp_path / "s", tmp_path / "t"
    long = "the cat sleeps " * 200
    source.write_text(f"the cat\n{long}\nmy feet\n", encoding="utf-8")
    target.write_text(f"le chat\nle chat\n{long}\n", encoding="utf-8")
    outcome = regard("score", run_folder, "--src", source, "--tgt", target)
    assert (outcome.status, outcome.out) == (2, b"")
    assert f"{source}, pair 2: the source has 1," in outcome.err or f"{source}, pair 2: the source has" in outcome.err
    assert "tokens and the model takes 23 at once." in outcome.err
    assert f"{source}, pair 3: the target has" in outcome.err
    assert "tokens and the model takes 344 at once." in outcome.err
