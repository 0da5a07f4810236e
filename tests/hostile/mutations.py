"""Safetensors files that lie, by number: the same number gives the same file.

The format (safetensors/README.md): eight bytes with the header's length, a JSON object of names with dtype, shape and
data_offsets, then the tensors' bytes.
"""

import json
import random
import struct
from collections.abc import Callable
from typing import Any

DTYPES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
NAMES = ["a", "../../escaped", "/tmp/escaped", "..\\escaped", "C:escaped", "a/b", "\x00", "é\u2028", "", "." * 300]
LENGTHS = [0, 1, 7, 1 << 16, 100_000_001, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
NUMBERS = [-1, 0, 1, 3, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1, 1 << 64, 10**40, 0.5, 1e300, "4", None, True, [], {}]

Header = dict[str, Any]


def packed(header: bytes, data: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def whole(chance: random.Random) -> tuple[Header, bytes]:
    """A file that is as it should be."""
    header: Header = {}
    data = b""
    for number in range(chance.randint(1, 4)):
        dtype = chance.choice(list(DTYPES))
        shape = [chance.choice([0, 1, 2, 3, 5]) for _ in range(chance.randint(0, 3))]
        size = DTYPES[dtype]
        for width in shape:
            size *= width
        header[f"tensor.{number}"] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + size]}
        data += bytes(chance.randrange(2) for _ in range(size))
    if chance.random() < 0.3:
        header["__metadata__"] = {"format": "pt"}
    return header, data


def raw(header: Any) -> bytes:
    return json.dumps(header).encode()


def length_lies(chance: random.Random) -> bytes:
    header, data = whole(chance)
    return struct.pack("<Q", chance.choice(LENGTHS)) + raw(header) + data


def names_twice(chance: random.Random) -> bytes:
    header, data = whole(chance)
    entry = raw(chance.choice(list(header.values())))
    name = chance.choice(list(header)).encode()
    return packed(b'{"' + name + b'":' + entry + b"," + raw(header)[1:], data)


def one_number(chance: random.Random) -> bytes:
    header, data = whole(chance)
    entry = header["tensor.0"]
    field = chance.choice(["shape", "data_offsets"])
    if chance.random() < 0.2 or not entry[field]:
        entry[field] = chance.choice(NUMBERS)
    else:
        entry[field][chance.randrange(len(entry[field]))] = chance.choice(NUMBERS)
    return packed(raw(header), data)


def overlapping(chance: random.Random) -> bytes:
    header, data = whole(chance)
    for entry in header.values():
        if "data_offsets" in entry and chance.random() < 0.7:
            begin = chance.randrange(-3, len(data) + 5)
            entry["data_offsets"] = [begin, begin + chance.randrange(-3, len(data) + 5)]
    return packed(raw(header), data)


def overflowing(chance: random.Random) -> bytes:
    header, data = whole(chance)
    shape = [chance.choice([0, 2, 1 << 16, 1 << 31, 1 << 32, 1 << 62, 1 << 63]) for _ in range(chance.randint(1, 5))]
    header["tensor.0"] = {"dtype": chance.choice(list(DTYPES)), "shape": shape, "data_offsets": [0, 0]}
    return packed(raw(header), data)


def another_dtype(chance: random.Random) -> bytes:
    header, data = whole(chance)
    strange = [*DTYPES, "F4", "F8_E4M3", "F8_E5M2", "C64", "U16", "U32", "U64", "f32", "X9", "", 4, None, ["F32"]]
    header["tensor.0"]["dtype"] = chance.choice(strange)
    return packed(raw(header), data)


def another_name(chance: random.Random) -> bytes:
    header, data = whole(chance)
    header[chance.choice(NAMES)] = header.pop("tensor.0")
    return packed(raw(header), data)


def deep(chance: random.Random) -> bytes:
    header, data = whole(chance)
    levels = chance.choice([10, 200, 100_000])
    opening, closing = chance.choice([(b"[", b"]"), (b'{"a":', b"}")])
    nested = opening * levels + b"1" + closing * levels
    place = chance.choice([b'{"__metadata__":', b'{"a":', b'{"a":{"shape":'])
    return packed(place + nested + b"," + raw(header)[1:], data)


def broken_text(chance: random.Random) -> bytes:
    header, data = whole(chance)
    text = bytearray(raw(header))
    for _ in range(chance.randint(1, 4)):
        text[chance.randrange(len(text))] = chance.choice([0xFF, 0xC0, 0x80, 0xED, 0x00, 0x22, 0x5C])
    return packed(bytes(text), data)


def more_or_less(chance: random.Random) -> bytes:
    header, data = whole(chance)
    content = packed(raw(header), data)
    return content + bytes(chance.choice([1, 7, 4096])) if chance.random() < 0.5 else content[: -chance.randint(1, 60)]


def fields(chance: random.Random) -> bytes:
    header, data = whole(chance)
    entry = header["tensor.0"]
    change = chance.randrange(4)
    if change == 0:
        del entry[chance.choice(list(entry))]
    elif change == 1:
        entry[chance.choice(["shape2", "__reduce__", "strides"])] = chance.choice(NUMBERS)
    elif change == 2:
        header["__metadata__"] = chance.choice([{"a": 1}, {"a": {"b": "c"}}, [], "x", 3, {"a": None}, None])
    else:
        header["tensor.0"] = chance.choice(NUMBERS)
    return packed(raw(header), data)


def flips(chance: random.Random) -> bytes:
    header, data = whole(chance)
    content = bytearray(packed(raw(header), data))
    for _ in range(chance.choice([1, 2, 5, 17])):
        content[chance.randrange(len(content))] = chance.randrange(256)
    return bytes(content)


def unchanged(chance: random.Random) -> bytes:
    header, data = whole(chance)
    return packed(raw(header), data)


KINDS: list[Callable[[random.Random], bytes]] = [
    *(length_lies, names_twice, one_number, overlapping, overflowing, another_dtype, another_name),
    *(deep, broken_text, more_or_less, fields, flips, unchanged),
]


def mutated(number: int) -> tuple[str, bytes]:
    """Make a file and say of which kind it is."""
    kind = KINDS[number % len(KINDS)]
    return kind.__name__, kind(random.Random(number))
