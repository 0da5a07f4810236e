import hashlib
import json
import os
import random
import resource
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from regard.errors import DamagedError, WorkError
from regard.files import (
    digest,
    encode_json,
    encode_tensors,
    make_folder,
    read_bytes,
    read_json,
    read_tensors,
    remove_leftovers,
    remove_whole,
    write_folder,
    write_whole,
)


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def in_a_process_with_small_files(code: str, folder: Path, limit: int) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        text=True,
        capture_output=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )


def test_a_file_is_written_with_its_line_ends_as_they_are(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.txt", "été\r\nb\u2028c\x00\n")
    assert (tmp_path / "a.txt").read_bytes() == "été\r\nb\u2028c\x00\n".encode()
    assert names_in(tmp_path) == ["a.txt"]


def test_a_name_at_the_limit_of_the_file_system_is_written(tmp_path: Path) -> None:
    name = "é" * 127
    write_whole(tmp_path / name, b"2")
    assert names_in(tmp_path) == [name]


def test_a_written_file_keeps_the_rights_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_whole(path, b"3")
    path.chmod(0o640)
    write_whole(path, b"5")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "true").write_bytes(b"3")
    (tmp_path / "link").symlink_to("true")
    write_whole(tmp_path / "link", b"5")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "true").read_bytes() == b"5"


def test_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    write_whole("/dev/null", b"7")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_one_save_syncs_the_file_then_renames_then_syncs_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    true_fsync, true_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        true_fsync(descriptor)

    def replace(source: Path, target: Path) -> None:
        calls.append("rename")
        true_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_whole(tmp_path / "a", b"2")
    assert calls == ["file", "rename", "folder"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failing_write_leaves_what_stood_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, error: BaseException
) -> None:
    write_whole(tmp_path / "a", b"before")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises((WorkError, KeyboardInterrupt)):
        write_whole(tmp_path / "a", b"after")
    assert names_in(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"before"


def test_a_full_disk_is_named_with_path_and_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(WorkError) as caught:
        write_whole(tmp_path / "a", b"2")
    assert str(caught.value) == (
        f"Cannot write {tmp_path / 'a'}: No space left on device. "
        "Free some space on that disk and run the command again."
    )


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"Cannot write .*/none/a: No such file .* Make the folder first\."):
        write_whole(tmp_path / "none" / "a", b"2")


def test_who_reads_what_is_missing_is_not_told_to_make_a_folder(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"Cannot read .*/none/a: No such file or directory\.$"):
        read_bytes(tmp_path / "none" / "a", max_bytes=1)


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=rf"Cannot write {tmp_path}: Is a directory\. Name a file\."):
        write_whole(tmp_path, b"2")


@pytest.mark.parametrize("limit", [0, 1, 9_999])
def test_a_limit_on_file_size_leaves_the_earlier_content(tmp_path: Path, limit: int) -> None:
    write_whole(tmp_path / "a", b"before" * 5_000)
    done = in_a_process_with_small_files(
        "from regard.files import write_whole; write_whole('a', b'x' * 10_000)", tmp_path, limit
    )
    assert done.returncode != 0
    assert "Cannot write a: File too large." in done.stderr
    assert names_in(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"before" * 5_000


def test_a_folder_is_written_with_all_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    true_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        true_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_folder(tmp_path / "step", [("a", b"2"), ("b", b"3")])
    assert names_in(tmp_path) == ["step"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "step").iterdir()} == {"a": b"2", "b": b"3"}
    assert [Path(name).name for name in synced[:2]] == ["a", "b"]
    assert Path(synced[2]).name.endswith(".partial")
    assert Path(synced[3]) == tmp_path


def test_a_folder_whose_files_fail_is_absent(tmp_path: Path) -> None:
    def contents() -> Iterator[tuple[str, bytes]]:
        yield "a", b"2"
        raise OSError(28, "No space left on device")

    with pytest.raises(WorkError, match="No space left"):
        write_folder(tmp_path / "step", contents())
    assert names_in(tmp_path) == []


def test_a_folder_that_stands_there_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    write_folder(tmp_path / "step", [("a", b"2")])

    def contents() -> Iterator[tuple[str, bytes]]:
        yield "b", b"3"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "step", contents())
    assert names_in(tmp_path / "step") == ["a"]
    write_folder(tmp_path / "step", [("b", b"3")])
    assert names_in(tmp_path / "step") == ["b"]
    assert names_in(tmp_path) == ["step"]


def test_leftovers_are_known_by_their_names_and_nothing_else_is_removed(tmp_path: Path) -> None:
    for name in (".a.0123abcd.partial", "a.0123abcd.partial", ".a.partial", ".hidden"):
        (tmp_path / name).write_bytes(b"2")
    (tmp_path / ".step-3.89abcdef.partial").mkdir()
    (tmp_path / ".step-3.89abcdef.partial" / "b").write_bytes(b"3")
    assert remove_leftovers(tmp_path) == [".a.0123abcd.partial", ".step-3.89abcdef.partial"]
    assert names_in(tmp_path) == [".a.partial", ".hidden", "a.0123abcd.partial"]


def test_a_link_to_nothing_in_the_place_of_a_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("a")
    write_folder(tmp_path / "a", [("one", b"1")])
    assert names_in(tmp_path) == ["a"]
    assert (tmp_path / "a" / "one").read_bytes() == b"1"


def test_a_removed_folder_is_gone(tmp_path: Path) -> None:
    write_folder(tmp_path / "step", [("a", b"2")])
    remove_whole(tmp_path / "step")
    assert names_in(tmp_path) == []


def test_a_digest_is_the_sha256_of_the_content(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"abc")
    assert digest(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(WorkError, match=r"Cannot read .*/b: No such file"):
        digest(tmp_path / "b")


def test_an_object_survives_json(tmp_path: Path) -> None:
    value = {"é\u2028": [1, 0.1, None, True, {"a": "\x00"}], "empty": {}}
    write_whole(tmp_path / "a.json", encode_json(value))
    assert read_json(tmp_path / "a.json") == value


def test_nan_is_not_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_json({"loss": float("nan")})


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff{}", "not valid JSON"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' stands twice"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "not valid JSON"),
        (b"[]", "holds a list; an object is needed"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nested deeper than 64 levels"),
        (b'{"a":' + b"[" * 200_000, "nested deeper than 64 levels"),
        (b'{"a":"' + b"x" * 1_000 + b'"}', "larger than the 1,000 bytes"),
    ],
)
def test_json_that_is_not_what_was_written_is_refused(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DamagedError, match=fault):
        read_json(tmp_path / "a.json", max_bytes=1_000 if b"xxx" in content else 1 << 20)


def test_json_as_deep_as_allowed_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"a":' * 64 + b"1" + b"}" * 64)
    read_json(tmp_path / "a.json")


@pytest.mark.parametrize("read", [read_json, read_tensors, lambda path: read_bytes(path, max_bytes=2)])
def test_a_pipe_is_refused_before_it_blocks(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DamagedError, match="is not a regular file"):
        read(tmp_path / "pipe")


def test_tensors_survive_bit_for_bit(tmp_path: Path) -> None:
    tensors = {
        "a.b": torch.randn(2, 3).T,
        "../../x": torch.randn(5).bfloat16(),
        "empty": torch.empty(0, 7),
        "number": torch.tensor(11),
    }
    write_whole(tmp_path / "a", encode_tensors(tensors))
    found = read_tensors(tmp_path / "a")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype
    assert names_in(tmp_path) == ["a"]


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}])
def test_no_tensors_survive_too(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    write_whole(tmp_path / "a", encode_tensors({}, metadata))
    assert read_tensors(tmp_path / "a") == {}


def test_folders_are_made_with_those_above_and_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert sorted(synced) == [str(tmp_path), str(tmp_path / "a")]
    (tmp_path / "c").write_bytes(b"2")
    with pytest.raises(WorkError, match=rf"Cannot make {tmp_path / 'c' / 'd'}: Not a directory"):
        make_folder(tmp_path / "c" / "d")


def header(content: object) -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04K\x01.",
        struct.pack("<Q", 1 << 62) + b"{}",
        header({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}),
        header({"a": {"dtype": "F32", "shape": [1 << 33, 1 << 33], "data_offsets": [0, 0]}}),
        header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}) + b"1234567",
        header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}) + bytes(12),
        header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}) + bytes(9),
        header({"a": {"dtype": "X9", "shape": [2], "data_offsets": [0, 8]}}) + bytes(8),
        header([]),
    ],
)
def test_a_safetensors_file_whose_header_lies_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DamagedError, match="/a is not a valid safetensors file: "):
        read_tensors(tmp_path / "a")


def test_random_changes_of_a_header_are_refused_or_read_but_never_crash(tmp_path: Path) -> None:
    whole = bytearray(encode_tensors({"a": torch.zeros(3), "b": torch.zeros(2, 5)}))
    chance = random.Random(7)
    refused = 0
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(chance.choice([1, 2, 5])):
            changed[chance.randrange(len(whole) - 52)] = chance.randrange(256)
        (tmp_path / "a").write_bytes(changed)
        try:
            assert all(tensor.numel() <= 13 for tensor in read_tensors(tmp_path / "a").values())
        except DamagedError:
            refused += 1
    assert refused > 200
