"""Writing that is whole or absent, and reading that trusts nothing.

What a command writes takes long to make, and the machine may stop at any instruction. So a file or folder is
written beside its place under a hidden name, synced to the disk, renamed, and the folder that holds it is
synced: who reads sees the earlier content or the new one, never a part. What a killed process leaves behind
carries a name that `remove_leftovers` knows.

Reading refuses what is too large, too deep or not what was written, and never unpickles. Names inside a file
(of tensors, of keys) are names; nothing here makes a path of them.
"""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from regard.errors import DamagedError, WorkError

if TYPE_CHECKING:
    from torch import Tensor

PathLike = str | os.PathLike[str]
_PARTIAL = re.compile(r"^\..+\.[0-9a-f]{8}\.partial$", re.DOTALL)
_ADVICE = {
    errno.ENOSPC: "Free some space on that disk and run the command again",
    errno.EDQUOT: "Free some of your disk quota and run the command again",
    errno.EFBIG: "The limit on the size of a file is too low for it (ulimit -f)",
    errno.ENOENT: "Make the folder first",
    errno.EACCES: "Choose a place that you may write to",
    errno.EROFS: "Choose a place that can be written to",
    errno.EISDIR: "Name a file",
}
"""What helps who cannot write."""


def write_whole(path: PathLike, data: bytes | str) -> None:
    """Write a file so that it holds either what it held before or all of `data`, whatever happens.

    Text is written as UTF-8 with its line ends as they are. A link is followed; a pipe or a terminal
    (`/dev/stdout`) is simply written to. The rights of an existing file are kept.

    Raises:
        WorkError: The disk is full, the folder is missing, ... The earlier content stands untouched.
    """
    content = data.encode("utf-8") if isinstance(data, str) else data
    with _telling("write", path):
        if not _is_regular_or_absent(Path(path)):
            Path(path).write_bytes(content)
            return
        target = Path(os.path.realpath(path))
        partial = _beside(target)
        try:
            _write_synced(partial, content)
            if target.exists():
                partial.chmod(stat.S_IMODE(target.stat().st_mode))
            os.replace(partial, target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)


def write_folder(path: PathLike, files: Iterable[tuple[str, bytes]]) -> None:
    """Write a folder of files so that it is there with all of them or not at all.

    The files are taken one after the other, so a generator holds only one of them in memory. A folder that
    stands at the place already is replaced; between the two renames that this takes there is none.

    Raises:
        WorkError: The disk is full, ... Nothing new stands at the place.
    """
    target = Path(path)
    with _telling("write", path):
        partial = _beside(target)
        try:
            partial.mkdir()
            for name, content in files:
                _write_synced(partial / name, content)
            _sync_folder(partial)
            if os.path.lexists(target):  # a link to nothing too
                remove_whole(target)
            os.rename(partial, target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        _sync_folder(target.parent)


def make_folder(path: PathLike) -> None:
    """Make a folder and those above it that are missing, so that they last; one that stands there is well."""
    folder = Path(path)
    with _telling("make", path):
        missing = [place for place in (folder, *folder.parents) if not place.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for place in missing:
            _sync_folder(place.parent)


def remove_whole(path: PathLike) -> None:
    """Remove a file or folder so that no part of it is ever seen at its place."""
    target = Path(path)
    with _telling("remove", path):
        hidden = _beside(target)
        os.rename(target, hidden)
        _remove(hidden)


def remove_leftovers(folder: PathLike) -> list[str]:
    """Remove what killed writers left in a folder, and return the names.

    Only the process that owns the folder may call this: it would take the ground from another writer's feet.
    """
    with _telling("clean", folder):
        found = sorted(entry.name for entry in os.scandir(folder) if _PARTIAL.match(entry.name))
        for name in found:
            _remove(Path(folder) / name)
    return found


def hold(file: IO[bytes]) -> bool:
    """Take an open file for this process alone; False if another process has it.

    The system lets go of it when the process ends, however it ends, and processes that it forks do not have it. Any
    other reading of the file in the same process lets go of it too. On Windows, and on file systems without locks,
    nothing is taken.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def digest(path: PathLike) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with _telling("read", path):
        _require_regular(path)
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def read_bytes(path: PathLike, *, max_bytes: int) -> bytes:
    """Read a regular file that is no larger than `max_bytes`.

    Raises:
        DamagedError: It is larger, or no regular file.
        WorkError: It is missing or cannot be read.
    """
    with _telling("read", path):
        _require_regular(path)
        with open(path, "rb") as file:
            content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise DamagedError(f"{os.fspath(path)} is larger than the {max_bytes:,} bytes that it may have.")
    return content


def read_json(path: PathLike, *, max_bytes: int = 64 << 20, max_depth: int = 64) -> dict[str, Any]:
    """Read a JSON file that holds one object, strictly: no NaN, no key twice, bounded in size and depth.

    Raises:
        DamagedError: The file is not that.
        WorkError: It is missing or cannot be read.
    """
    content = read_bytes(path, max_bytes=max_bytes)
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=without_repeats, parse_constant=_refuse_constant)
    except RecursionError:
        raise DamagedError(f"{os.fspath(path)} is nested deeper than {max_depth} levels.") from None
    except ValueError as error:  # json's and Unicode's errors are of this family
        raise DamagedError(f"{os.fspath(path)} is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise DamagedError(f"{os.fspath(path)} holds {json_kind(value)}; an object is needed.")
    if not _is_shallow(value, max_depth):
        raise DamagedError(f"{os.fspath(path)} is nested deeper than {max_depth} levels.")
    return value


def encode_json(value: Mapping[str, Any]) -> bytes:
    """Encode an object as the JSON text that `read_json` reads: UTF-8, indented, NaN refused."""
    return (json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode("utf-8")


def encode_tensors(tensors: Mapping[str, "Tensor"], metadata: Mapping[str, str] | None = None) -> bytes:
    """Encode named tensors as a safetensors file. Costs a copy of them in memory."""
    from safetensors.torch import save

    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    # Not an empty dictionary: safetensors 0.8 makes a file of it, where there is no tensor, that it does not read.
    return save(contiguous, dict(metadata) if metadata else None)


def read_tensors(path: PathLike) -> dict[str, "Tensor"]:
    """Read a safetensors file into memory.

    Raises:
        DamagedError: The file is no valid safetensors file; its header is checked before any tensor is made.
        WorkError: It is missing or cannot be read.
    """
    from safetensors import safe_open

    with _telling("read", path):
        _require_regular(path)
        try:
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)
        except OSError:
            raise
        except Exception as error:
            # The library raises several unrelated classes for hostile headers; all mean the same to us.
            raise DamagedError(f"{os.fspath(path)} is not a valid safetensors file: {error}.") from None


@contextmanager
def _telling(verb: str, path: PathLike) -> Iterator[None]:
    """Turn an error of the operating system into one that names the path and the cause."""
    try:
        yield
    except OSError as error:
        cause = f"{error.strerror or error}." if verb == "read" else why_not_written(error)
        raise WorkError(f"Cannot {verb} {os.fspath(path)}: {cause}") from error


def why_not_written(error: OSError) -> str:
    """Say why something could not be written, and what to do about it where that is known."""
    advice = _ADVICE.get(error.errno or 0, "")
    return f"{error.strerror or error}.{advice and f' {advice}.'}"


def _beside(target: Path) -> Path:
    """A hidden name in the same folder that nobody uses; short even where the target's own name is long."""
    return target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}.partial")


def _is_regular_or_absent(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return True


def _require_regular(path: PathLike) -> None:
    """Refuse what would block or never end when read: a pipe, a device, a folder."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise DamagedError(f"{os.fspath(path)} is not a regular file.")


def _write_synced(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make renames in a folder last. Windows has no such call, and some file systems refuse it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def json_kind(value: Any) -> str:
    """Name the kind of a JSON value as its users know it."""
    kinds = ((bool, "true or false"), (dict, "an object"), (list, "a list"), (str, "a text"), (int | float, "a number"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dictionary of an object's pairs where each key stands once; for `json.loads`."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _is_shallow(value: Any, max_depth: int) -> bool:
    level = [value]
    for _ in range(max_depth):
        items = [item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer)]
        level = [item for item in items if isinstance(item, dict | list)]
        if not level:
            return True
    return False
