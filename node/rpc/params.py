"""Decoders of parameters: one JSON value in, one checked value out.

Clients differ in small ways, all accepted: hex with or without `0x`, `""` for no bytes, numbers as
JSON integers or as hex strings, trailing nulls for parameters that are absent.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from node.rpc import schema
from node.rpc.errors import invalid_params
from node.rpc.schema import Schema

T = TypeVar("T")

MAX_U32 = (1 << 32) - 1
MAX_U64 = (1 << 64) - 1


class MalformedError(ValueError):
    """A parameter has the wrong form; the text says which form is right."""


@dataclass(frozen=True, slots=True)
class Decoder(Generic[T]):
    """How one JSON value is read, raising MalformedError, and the schema that says so."""

    read: Callable[[object], T]
    schema: Schema

    def __call__(self, value: object) -> T:
        """Read a value."""
        return self.read(value)


def decoder(described: Schema) -> Callable[[Callable[[object], T]], Decoder[T]]:
    """Make a function a decoder of values of this schema."""
    return lambda read: Decoder(read, described)


@dataclass(frozen=True, slots=True)
class Param:
    """One positional parameter: its name, how to decode it, and whether it may be absent."""

    name: str
    decode: Decoder[Any]
    optional: bool = False
    doc: str = ""


def decode_params(declared: tuple[Param, ...], given: object) -> list[Any]:
    """Decode positional or named parameters; absent optional ones become None."""
    if given is None:
        given = []
    elif isinstance(given, dict):
        given = _by_position(declared, given)
    elif not isinstance(given, list):
        raise invalid_params("params must be an array or an object")
    count = len(given)
    while count and given[count - 1] is None:
        count -= 1
    if count > len(declared):
        raise invalid_params(f"{count} parameters given, at most {len(declared)} taken")
    values: list[Any] = []
    for position, param in enumerate(declared):
        value = given[position] if position < count else None
        if value is None:
            if not param.optional:
                raise invalid_params(f"parameter {position} ({param.name}) is missing")
            values.append(None)
            continue
        try:
            values.append(param.decode.read(value))
        except MalformedError as refusal:
            raise invalid_params(f"parameter {position} ({param.name}): {refusal}") from None
    return values


def _by_position(declared: tuple[Param, ...], given: dict[str, Any]) -> list[Any]:
    names = [param.name for param in declared]
    for name in given:
        if name not in names:
            raise invalid_params(f"no parameter is named {name[:64]!r}; known: {', '.join(names)}")
    return [given.get(name) for name in names]


@decoder({"type": "string", "description": "hexadecimal, with or without 0x"})
def hex_bytes(value: object) -> bytes:
    """Decode hexadecimal, with or without `0x`; `""` is no bytes."""
    if not isinstance(value, str):
        raise MalformedError("expected a hexadecimal string")
    digits = value[2:] if value[:2] in ("0x", "0X") else value
    try:
        return binascii.unhexlify(digits)
    except (binascii.Error, ValueError):
        raise MalformedError("expected an even number of hexadecimal digits") from None


@decoder(schema.HASH)
def hash32(value: object) -> bytes:
    """Decode a hash of 32 bytes, with or without `0x`."""
    try:
        decoded = hex_bytes(value)
    except MalformedError:
        decoded = b""
    if len(decoded) != 32:
        raise MalformedError("expected a hash: 0x and 64 hexadecimal digits")
    return decoded


@decoder({"oneOf": [schema.U64, schema.HEX_NUMBER]})
def unsigned(value: object) -> int:
    """Decode an unsigned 64-bit number from a JSON integer or a hex string."""
    if isinstance(value, str):
        try:
            number = int(value, 16) if value[:2] in ("0x", "0X") and len(value) <= 18 else -1
        except ValueError:
            number = -1
        if number < 0 or "_" in value:
            raise MalformedError("expected an unsigned number, as JSON integer or 0x hex")
        return number
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_U64:
        raise MalformedError("expected an unsigned number, as JSON integer or 0x hex")
    return value


@decoder({"oneOf": [schema.U32, schema.HEX_NUMBER]})
def u32(value: object) -> int:
    """Decode an unsigned 32-bit number."""
    number = unsigned(value)
    if number > MAX_U32:
        raise MalformedError("the number is above 4294967295")
    return number


@decoder(schema.TEXT)
def text(value: object) -> str:
    """Decode a string."""
    if not isinstance(value, str):
        raise MalformedError("expected a string")
    return value


@decoder(schema.BOOLEAN)
def boolean(value: object) -> bool:
    """Decode true or false."""
    if not isinstance(value, bool):
        raise MalformedError("expected true or false")
    return value


@decoder({"type": "string", "contentEncoding": "base64"})
def base64_bytes(value: object) -> bytes:
    """Decode standard base64."""
    if not isinstance(value, str):
        raise MalformedError("expected a base64 string")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError("expected standard base64") from None


def list_of(decode: Decoder[T], most: int) -> Decoder[list[T]]:
    """Decode an array of at most `most` values."""

    @decoder(schema.array(decode.schema, most))
    def decode_list(value: object) -> list[T]:
        if not isinstance(value, list):
            raise MalformedError("expected an array")
        if len(value) > most:
            raise MalformedError(f"at most {most} elements are taken, got {len(value)}")
        return [decode(element) for element in value]

    return decode_list


def to_hex(data: bytes) -> str:
    """Write bytes as clients expect them: lower-case hex with `0x`."""
    return "0x" + data.hex()
