"""SCALE codec: a Python annotation describes a type, a pair of compiled closures codes it.

A decoder is a function ``(data, offset) -> (value, offset)``. Fixed-size decoders do not check
the length of the data: reading past the end leaves the offset beyond it, and whoever started the
decoding compares the two (`decode` does). Nothing else is accepted silently.

Source: https://docs.polkadot.com/polkadot-protocol/parachain-basics/data-encoding (SCALE).
"""

from __future__ import annotations

import dataclasses
import struct
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any, NamedTuple, TypeVar

from runtime.primitives import composites

T = TypeVar("T")

Encoder = composites.Encoder
Decoder = composites.Decoder


class DecodeError(ValueError):
    """The bytes are not a value of the type: truncated, trailing, non-canonical or out of range."""


class EncodeError(ValueError):
    """The value does not fit its type."""


@dataclass(frozen=True, slots=True)
class Uint:
    """Marks an unsigned little-endian integer of a fixed width."""

    bits: int


@dataclass(frozen=True, slots=True)
class Int:
    """Marks a two's-complement little-endian integer of a fixed width."""

    bits: int


@dataclass(frozen=True, slots=True)
class Compact:
    """Marks an unsigned integer in SCALE's variable-length form; `bits` bounds its value."""

    bits: int


@dataclass(frozen=True, slots=True)
class Fixed:
    """Marks an array of `length` bytes; `path` names it in the metadata where it has a name."""

    length: int
    path: str = ""


@dataclass(frozen=True, slots=True)
class Variants:
    """Marks a union of `@variant` dataclasses as one enumeration with this metadata path."""

    path: str
    params: tuple[tuple[str, Any], ...] = ()
    """Generic parameters that clients look for, as (name, annotation or None)."""


@dataclass(frozen=True, slots=True)
class Named:
    """Gives an alias a type name for the metadata, such as ``Balance`` for a u128."""

    name: str


@dataclass(frozen=True, slots=True)
class Raw:
    """Marks a type whose codec and metadata type are given by the alias itself.

    `codec` codes it; `path` is resolved by the metadata builder.
    """

    codec: Codec
    path: str


class Codec(NamedTuple):
    """The two closures of a type."""

    encode: Encoder
    decode_at: Decoder


U8 = Annotated[int, Uint(8)]
U16 = Annotated[int, Uint(16)]
U32 = Annotated[int, Uint(32)]
U64 = Annotated[int, Uint(64)]
U128 = Annotated[int, Uint(128)]
I8 = Annotated[int, Int(8)]
I16 = Annotated[int, Int(16)]
I32 = Annotated[int, Int(32)]
I64 = Annotated[int, Int(64)]
CompactU32 = Annotated[int, Compact(32)]
CompactU64 = Annotated[int, Compact(64)]
CompactU128 = Annotated[int, Compact(128)]
Bytes4 = Annotated[bytes, Fixed(4)]
Bytes8 = Annotated[bytes, Fixed(8)]
Bytes32 = Annotated[bytes, Fixed(32)]
Bytes64 = Annotated[bytes, Fixed(64)]
H256 = Annotated[bytes, Fixed(32, "primitive_types::H256")]


def fixed(length: int, path: str = "") -> Any:
    """Return the annotation of an array of `length` bytes."""
    return Annotated[bytes, Fixed(length, path)]


def variant(
    *, index: int, name: str = "", positional: bool = False
) -> Callable[[type[T]], type[T]]:
    """Make a dataclass one arm of a tagged union.

    Args:
        index: The arm's index on the wire; written, never inferred.
        name: Its name in the metadata, the class's own by default.
        positional: Whether the metadata shows its fields without names, as in ``Id(AccountId)``.
    """

    def mark(cls: type[T]) -> type[T]:
        cls.VARIANT_INDEX = index  # type: ignore[attr-defined]
        cls.VARIANT_NAME = name or cls.__name__  # type: ignore[attr-defined]
        cls.VARIANT_POSITIONAL = positional  # type: ignore[attr-defined]
        return cls

    return mark


def encode(type_: Any, value: Any) -> bytes:
    """Encode `value`; raises EncodeError where it does not fit."""
    try:
        return codec(type_).encode(value)
    except (struct.error, OverflowError, AttributeError, KeyError, TypeError) as error:
        raise EncodeError(f"{value!r:.80} is not a {type_name(type_)}: {error}") from error


def decode(type_: Any, data: bytes) -> Any:
    """Decode the whole of `data`; raises DecodeError where bytes are missing, wrong or extra."""
    value, end = decode_at(codec(type_), data, 0)
    if end != len(data):
        raise DecodeError(f"{len(data) - end} bytes left over after a {type_name(type_)}")
    return value


def decode_at(codec_: Codec, data: bytes, offset: int) -> tuple[Any, int]:
    """Decode one value at `offset`; raises DecodeError also where the data ends too early."""
    try:
        value, end = codec_.decode_at(data, offset)
    except (IndexError, struct.error, UnicodeDecodeError, KeyError, RecursionError) as error:
        raise DecodeError("malformed or truncated data") from error
    if end > len(data):
        raise DecodeError(f"{end - len(data)} bytes missing")
    return value, end


def compact_encode(value: int) -> bytes:
    """Encode an unsigned integer below 2^536 in compact form."""
    if value < 0:
        raise EncodeError(f"{value} is negative")
    if value < 1 << 6:
        return bytes((value << 2,))
    if value < 1 << 14:
        return (value << 2 | 1).to_bytes(2, "little")
    if value < 1 << 30:
        return (value << 2 | 2).to_bytes(4, "little")
    size = (value.bit_length() + 7) // 8
    if size > 67:
        raise EncodeError("the integer is too large for the compact form")
    return bytes(((size - 4) << 2 | 3,)) + value.to_bytes(size, "little")


def compact_decode(data: bytes, offset: int) -> tuple[int, int]:
    """Decode a compact integer; refuses every form but the shortest."""
    first = data[offset]
    mode = first & 3
    if mode == 0:
        return first >> 2, offset + 1
    if mode == 1:
        value = (first | data[offset + 1] << 8) >> 2
        if value < 1 << 6:
            raise DecodeError("non-canonical compact integer")
        return value, offset + 2
    if mode == 2:
        end = offset + 4
        value = int.from_bytes(data[offset:end], "little") >> 2
        if value < 1 << 14:
            raise DecodeError("non-canonical or truncated compact integer")
        return value, end
    size = (first >> 2) + 4
    end = offset + 1 + size
    if end > len(data):
        raise DecodeError("truncated compact integer")
    value = int.from_bytes(data[offset + 1 : end], "little")
    if value >> 8 * (size - 1) == 0 or value < 1 << 30:
        raise DecodeError("non-canonical compact integer")
    return value, end


_CACHE: dict[Any, Codec] = {}


def codec(type_: Any) -> Codec:
    """Return the codec of an annotation, compiling it once."""
    found = _CACHE.get(type_)
    if found is None:
        found = _CACHE[type_] = _compile(type_)
    return found


def type_name(type_: Any) -> str:
    """Return a short name for messages and metadata, such as ``Vec<u8>`` or ``Balance``."""
    marks = getattr(type_, "__metadata__", ())
    for mark in marks:
        if isinstance(mark, Named):
            return mark.name
    for mark in marks:
        match mark:
            case Uint(bits):
                return f"u{bits}"
            case Int(bits):
                return f"i{bits}"
            case Compact(bits):
                return f"Compact<u{bits}>"
            case Fixed(length, path):
                return path.rpartition("::")[2] or f"[u8; {length}]"
            case Variants(path) | Raw(_, path):
                return path.rpartition("::")[2]
            case _:
                pass
    simple = {bool: "bool", bytes: "Vec<u8>", str: "String", type(None): "()"}
    if type_ in simple:
        return simple[type_]
    arguments = typing.get_args(type_)
    if typing.get_origin(type_) is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return f"Vec<{type_name(arguments[0])}>"
        return f"({', '.join(map(type_name, arguments))})"
    if is_option(type_):
        return f"Option<{type_name(option_inner(type_))}>"
    return getattr(type_, "__name__", str(type_))


def is_option(type_: Any) -> bool:
    """Tell whether an annotation is ``T | None``."""
    origin = typing.get_origin(type_)
    return origin in (typing.Union, types.UnionType) and type(None) in typing.get_args(type_)


def option_inner(type_: Any) -> Any:
    """Return T of ``T | None``."""
    inner = tuple(a for a in typing.get_args(type_) if a is not type(None))
    if len(inner) != 1:
        raise TypeError(f"{type_} is not an option of one type; wrap the union in Variants")
    return inner[0]


def field_types(cls: type) -> dict[str, Any]:
    """Return the annotation of each field of a dataclass, in order."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def _compile(type_: Any) -> Codec:
    for mark in getattr(type_, "__metadata__", ()):
        match mark:
            case Uint(bits):
                return _uint(bits // 8)
            case Int(bits):
                return _int(bits // 8)
            case Compact(bits):
                return _compact(bits)
            case Fixed(length):
                return _fixed_bytes(length)
            case Variants(path):
                return _variants(path, typing.get_args(typing.get_args(type_)[0]))
            case Raw(own, _):
                return own
            case _:
                pass
    if hasattr(type_, "__metadata__"):
        return codec(type_.__origin__)
    if type_ is bool:
        return Codec(lambda v: b"\x01" if v else b"\x00", _decode_bool)
    if type_ is bytes:
        return Codec(lambda v: compact_encode(len(v)) + v, _decode_bytes)
    if type_ is str:
        return Codec(_encode_str, _decode_str)
    if type_ is type(None) or type_ is None:
        return Codec(lambda v: b"", lambda data, offset: (None, offset))
    if is_option(type_):
        return _option(codec(option_inner(type_)))
    if typing.get_origin(type_) is tuple:
        arguments = typing.get_args(type_)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return _sequence(codec(arguments[0]))
        return _tuple([codec(a) for a in arguments if a != ()])
    if isinstance(type_, type) and issubclass(type_, IntEnum):
        return _plain_enum(type_)
    if dataclasses.is_dataclass(type_) and isinstance(type_, type):
        return _composite(type_)
    raise TypeError(f"no SCALE codec for {type_!r}")


def _uint(width: int) -> Codec:
    if width == 1:
        return Codec(struct.Struct("<B").pack, lambda data, offset: (data[offset], offset + 1))
    if width > 8:

        def decode_wide(data: bytes, offset: int) -> tuple[int, int]:
            end = offset + width
            return int.from_bytes(data[offset:end], "little"), end

        return Codec(lambda v: v.to_bytes(width, "little"), decode_wide)
    packed = struct.Struct("<" + {2: "H", 4: "I", 8: "Q"}[width])
    unpack = packed.unpack_from
    return Codec(packed.pack, lambda data, offset: (unpack(data, offset)[0], offset + width))


def _int(width: int) -> Codec:
    packed = struct.Struct("<" + {1: "b", 2: "h", 4: "i", 8: "q"}[width])
    unpack = packed.unpack_from
    return Codec(packed.pack, lambda data, offset: (unpack(data, offset)[0], offset + width))


def _compact(bits: int) -> Codec:
    limit = 1 << bits

    def encode_value(value: int) -> bytes:
        if value >= limit:
            raise EncodeError(f"{value} does not fit in {bits} bits")
        return compact_encode(value)

    def decode_value(data: bytes, offset: int) -> tuple[int, int]:
        value, end = compact_decode(data, offset)
        if value >= limit:
            raise DecodeError(f"compact integer exceeds {bits} bits")
        return value, end

    return Codec(encode_value, decode_value)


def _fixed_bytes(length: int) -> Codec:
    def encode_value(value: bytes) -> bytes:
        if len(value) != length:
            raise EncodeError(f"{len(value)} bytes where {length} are required")
        return bytes(value)

    def decode_value(data: bytes, offset: int) -> tuple[bytes, int]:
        end = offset + length
        return data[offset:end], end

    return Codec(encode_value, decode_value)


def _decode_bool(data: bytes, offset: int) -> tuple[bool, int]:
    byte = data[offset]
    if byte > 1:
        raise DecodeError(f"{byte} is not a boolean")
    return byte == 1, offset + 1


def _decode_bytes(data: bytes, offset: int) -> tuple[bytes, int]:
    length, start = compact_decode(data, offset)
    end = start + length
    if end > len(data):
        raise DecodeError("a byte string is longer than the data")
    return data[start:end], end


def _encode_str(value: str) -> bytes:
    raw = value.encode()
    return compact_encode(len(raw)) + raw


def _decode_str(data: bytes, offset: int) -> tuple[str, int]:
    raw, end = _decode_bytes(data, offset)
    return raw.decode(), end


def _option(inner: Codec) -> Codec:
    encode_inner, decode_inner = inner

    def decode_value(data: bytes, offset: int) -> tuple[Any, int]:
        byte = data[offset]
        if byte == 0:
            return None, offset + 1
        if byte != 1:
            raise DecodeError(f"{byte} is not the tag of an option")
        return decode_inner(data, offset + 1)

    return Codec(lambda v: b"\x00" if v is None else b"\x01" + encode_inner(v), decode_value)


def _sequence(inner: Codec) -> Codec:
    encode_inner, decode_inner = inner

    def encode_value(values: Any) -> bytes:
        return compact_encode(len(values)) + b"".join([encode_inner(v) for v in values])

    def decode_value(data: bytes, offset: int) -> tuple[tuple[Any, ...], int]:
        count, offset = compact_decode(data, offset)
        if count > len(data) - offset:
            raise DecodeError(f"{count} items cannot fit in {len(data) - offset} bytes")
        values = []
        for _ in range(count):
            value, offset = decode_inner(data, offset)
            values.append(value)
        return tuple(values), offset

    return Codec(encode_value, decode_value)


def _decode_all(decoders: list[Decoder], data: bytes, offset: int) -> tuple[list[Any], int]:
    values = []
    for decode_field in decoders:
        value, offset = decode_field(data, offset)
        values.append(value)
    return values, offset


def _tuple(inner: list[Codec]) -> Codec:
    encoders = [c.encode for c in inner]
    decoders = [c.decode_at for c in inner]

    def encode_value(values: Any) -> bytes:
        if len(values) != len(encoders):
            raise EncodeError(f"{len(values)} items where {len(encoders)} are required")
        return b"".join([e(v) for e, v in zip(encoders, values, strict=True)])

    def decode_value(data: bytes, offset: int) -> tuple[tuple[Any, ...], int]:
        values, offset = _decode_all(decoders, data, offset)
        return tuple(values), offset

    return Codec(encode_value, decode_value)


_REFUSALS = composites.Refusals(EncodeError, DecodeError)
_UNSIGNED = {8: "B", 16: "H", 32: "I", 64: "Q", 128: "QQ"}
_SIGNED = {8: "b", 16: "h", 32: "i", 64: "q"}


def _composite(cls: type) -> Codec:
    return Codec(*composites.compile_record(_record(cls), _REFUSALS))


def _record(cls: type) -> composites.Record:
    return composites.Record(cls, tuple((n, _part(t)) for n, t in field_types(cls).items()))


def _part(type_: Any) -> composites.Part:
    """Return how a field stands in its record: in line where it can, else by its codec."""
    for mark in getattr(type_, "__metadata__", ()):
        match mark:
            case Uint(bits):
                return composites.Number(_UNSIGNED[bits])
            case Int(bits):
                return composites.Number(_SIGNED[bits])
            case Fixed(length):
                return composites.Array(length)
            case Compact() | Variants() | Raw():
                return composites.Coded(*codec(type_))
            case _:
                pass
    if hasattr(type_, "__metadata__"):
        return _part(type_.__origin__)
    if type_ is bool:
        return composites.Flag()
    if isinstance(type_, type) and issubclass(type_, IntEnum):
        return composites.Member({int(m): m for m in type_}, type_.__name__)
    if isinstance(type_, type) and dataclasses.is_dataclass(type_):
        return _record(type_)
    return composites.Coded(*codec(type_))


def _plain_enum(cls: type[IntEnum]) -> Codec:
    members = {int(m): m for m in cls}

    def decode_value(data: bytes, offset: int) -> tuple[IntEnum, int]:
        member = members.get(data[offset])
        if member is None:
            raise DecodeError(f"{data[offset]} is not a {cls.__name__}")
        return member, offset + 1

    return Codec({m: bytes((m,)) for m in cls}.__getitem__, decode_value)


def _variants(path: str, arms: tuple[Any, ...]) -> Codec:
    encoders: dict[type, tuple[bytes, Encoder]] = {}
    decoders: dict[int, Decoder] = {}
    for arm in arms:
        own = codec(arm)
        encoders[arm] = (bytes((arm.VARIANT_INDEX,)), own.encode)
        if arm.VARIANT_INDEX in decoders:
            raise TypeError(f"{path} has two arms with index {arm.VARIANT_INDEX}")
        decoders[arm.VARIANT_INDEX] = own.decode_at

    def encode_value(value: Any) -> bytes:
        tag, encode_arm = encoders[type(value)]
        return tag + encode_arm(value)

    def decode_value(data: bytes, offset: int) -> tuple[Any, int]:
        decode_arm = decoders.get(data[offset])
        if decode_arm is None:
            raise DecodeError(f"{data[offset]} is not a variant of {path}")
        return decode_arm(data, offset + 1)

    return Codec(encode_value, decode_value)
