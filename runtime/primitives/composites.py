"""Codecs of composites: the fields of a record, nested ones included, as one straight function.

Half of a block's time would go into loops over fields and calls per field. So the two functions
of a record are written out and compiled once, as `dataclasses` does with its own: neighbouring
fields of fixed size go through one `struct.Struct`, all others through their own codecs. For an
account, for instance::

    def encode(value):
        n0 = value.data
        return pack0(value.nonce, ..., n0.free & LOW, n0.free >> 64, ...)

    def decode(data, offset):
        x0, x1, x2, x3, x4, x5, ... = unpack0(data, offset)
        offset += 80
        return C0(x0, x1, x2, x3, C1(x4 | x5 << 64, ...)), offset

The text holds nothing but the names of fields and numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Encoder = Callable[[Any], bytes]
Decoder = Callable[[bytes, int], tuple[Any, int]]


@dataclass(frozen=True, slots=True)
class Number:
    """An integer of fixed width by its `struct` letter; ``QQ`` is 128 bits."""

    letter: str


@dataclass(frozen=True, slots=True)
class Flag:
    """A boolean."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an enumeration, in one byte."""

    by_value: Mapping[int, Any]
    name: str


@dataclass(frozen=True, slots=True)
class Array:
    """Bytes of fixed length."""

    length: int


@dataclass(frozen=True, slots=True)
class Coded:
    """A field with a codec of its own."""

    encode: Encoder
    decode_at: Decoder


@dataclass(frozen=True, slots=True)
class Record:
    """A composite: its class and its fields."""

    cls: type
    fields: tuple[tuple[str, Part], ...]


Part = Number | Flag | Member | Array | Coded | Record


class Refusals:
    """The exceptions that compiled functions raise."""

    def __init__(self, encode: type[Exception], decode: type[Exception]) -> None:
        self._encode = encode
        self._decode = decode

    def wrong_length(self, length: int, wanted: int) -> Exception:
        """Return the refusal to encode an array of another length."""
        return self._encode(f"{length} bytes where {wanted} are required")

    def no_member(self, value: int, name: str) -> Exception:
        """Return the refusal to decode a number that an enumeration does not have."""
        return self._decode(f"{value} is not a {name}")


def compile_record(record: Record, refusals: Refusals) -> tuple[Encoder, Decoder]:
    """Return the two functions of a record. Both let `struct.error` through."""
    writer = _Writer(refusals)
    built = writer.walk(record, "value")
    writer.flush()
    total = " + ".join(writer.chunks) or "b''"
    source = (
        "\n    ".join(("def encode(value):", *writer.encoding, f"return {total}"))
        + "\n"
        + "\n    ".join(("def decode(data, offset):", *writer.decoding, f"return {built}, offset"))
    )
    exec(compile(source, f"<codec of {record.cls.__name__}>", "exec"), writer.names)
    return writer.names["encode"], writer.names["decode"]


class _Writer:
    """Writes both functions field by field; `names` is what their text refers to."""

    def __init__(self, refusals: Refusals) -> None:
        self.names: dict[str, Any] = {"LOW": (1 << 64) - 1, "refusals": refusals}
        self.encoding: list[str] = []
        self.decoding: list[str] = []
        self.chunks: list[str] = []
        self._format = ""
        self._packed: list[str] = []
        self._unpacked: list[str] = []
        self._after: list[str] = []
        self._count = 0

    def walk(self, part: Part, path: str) -> str:
        """Write one field; return the expression that its decoded value is."""
        match part:
            case Record(cls, fields):
                return self._record(cls, fields, path)
            case Coded(encode, decode_at):
                self.flush()
                found = self._new("x")
                self.chunks.append(f"{self._name('e', encode)}({path})")
                decoder = self._name("d", decode_at)
                self.decoding.append(f"{found}, offset = {decoder}(data, offset)")
                return found
            case Number("QQ"):
                low, high = self._new("x"), self._new("x")
                self._pack("QQ", (f"{path} & LOW", f"{path} >> 64"), (low, high))
                return f"{low} | {high} << 64"
            case Number(letter):
                found = self._new("x")
                self._pack(letter, (path,), (found,))
                return found
            case Array(length):
                found = self._new("x")
                self.encoding.append(f"if len({path}) != {length}:")
                self.encoding.append(f"    raise refusals.wrong_length(len({path}), {length})")
                self._pack(f"{length}s", (path,), (found,))
                return found
            case Flag():
                return self._choice("1 if {0} else 0", {0: False, 1: True}, "boolean", path)
            case Member(by_value, name):
                numbers = self._name("t", {member: value for value, member in by_value.items()})
                return self._choice(f"{numbers}[{{0}}]", by_value, name, path)

    def flush(self) -> None:
        """Write the fields of fixed size collected so far as one `struct`."""
        if not self._format:
            return
        packed = struct.Struct("<" + self._format)
        self.chunks.append(f"{self._name('pack', packed.pack)}({', '.join(self._packed)})")
        unpack = self._name("unpack", packed.unpack_from)
        self.decoding.append(f"{', '.join(self._unpacked)}, = {unpack}(data, offset)")
        self.decoding.append(f"offset += {packed.size}")
        self.decoding.extend(self._after)
        self._format = ""
        self._packed, self._unpacked, self._after = [], [], []

    def _record(self, cls: type, fields: tuple[tuple[str, Part], ...], path: str) -> str:
        here = path
        if path != "value":
            here = self._new("n")
            self.encoding.append(f"{here} = {path}")
        arguments = [self.walk(part, f"{here}.{name}") for name, part in fields]
        return f"{self._name('C', cls)}({', '.join(arguments)})"

    def _choice(self, shown: str, by_value: Mapping[int, Any], name: str, path: str) -> str:
        raw, found = self._new("x"), self._new("x")
        self._pack("B", (shown.format(path),), (raw,))
        table = self._name("m", dict(by_value))
        self._after.append(f"{found} = {table}.get({raw})")
        self._after.append(f"if {found} is None:")
        self._after.append(f"    raise refusals.no_member({raw}, {name!r})")
        return found

    def _pack(self, letters: str, values: tuple[str, ...], names: tuple[str, ...]) -> None:
        self._format += letters
        self._packed.extend(values)
        self._unpacked.extend(names)

    def _new(self, letter: str) -> str:
        self._count += 1
        return f"{letter}{self._count}"

    def _name(self, letter: str, target: Any) -> str:
        name = self._new(letter)
        self.names[name] = target
        return name
