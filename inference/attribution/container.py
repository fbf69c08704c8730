"""A file of named arrays: a msgpack header and the arrays' little-endian bytes, never a pickle.

    magic 8 bytes | header length u32 | header | arrays, each from a multiple of 64 bytes

The header is `{fields: {...}, arrays: [[name, dtype, shape], ...]}`. The file's blake2b-256 is its
name; equal contents have equal bytes.
"""

from collections.abc import Mapping
from enum import Enum
from math import prod
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from runtime.primitives.errors import Refusal
from runtime.primitives.hashing import blake2_256

MAGIC = b"OLARRAY1"
_ALIGNMENT = 64
_DTYPES: dict[str, np.dtype[Any]] = {
    "<i2": np.dtype("<i2"),
    "<u4": np.dtype("<u4"),
    "<u8": np.dtype("<u8"),
}
_DTYPES |= {"<i8": np.dtype("<i8"), "|u1": np.dtype("u1")}


class ContainerReason(Enum):
    """Why a file is refused."""

    WRONG_HASH = "the file is not the one that was asked for: fetch it again"
    MALFORMED = "the file is not a container of arrays, or is cut short"
    UNEXPECTED = "the file holds other arrays or fields than this reader knows"


class ContainerRefused(Refusal):
    """A file that cannot be read."""

    def __init__(self, reason: ContainerReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value)
        self.reason: ContainerReason = reason


def pack_container(fields: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Lay fields and arrays out as a file's bytes."""
    listed = [
        [name, array.dtype.newbyteorder("<").str, list(array.shape)]
        for name, array in arrays.items()
    ]
    header = msgpack.packb({"fields": dict(fields), "arrays": listed}, use_bin_type=True)
    out = bytearray(MAGIC + len(header).to_bytes(4, "little") + header)
    for array in arrays.values():
        out += bytes(-len(out) % _ALIGNMENT)
        out += array.astype(array.dtype.newbyteorder("<")).tobytes()
    return bytes(out)


def unpack_container(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read fields and (read-only) arrays; raises ContainerRefused MALFORMED."""
    if data[:8] != MAGIC or len(data) < 12:
        raise ContainerRefused(ContainerReason.MALFORMED)
    start = 12 + int.from_bytes(data[8:12], "little")
    try:
        header = msgpack.unpackb(data[12:start], raw=False)
        fields, listed = dict(header["fields"]), list(header["arrays"])
        arrays: dict[str, NDArray[Any]] = {}
        at = start
        for name, kind, shape in listed:
            at += -at % _ALIGNMENT
            if any(not isinstance(size, int) or size < 0 for size in shape):
                raise ValueError(f"shape {shape}")
            count = prod(shape)
            part = np.frombuffer(data, _DTYPES[kind], count, at) if count else _empty(kind)
            arrays[str(name)] = part.reshape(shape)
            at += part.nbytes
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ContainerRefused(ContainerReason.MALFORMED, f"cannot be read: {error}") from error
    if at != len(data):
        raise ContainerRefused(ContainerReason.MALFORMED, f"{len(data) - at} bytes too many")
    return fields, arrays


def _empty(kind: str) -> NDArray[Any]:
    return np.empty(0, _DTYPES[kind])


def write_container(path: Path, data: bytes) -> bytes:
    """Write a file whole or not at all; returns its hash."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    partial.replace(path)
    return blake2_256(data)


def read_container(path: Path, expected: bytes | None = None) -> bytes:
    """Read a file; raises ContainerRefused WRONG_HASH where it is not the expected one."""
    data = path.read_bytes()
    if expected is not None and blake2_256(data) != expected:
        raise ContainerRefused(ContainerReason.WRONG_HASH, f"{path}: {ContainerReason.WRONG_HASH}")
    return data
