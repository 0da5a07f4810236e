"""`regard translate`."""

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from regard.cli import translate as module
from regard.cli.main import main
from tests.cli.conftest import Regard, Terminal
from tests.tasks import tiny

TEXT = "the cat sleeps\n\nmy feet hurt\n   \nshe does not eat bread\ni am hungry\nthe red house\n"
QUICK = ("--max-length", "9")


def test_there_are_as_many_lines_out_as_in_and_empty_ones_stay_empty(run_folder: Path, regard: Regard) -> None:
    lines = regard("translate", run_folder, stdin=TEXT.encode()).lines
    assert [bool(line) for line in lines] == [True, False, True, False, True, True, True]


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("runs") / "greedy")


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=40), max_size=12),
    ended=st.booleans(),
)
@example(lines=["a\r", "\u2028b\u0085", "\x0c", "\x00", "\ufeff"], ended=True)
@example(lines=["", "", ""], ended=False)
def test_any_lines_give_as_many_lines(lines: list[str], ended: bool, quick_run: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "in.txt", tmp_path / "out.txt"
    content = "\n".join(lines) + "\n" * (ended and bool(lines))
    source.write_bytes(content.encode())
    assert main(["translate", str(quick_run), str(source), "-o", str(output), "--beam", "1", "--max-length", "2"]) == 0
    # A file's first line may open with a byte order mark, which is dropped; a file of nothing else has no line.
    text = content.encode().removeprefix(b"\xef\xbb\xbf")
    assert output.read_bytes().count(b"\n") == text.count(b"\n") + (not text.endswith(b"\n") and text != b"")


@pytest.mark.parametrize("beam", [1, 2, 5])
def test_batch_size_and_chunks_change_no_line(
    beam: int, run_folder: Path, regard: Regard, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("translate", run_folder, "--beam", beam, *QUICK)
    expected = regard(*command, "--batch-size", 1, stdin=TEXT.encode()).lines
    assert regard(*command, "--batch-size", 2, stdin=TEXT.encode()).lines == expected
    assert regard(*command, "--batch-size", 32, stdin=TEXT.encode()).lines == expected
    monkeypatch.setattr(module, "CHUNK_LINES", 3)
    assert regard(*command, stdin=TEXT.encode()).lines == expected
    monkeypatch.setattr(module, "CHUNK_CHARACTERS", 5)
    assert regard(*command, stdin=TEXT.encode()).lines == expected


def test_a_file_standard_input_a_hyphen_and_gzip_are_read_alike(
    run_folder: Path, regard: Regard, tmp_path: Path
) -> None:
    (tmp_path / "plain.txt").write_bytes(TEXT.encode())
    (tmp_path / "packed").write_bytes(gzip.compress(TEXT.encode()))
    expected = regard("translate", run_folder, *QUICK, stdin=TEXT.encode()).lines
    assert regard("translate", run_folder, "-", *QUICK, stdin=TEXT.encode()).lines == expected
    assert regard("translate", run_folder, tmp_path / "plain.txt", *QUICK).lines == expected
    assert regard("translate", run_folder, tmp_path / "packed", *QUICK).lines == expected
    assert regard("translate", run_folder, *QUICK, stdin=gzip.compress(TEXT.encode())).lines == expected


def test_a_gzip_file_that_ends_too_early_is_named(run_folder: Path, regard: Regard, tmp_path: Path) -> None:
    packed = tmp_path / "text.gz"
    packed.write_bytes(gzip.compress(TEXT.encode())[:-9])
    outcome = regard("translate", run_folder, packed, *QUICK)
    assert outcome.status == 2
    assert f"{packed} is a damaged gzip file" in outcome.err


def test_output_goes_to_a_file_that_replaces_the_earlier_one(run_folder: Path, regard: Regard, tmp_path: Path) -> None:
    output = tmp_path / "out.txt"
    output.write_bytes(b"earlier\n")
    outcome = regard("translate", run_folder, "-o", output, stdin=TEXT.encode())
    assert outcome == (0, b"", "")
    assert output.read_bytes() == regard("translate", run_folder, stdin=TEXT.encode()).out


def test_json_tells_all_of_each_line(run_folder: Path, regard: Regard) -> None:
    outcome = regard("translate", run_folder, "--json", "--n-best", 2, *QUICK, stdin=TEXT.encode())
    rows = [json.loads(line) for line in outcome.lines]
    assert [row["source"] for row in rows] == TEXT.split("\n")[:-1]
    keys = ["source", "translation", "log_probability", "score", "parts", "alignment", "n_best"]
    for row in rows:
        assert list(row) == keys
        assert row["parts"] == 1
        assert {name: row[name] for name in keys[1:4]} == row["n_best"][0]
        assert [one["score"] for one in row["n_best"]] == sorted((o["score"] for o in row["n_best"]), reverse=True)
        assert all(len(link) == 2 for link in row["alignment"])
    assert rows[1] | {"source": ""} == {
        "source": "",
        "translation": "",
        "log_probability": 0.0,
        "score": 0.0,
        "parts": 1,
        "alignment": [],
        "n_best": [{"translation": "", "log_probability": 0.0, "score": 0.0}],
    }
    assert len(rows[0]["n_best"]) == 2


def test_json_of_a_model_without_attention_has_no_alignment(fixed_run: Path, regard: Regard) -> None:
    (line,) = regard("translate", fixed_run, "--json", *QUICK, stdin=b"the cat").lines
    assert json.loads(line)["alignment"] is None


def test_n_best_has_the_form_of_moses(run_folder: Path, regard: Regard) -> None:
    outcome = regard("translate", run_folder, "--n-best", 3, *QUICK, stdin=b"the cat sleeps\n\nmy feet\n")
    rows = [line.split(" ||| ") for line in outcome.lines]
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert {row[0] for row in rows} == {"0", "1", "2"}
    assert [row for row in rows if row[0] == "1"] == [["1", "", "0.000000", "0.000000"]]
    for number in ("0", "2"):
        several = [row for row in rows if row[0] == number]
        assert len({row[1] for row in several}) == len(several) <= 3
        scores = [float(row[3]) for row in several]
        assert scores == sorted(scores, reverse=True)


def test_more_translations_than_beams_are_refused(run_folder: Path, regard: Regard) -> None:
    outcome = regard("translate", run_folder, "--n-best", 4, stdin=b"")
    assert (outcome.status, outcome.err) == (2, "regard: --n-best (4) must be at most --beam, which is 3 here.\n")
    assert regard("translate", run_folder, "--n-best", 4, "--beam", 4, stdin=b"").status == 0


def test_a_greater_length_than_the_model_can_is_refused(run_folder: Path, regard: Regard) -> None:
    outcome = regard("translate", run_folder, "--max-length", 345, stdin=b"")
    assert outcome.status == 2
    assert "--max-length must be at most 344 for this model; it is 345." in outcome.err


def test_the_printed_score_is_what_score_prints(run_folder: Path, regard: Regard, tmp_path: Path) -> None:
    source, target = tmp_path / "s", tmp_path / "t"
    source.write_bytes(TEXT.encode())
    outcome = regard("translate", run_folder, source, "--json")
    rows = [json.loads(line) for line in outcome.lines]
    target.write_text("".join(row["translation"] + "\n" for row in rows), encoding="utf-8")
    scores = [float(line) for line in regard("score", run_folder, "--src", source, "--tgt", target).lines]
    assert scores == pytest.approx([row["log_probability"] for row in rows], abs=1e-4)


@pytest.mark.parametrize("beam", [1, 3])
def test_alignments_are_those_that_align_gives_the_translations(
    beam: int, run_folder: Path, regard: Regard, tmp_path: Path
) -> None:
    source, target, links = tmp_path / "s", tmp_path / "t", tmp_path / "links"
    source.write_bytes(TEXT.encode())
    regard("translate", run_folder, source, "-o", target, "--alignments", links, "--beam", beam, *QUICK)
    assert regard("align", run_folder, "--src", source, "--tgt", target).out == links.read_bytes()
    for layer, head in ((0, 1), ("decoder.1.cross_attention", 0)):
        site = ("--layer", layer, "--head", head)
        regard("translate", run_folder, source, "-o", target, "--alignments", links, "--beam", beam, *QUICK, *site)
        assert regard("align", run_folder, "--src", source, "--tgt", target, *site).out == links.read_bytes()


def test_alignments_without_attention_are_refused_before_anything_is_written(
    fixed_run: Path, regard: Regard, tmp_path: Path
) -> None:
    outcome = regard("translate", fixed_run, "--alignments", tmp_path / "links", stdin=b"the cat\n")
    assert (outcome.status, outcome.out) == (2, b"")
    assert "has no attention to its source" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_alignments_and_translations_do_not_share_a_file(run_folder: Path, regard: Regard) -> None:
    outcome = regard("translate", run_folder, "--alignments", "-")
    assert outcome.status == 2
    assert "--alignments and the translations cannot both go to -." in outcome.err


@pytest.mark.parametrize("site", [("--layer", "2"), ("--layer", "encoder.0"), ("--head", "2")])
def test_a_layer_or_head_that_is_not_there_is_refused(site: tuple[str, str], run_folder: Path, regard: Regard) -> None:
    outcome = regard("translate", run_folder, "--json", *site, stdin=b"the cat\n")
    assert (outcome.status, outcome.out) == (2, b"")
    assert site[0][2:] in outcome.err


def test_a_long_line_is_translated_in_parts_and_told_by_its_number(run_folder: Path, regard: Regard) -> None:
    long = "the cat sleeps, my feet hurt. " * 5
    outcome = regard("translate", run_folder, "--json", stdin=f"i am hungry\n{long}\n".encode())
    short_row, long_row = (json.loads(line) for line in outcome.lines)
    assert (short_row["parts"], long_row["source"]) == (1, long)
    assert long_row["parts"] > 1
    assert outcome.err == (
        f"standard input:2: longer than what the model learned from; translated in {long_row['parts']} parts.\n"
    )
    assert all(0 <= s < len(long.split()) for s, _ in long_row["alignment"])
    assert max(s for s, _ in long_row["alignment"]) >= 20


def test_a_line_in_parts_whose_length_is_used_up_is_told(run_folder: Path, regard: Regard) -> None:
    long = "the cat sleeps, my feet hurt. " * 5
    outcome = regard("translate", run_folder, "--json", *QUICK, stdin=f"{long}\n".encode())
    (row,) = (json.loads(line) for line in outcome.lines)
    (first,) = regard("translate", run_folder, *QUICK, stdin=b"the cat sleeps, my feet hurt.\n").lines
    assert row["translation"] == first
    told = rf"standard input:1: .* in {row['parts']} parts, but --max-length was used up by the first [1-9]\.\n"
    assert re.fullmatch(told, outcome.err)


def test_broken_utf8_is_named_by_file_and_line_and_keeps_the_earlier_output(
    run_folder: Path, regard: Regard, tmp_path: Path
) -> None:
    source, output = tmp_path / "broken.txt", tmp_path / "out.txt"
    source.write_bytes(b"the cat\nmy f\xe9et\n")
    output.write_bytes(b"earlier\n")
    outcome = regard("translate", run_folder, source, "-o", output)
    assert outcome.status == 2
    assert f"{source}:2: byte 0xE9" in outcome.err
    assert output.read_bytes() == b"earlier\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.txt", "out.txt"]


def test_at_a_terminal_each_line_is_asked_for_and_answered(run_folder: Path, regard: Regard) -> None:
    outcome = regard("translate", run_folder, *QUICK, stdin=Terminal(b"the cat sleeps\n\nmy feet\n"))
    assert outcome.out == regard("translate", run_folder, *QUICK, stdin=b"the cat sleeps\n\nmy feet\n").out
    assert outcome.err == "Write a sentence and press Enter; Ctrl-D ends.\n> > > > \n"


def test_at_a_terminal_a_named_file_is_just_translated(run_folder: Path, regard: Regard, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"the cat sleeps\n")
    outcome = regard("translate", run_folder, tmp_path / "in.txt", *QUICK, stdin=Terminal(b"no\n"))
    assert (len(outcome.lines), outcome.err) == (1, "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "nowhere holds no finished run. A run is a folder that `regard train --out` wrote"),
        (["RUN", "nowhere.txt"], "nowhere.txt cannot be read: No such file or directory."),
        (["RUN", "."], ". cannot be read: Is a directory."),
        (["RUN", "-o", "nowhere/out.txt"], "nowhere/out.txt cannot be written: No such file or directory."),
        (["RUN", "--device", "abacus"], "--device abacus cannot be used here"),
        (["RUN", "--device", "meta"], "--device meta cannot be used here"),
    ],
)
def test_what_is_not_there_is_named(arguments: list[str], told: str, run_folder: Path, regard: Regard) -> None:
    named = [str(run_folder) if word == "RUN" else word for word in arguments]
    outcome = regard("translate", *named, stdin=b"the cat\n")
    assert (outcome.status, outcome.out) == (2, b"")
    assert told in outcome.err


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_lines(run_folder: Path) -> None:
    code = (
        "import resource, sys\nfrom regard.cli.main import main\n"
        f"options = ['--beam', '1', '--max-length', '1', '--batch-size', '500']\n"
        f"status = main(['translate', {str(run_folder)!r}, *options])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\nsys.exit(status)"
    )

    def peak(count: int) -> int:
        lines = b"".join(b"the cat sleeps %d\n" % number for number in range(count))
        done = subprocess.run([sys.executable, "-c", code], input=lines, capture_output=True, check=True)
        assert done.stdout.count(b"\n") == count
        return int(done.stderr)

    assert peak(12_000) - peak(2_000) < 20_000  # kB
