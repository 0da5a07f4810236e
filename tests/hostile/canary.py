"""Pickles that make a folder when they are loaded, in the wrappings in which pickles come."""

import gzip
import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path


class Trap:
    """Unpickled, it makes a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.place),)


def zipped(content: bytes) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", b"3\n")
    return buffer.getvalue()


def numpy_objects(content: bytes) -> bytes:
    """What numpy.save writes of an array of objects."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def behind_a_header(content: bytes) -> bytes:
    """A pickle where a safetensors file has its header."""
    return struct.pack("<Q", len(content)) + content


WRAPPINGS: dict[str, Callable[[Path], bytes]] = {
    "as text": lambda place: pickle.dumps(Trap(place), protocol=0),
    "protocol 2": lambda place: pickle.dumps({"weights": Trap(place)}, protocol=2),
    "protocol 5": lambda place: pickle.dumps([Trap(place)], protocol=5),
    "zipped by torch": lambda place: zipped(pickle.dumps({"weights": Trap(place)}, protocol=2)),
    "gzip": lambda place: gzip.compress(pickle.dumps(Trap(place), protocol=2), mtime=0),
    "an array of objects": lambda place: numpy_objects(pickle.dumps(Trap(place), protocol=3)),
    "behind a header": lambda place: behind_a_header(pickle.dumps(Trap(place), protocol=4)),
}
