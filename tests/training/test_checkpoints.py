import os
import random
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from regard.errors import DamagedError, DivergedError, WorkError
from regard.files import encode_json, read_json, remove_leftovers
from regard.training.checkpoints import (
    Checkpoint,
    checkpoint_folder,
    load,
    load_latest,
    prune,
    save,
    stored_steps,
)
from regard.training.events import Saved
from tests.training.interrupting import hammer
from tests.training.tiny import make_trainer

pytestmark = pytest.mark.usefixtures("fast_disk")

FILES = ["weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json"]


def make(step: int) -> Checkpoint:
    chance = torch.Generator().manual_seed(step)
    return Checkpoint(
        step=step,
        weights={"a.b": torch.randn(3, 5, generator=chance), "count": torch.tensor(step)},
        optimizer={"a.b.exp_avg": torch.randn(3, 5, generator=chance).abs()},
        state={"seconds": 0.1 * step, "place": [step, 7]},
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with two checkpoints."""
    for step in (3, 11):
        save(tmp_path, make(step))
    return tmp_path


def require_fallback(run: Path) -> str:
    """The newest checkpoint is named as damaged and the one before is taken; return what is said."""
    warnings: list[str] = []
    found = load_latest(run, warnings.append)
    assert found is not None
    assert found.step == 3
    assert torch.equal(found.weights["a.b"], make(3).weights["a.b"])
    (warning,) = warnings
    assert warning.startswith("The checkpoint of step 11 is damaged and passed over: ")
    return warning


def test_a_checkpoint_survives(run: Path) -> None:
    found, expected = load(run, 11), make(11)
    for mine, other in ((found.weights, expected.weights), (found.optimizer, expected.optimizer)):
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in mine)
    assert found.state == {**expected.state, "step": 11}
    assert sorted(path.name for path in checkpoint_folder(run, 11).iterdir()) == sorted(FILES)


def test_a_checkpoint_of_a_training_that_has_not_begun_survives(tmp_path: Path) -> None:
    save(tmp_path, Checkpoint(step=0, weights={}, optimizer={}, state={}))
    assert load(tmp_path, 0) == Checkpoint(step=0, weights={}, optimizer={}, state={"step": 0})


def test_the_newest_is_loaded_without_a_word(run: Path) -> None:
    warnings: list[str] = []
    found = load_latest(run, warnings.append)
    assert (found.step if found else None, warnings) == (11, [])


def test_where_nothing_was_saved_nothing_is_loaded(tmp_path: Path) -> None:
    assert load_latest(tmp_path, pytest.fail) is None
    (tmp_path / "checkpoints").mkdir()
    assert load_latest(tmp_path, pytest.fail) is None


def test_only_folders_that_a_save_names_count_as_checkpoints(run: Path) -> None:
    for name in ("step-5", "step-000000013", "step-00000017.old", ".step-00000019.0123abcd.partial", "step-0000001x"):
        (run / "checkpoints" / name).mkdir()
    assert stored_steps(run) == [3, 11]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_cut_is_found(run: Path, name: str) -> None:
    path = checkpoint_folder(run, 11) / name
    content = path.read_bytes()
    for length in {0, 1, 7, len(content) // 2, len(content) - 1, *range(13, len(content), 31)}:
        path.write_bytes(content[:length])
        assert name in require_fallback(run)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_has_grown_is_found(run: Path, name: str) -> None:
    path = checkpoint_folder(run, 11) / name
    content = path.read_bytes()
    for more in (b"\x00", b"\n", b" ", content):
        path.write_bytes(content + more)
        assert name in require_fallback(run)


@contextmanager
def flipped(path: Path, place: int) -> Iterator[None]:
    """A bit of a file turned around. In place: to cut and write a file anew waits for the disk."""

    def turn() -> None:
        with open(path, "r+b") as file:
            (byte,) = file.read()[place // 8 : place // 8 + 1]
            file.seek(place // 8)
            file.write(bytes([byte ^ 1 << place % 8]))

    turn()
    yield
    turn()


@pytest.mark.parametrize("name", FILES[:3])
def test_a_flipped_bit_is_found(run: Path, name: str) -> None:
    path = checkpoint_folder(run, 11) / name
    bits = path.stat().st_size * 8
    chance = random.Random(5)
    for place in [*range(8), *(chance.randrange(bits) for _ in range(100)), bits - 1]:
        with flipped(path, place):
            assert f"{path} is not what was written: its SHA-256 differs." in require_fallback(run)
    assert load_latest(run, pytest.fail) is not None


def test_a_flipped_bit_of_the_manifest_is_found(run: Path) -> None:
    path = checkpoint_folder(run, 11) / "manifest.json"
    for place in range(0, path.stat().st_size * 8, 3):
        with flipped(path, place):
            require_fallback(run)
    assert load_latest(run, pytest.fail) is not None


@pytest.mark.parametrize(
    ("name", "other", "step"),
    [(name, other, step) for name in FILES for other in FILES for step in (3, 11) if (name, 11) != (other, step)],
)
def test_a_swapped_file_is_found(run: Path, name: str, other: str, step: int) -> None:
    shutil.copy(checkpoint_folder(run, step) / other, checkpoint_folder(run, 11) / name)
    require_fallback(run)


def test_a_whole_checkpoint_in_the_place_of_another_is_found(run: Path) -> None:
    shutil.rmtree(checkpoint_folder(run, 11))
    shutil.copytree(checkpoint_folder(run, 3), checkpoint_folder(run, 11))
    assert "manifest.json is of step 3, not 11." in require_fallback(run)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [Path.unlink, replace_by_folder, replace_by_pipe, replace_by_loop])
def test_a_file_that_is_gone_or_no_file_is_found(run: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(checkpoint_folder(run, 11) / name)
    assert name in require_fallback(run)


def test_an_empty_folder_is_found(run: Path) -> None:
    shutil.rmtree(checkpoint_folder(run, 11))
    checkpoint_folder(run, 11).mkdir()
    require_fallback(run)


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"version": 1},
        {"version": 1, "step": 11},
        {"version": 1, "step": 11, "files": []},
        {"version": 1, "step": 11, "files": {"../../weights.safetensors": {}}},
        {"version": 1, "step": 11, "files": {"weights.safetensors": None}},
        {"version": 1, "step": 11, "files": {"weights.safetensors": {"bytes": -1, "sha256": 7}}},
        {"version": 2, "step": 11, "files": {}},
        {"version": 1, "step": 1e1, "files": {}},
    ],
)
def test_a_manifest_with_other_content_is_found(run: Path, manifest: dict[str, Any]) -> None:
    (checkpoint_folder(run, 11) / "manifest.json").write_bytes(encode_json(manifest))
    require_fallback(run)


def test_a_manifest_that_was_written_anew_around_lies_does_not_help_a_file_of_tensors(run: Path) -> None:
    """Somebody may compute digests anew; what then remains is that a safetensors file is checked by itself."""
    from regard.training.checkpoints import _encode_manifest, _measure

    folder = checkpoint_folder(run, 11)
    (folder / "weights.safetensors").write_bytes(b"\xff" * 8 + b"{}")
    entries = {}
    for name in FILES[:3]:
        from hashlib import sha256

        content = (folder / name).read_bytes()
        entries[name] = {"bytes": len(content), "sha256": sha256(content).hexdigest()}
        assert _measure(folder / name, entries[name]) == entries[name]
    (folder / "manifest.json").write_bytes(_encode_manifest(11, entries))
    assert "is not a valid safetensors file" in require_fallback(run)


def test_a_manifest_of_a_later_version_says_so(run: Path) -> None:
    path = checkpoint_folder(run, 11) / "manifest.json"
    path.write_bytes(encode_json({**read_json(path), "version": 2}))
    assert "manifest.json is of version 2; this regard reads version 1." in require_fallback(run)


def test_where_none_is_whole_it_is_said_and_nothing_is_loaded(run: Path) -> None:
    for step in (3, 11):
        (checkpoint_folder(run, step) / "state.json").write_bytes(b"")
    warnings: list[str] = []
    with pytest.raises(DamagedError, match=rf"None of the 2 checkpoints in {run / 'checkpoints'} is whole") as caught:
        load_latest(run, warnings.append)
    assert f"The newest: {checkpoint_folder(run, 11) / 'state.json'} has 0 bytes where" in str(caught.value)
    assert len(warnings) == 2


@pytest.mark.parametrize("where", ["weights", "optimizer"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_not_saved(run: Path, where: str, value: float) -> None:
    tensors = {"a": torch.zeros(2), "b.c": torch.tensor([1.0, value])}
    parts: dict[str, Any] = {"weights": {}, "optimizer": {}, where: tensors}
    with pytest.raises(DivergedError, match=r"b\.c is not finite after step 13, so step 13 was not saved\."):
        save(run, Checkpoint(step=13, state={}, **parts))
    assert stored_steps(run) == [3, 11]


def test_the_calls_of_a_save_are_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is synced, then the folder that holds them; only then comes the name, and its folder is synced."""
    calls: list[str] = []
    true_fsync, true_rename = os.fsync, os.rename

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        calls.append(f"sync {'the new folder' if path.name.endswith('.partial') else path.name}")
        true_fsync(descriptor)

    def rename(source: Path, target: Path) -> None:
        calls.append(f"name {target.name}")
        true_rename(source, target)

    def announce(event: object) -> None:
        if isinstance(event, Saved):
            calls.append("saved")

    trainer = make_trainer(tmp_path, validation=None, observers=[announce])
    trainer.config = type(trainer.config)(max_updates=5, save_every=3)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    trainer.fit()
    second = calls[calls.index("saved") + 1 :]
    assert second == [
        "sync metrics.jsonl",
        "sync weights.safetensors",
        "sync optimizer.safetensors",
        "sync state.json",
        "sync manifest.json",
        "sync the new folder",
        "name step-00000005",
        "sync checkpoints",
        "saved",
    ]


@contextmanager
def files_up_to(limit: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("limit", [0, 1, 8, 40, 100, 145, 200, 211, 300, 390])
def test_a_limit_on_files_leaves_the_checkpoints_before(run: Path, limit: int) -> None:
    with files_up_to(limit), pytest.raises(WorkError, match=r"Cannot write .*step-00000013: File too large"):
        save(run, make(13))
    assert stored_steps(run) == [3, 11]
    assert remove_leftovers(run / "checkpoints") == []
    assert (found := load_latest(run, pytest.fail)) is not None
    assert found.step == 11


def test_a_training_on_a_full_disk_ends_with_path_and_cause_and_can_go_on(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer.observers = [lambda event: resource_is_short(event)]

    def resource_is_short(event: object) -> None:
        if isinstance(event, Saved) and event.step == 7:
            resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(WorkError, match=r"Cannot write .*step-00000009: File too large\. The limit on the size"):
            trainer.fit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert stored_steps(tmp_path)[-1] == 7
    assert make_trainer(tmp_path).fit(resume=True).step == 29


def test_a_full_file_system_leaves_the_checkpoints_before(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small file system")
    try:
        with pytest.raises(WorkError, match=r"Cannot write .*: No space left on device\. Free some space"):
            list(map(partial(save, small), map(make, range(1, 100))))
        assert remove_leftovers(small / "checkpoints") == []
        assert (found := load_latest(small, pytest.fail)) is not None
        assert found.step == stored_steps(small)[-1] > 1
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_pruning_keeps_the_last_and_those_that_end_at_the_best(tmp_path: Path) -> None:
    for step in range(1, 12):
        save(tmp_path, make(step))
    assert prune(tmp_path, newest=11, keep=2, best=6) == [1, 2, 3, 4, 7, 8, 9]
    assert stored_steps(tmp_path) == [5, 6, 10, 11]


def test_pruning_leaves_the_one_just_saved_even_behind_damaged_later_ones(tmp_path: Path) -> None:
    for step in (2, 3, 5, 7, 11):
        save(tmp_path, make(step))
    (checkpoint_folder(tmp_path, 11) / "state.json").unlink()
    assert prune(tmp_path, newest=5, keep=1, best=None) == [2, 3]
    assert stored_steps(tmp_path) == [5, 7, 11]


def test_pruning_with_nothing_to_spare_removes_nothing(run: Path) -> None:
    assert prune(run, newest=11, keep=7, best=3) == []


@pytest.mark.parametrize(("times", "seed"), [(20, 1), pytest.param(200, 2, marks=pytest.mark.slow)])
def test_a_killed_training_leaves_the_checkpoint_that_it_announced_last(tmp_path: Path, times: int, seed: int) -> None:
    report = hammer(tmp_path, "kill", times, seed)
    for found in report:
        assert found["exit"] == -9
        assert found["warnings"] == []
        assert found["step"] >= found["told"] > 0
        assert found["temporary"] <= 1
    assert any(found["temporary"] for found in report), "no kill fell into a save"
