"""From the command line: a copier of digits is learned, killed, resumed and fine-tuned."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.tiny import metrics_of

pytestmark = pytest.mark.learning

RECIPE = """
label_smoothing = 0.0
average = 1

[tokenizer]
vocab_size = 300

[model]
kind = "transformer"
model_dim = 64
feed_forward_dim = 128
num_heads = 4
encoder_layers = 2
decoder_layers = 2
norm = "pre"
dropout = 0.0

[data]
batch_tokens = 1024

[schedule]
kind = "inverse-square-root"
peak = 3e-3
warmup = 200

[training]
max_updates = 2000
validate_every = 250
"""


def line(chance: random.Random) -> str:
    return " ".join(str(chance.randrange(10)) for _ in range(chance.randint(3, 12)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five thousand pairs and a recipe, by a seed of which nobody knows."""
    seed = random.SystemRandom().randrange(2**31)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for name, count in (("train", 5_000), ("valid", 200), ("test", 300)):
        (tmp_path / name).write_text("".join(line(chance) + "\n" for _ in range(count)))
    (tmp_path / "recipe.toml").write_text(f"seed = {seed}\n{RECIPE}")
    return tmp_path


ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}  # a model as small gains nothing by more


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "regard", *map(str, arguments), "--threads", "1"]


def regard(*arguments: object) -> str:
    """Run the command, and return what it printed."""
    done = subprocess.run(
        command(*arguments),
        env=ONE_THREAD,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return done.stdout


def training(folder: Path, run: str, *more: object) -> tuple[object, ...]:
    train, valid = folder / "train", folder / "valid"
    given = ("--src", train, "--tgt", train, "--valid-src", valid, "--valid-tgt", valid)
    return ("train", "--config", folder / "recipe.toml", *given, "--out", folder / run, *more)


def test_digits_are_copied(folder: Path) -> None:
    regard(*training(folder, "run"))
    found = json.loads(regard("evaluate", folder / "run", "--src", folder / "test", "--tgt", folder / "test", "--json"))
    assert found["bleu"] >= 98
    assert found["perplexity"] <= 1.02


def test_a_killed_training_resumes_to_the_same_bytes(folder: Path) -> None:
    more = ("--max-updates", 90, "--training.validate_every=30", "--training.save_every=7", "--training.log_every=9")
    regard(*training(folder, "whole", *more))
    for kill in (1, 2, 3):
        resume = ("train", "--resume", "--out", folder / "killed", "--max-updates", 90)
        arguments = training(folder, "killed", *more) if kill == 1 else resume
        child = subprocess.Popen(command(*arguments), env=ONE_THREAD, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 300
        while not (folder / "killed" / "checkpoints" / f"step-{21 * kill:08d}").exists() and child.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert child.poll() is None, "the training ended before it could be killed"
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        assert not (folder / "killed" / "manifest.json").exists()
    regard("train", "--resume", "--out", folder / "killed", "--max-updates", 90)
    whole, killed = folder / "whole", folder / "killed"
    assert metrics_of(killed) == metrics_of(whole)
    for name in ("model.safetensors", "tokenizer.json"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def losses(run: Path) -> list[float]:
    """Losses of the validations."""
    return [line["valid"]["loss"] for line in metrics_of(run) if "valid" in line]


def loss_on(folder: Path, run: str, name: str) -> float:
    found = json.loads(regard("evaluate", folder / run, "--src", folder / name, "--tgt", folder / name, "--json"))
    return float(found["loss"])


def test_fine_tuning_begins_where_the_run_ended_and_learns_the_new(folder: Path) -> None:
    chance = random.Random(7)
    for name, count in (("letters", 2_000), ("letters.valid", 100)):
        lines = (" ".join(chance.choice("abcdefg") for _ in range(chance.randint(3, 12))) for _ in range(count))
        (folder / name).write_text("".join(f"{text}\n" for text in lines))
    regard(*training(folder, "old", "--max-updates", 500))
    before = loss_on(folder, "old", "letters.valid")
    new, held = folder / "letters", folder / "letters.valid"
    given = ("--src", new, "--tgt", new, "--valid-src", held, "--valid-tgt", held, "--from", folder / "old")
    settings = (
        "--data.batch_tokens=1024",
        "--set",
        "label_smoothing=0.0",
        "--set",
        "average=1",
        "--schedule.warmup=100",
    )
    tuning = (*given, *settings, "--schedule.peak=1e-3", "--training.validate_every=1", "--seed", 5)
    regard("train", *tuning, "--out", folder / "one", "--max-updates", 1)
    (first,) = losses(folder / "one")[:1]
    assert first == pytest.approx(before, abs=0.2), "one update with a warming rate changes hardly anything"
    less = "--training.validate_every=100"
    regard("train", *given, *settings, less, "--schedule.peak=1e-3", "--out", folder / "new", "--max-updates", 300)
    assert (folder / "new" / "tokenizer.json").read_bytes() == (folder / "old" / "tokenizer.json").read_bytes()
    assert loss_on(folder, "new", "letters.valid") < before / 2
