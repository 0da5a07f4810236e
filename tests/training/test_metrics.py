import json
import math
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from regard.errors import WorkError
from regard.training.metrics import MetricsFile, Totals
from regard.training.objectives import Loss


def loss(total: float, nll: float, tokens: int, correct: int) -> Loss:
    return Loss(torch.tensor(total, requires_grad=True), torch.tensor(nll), tokens, torch.tensor(correct))


def test_means_are_over_tokens() -> None:
    totals = Totals()
    totals.add(loss(10.0, 6.0, 2, 1))
    totals.add(loss(5.0, 3.0, 3, 3))
    assert totals.means() == {"loss": 3.0, "nll": 1.8, "accuracy": 0.8}


def test_no_tokens_have_no_mean() -> None:
    assert all(math.isnan(mean) for mean in Totals().means().values())


def test_a_skipped_update_counts_by_its_time_alone() -> None:
    totals, update = Totals(), Totals()
    update.add(loss(10.0, 6.0, 2, 1))
    totals.take(update, skipped=False, seconds=3.0)
    update.add(loss(math.nan, math.nan, 5, 0))
    totals.take(update, skipped=True, seconds=2.0)
    assert totals == Totals(loss=10.0, nll=6.0, correct=1, tokens=2, updates=2, skipped=1, seconds=5.0)


def test_lines_are_json_and_what_is_not_finite_is_null(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.add({"step": 2, "loss": math.nan, "valid": {"bleu": math.inf, "é\u2028": 0.1}})
    file.add({"step": 3})
    file.close()
    lines = (tmp_path / "metrics.jsonl").read_bytes().decode().split("\n")
    assert [json.loads(line) for line in lines[:-1]] == [
        {"step": 2, "loss": None, "valid": {"bleu": None, "é\u2028": 0.1}},
        {"step": 3},
    ]
    assert lines[-1] == ""


def test_a_file_is_cut_back_to_what_a_checkpoint_knew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path)
    file.add({"step": 2})
    length = file.sync()
    file.add({"step": 3})
    file.close()
    file = MetricsFile(path)
    assert file.cut(length) == 0
    file.add({"step": 5})
    file.close()
    assert path.read_bytes() == b'{"step": 2}\n{"step": 5}\n'


def test_a_file_that_is_shorter_loses_its_half_line_and_tells(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 2}\n{"st')
    file = MetricsFile(path)
    assert file.cut(31) == 15
    file.add({"step": 5})
    file.close()
    assert path.read_bytes() == b'{"step": 2}\n{"step": 5}\n'


def test_a_new_training_starts_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"rest of something\n")
    with MetricsFile(path) as file:
        assert file.cut(0) == 0
    assert path.read_bytes() == b""


def test_another_process_cannot_train_into_the_same_run(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from regard.training.metrics import MetricsFile; MetricsFile(pathlib.Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "metrics.jsonl")]
    with MetricsFile(tmp_path / "metrics.jsonl") as file:
        file.add({"step": 2})
        assert file.cut(100) == 88, "cutting reads the file, and must not let go of it"
        other = subprocess.run(command, capture_output=True, text=True, check=False)
        assert f"Another process trains into {tmp_path}. Wait until it ends, or choose another" in other.stderr
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=rf"Cannot write {tmp_path}: Is a directory\."):
        MetricsFile(tmp_path)


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.jsonl")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (7, hard))
    try:
        with pytest.raises(WorkError, match=r"Cannot write .*metrics\.jsonl: File too large\. The limit on"):
            file.add({"step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    file.close()
    assert os.path.getsize(tmp_path / "metrics.jsonl") == 7
