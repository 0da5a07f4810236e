import json
from pathlib import Path

import torch

from regard.tasks.fit import TrainingData, fit
from regard.tasks.telemetry import AttentionLog
from regard.training.events import Updated
from tests.tasks import tiny
from tests.tasks.test_fit import VALID, recipe


def updated(step: int) -> Updated:
    return Updated(step=step, epoch=1, loss=1.0, tokens=7, learning_rate=0.1, gradient_norm=1.0, seconds=float(step))


def test_a_training_writes_what_its_heads_look_at(tmp_path: Path) -> None:
    data = TrainingData(tiny.LINES, VALID)
    fit(recipe(), data, tmp_path, device=torch.device("cpu"), telemetry=3, say=lambda text: None)
    (line,) = (tmp_path / "attention.jsonl").read_text(encoding="utf-8").splitlines()
    found = json.loads(line)
    assert found["step"] == 3
    assert any(name.startswith("decoder.0.cross_attention") for name in found["sites"])
    (site,) = [site for name, site in found["sites"].items() if name.startswith("encoder.0.self_attention")]
    assert set(site) == {"entropy", "distance", "greatest", "first"}
    assert len(site["entropy"]) == tiny.TRANSFORMER.num_heads
    assert all(0 < share < 1 for share in site["first"])


def test_a_training_without_telemetry_writes_none(tmp_path: Path) -> None:
    data = TrainingData(tiny.LINES, VALID)
    fit(recipe(), data, tmp_path, device=torch.device("cpu"), say=lambda text: None)
    assert not (tmp_path / "attention.jsonl").exists()


def test_a_resumed_training_leaves_out_what_was_written_beyond_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "attention.jsonl"
    path.write_text('{"step": 3, "sites": {}}\n{"step": 6, "sites": {}}\n{"step": 9, "si', encoding="utf-8")
    with AttentionLog(torch.nn.Linear(2, 3), tmp_path, every=3) as log:
        log(updated(5))
        log(updated(6))
    assert path.read_text(encoding="utf-8") == '{"step": 3, "sites": {}}\n'
