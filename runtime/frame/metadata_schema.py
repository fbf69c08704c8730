"""Layout of `frame-metadata` V14: what a runtime tells wallets about itself.

Source: frame-metadata 15.0 `v14`, scale-info 2 `PortableRegistry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from runtime.primitives.scale import (
    U8,
    U32,
    CompactU32,
    DecodeError,
    Variants,
    decode,
    encode,
    variant,
)

MAGIC = b"meta"
VERSION = 14

Docs = tuple[str, ...]
TypeId = CompactU32


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a composite or a variant."""

    name: str | None
    type: TypeId
    type_name: str | None
    docs: Docs


@dataclass(frozen=True, slots=True)
class Variant:
    """One arm of an enumeration."""

    name: str
    fields: tuple[Field, ...]
    index: U8
    docs: Docs


class PrimitiveKind(IntEnum):
    """Types that are not made of others."""

    BOOL = 0
    CHAR = 1
    STR = 2
    U8 = 3
    U16 = 4
    U32 = 5
    U64 = 6
    U128 = 7
    U256 = 8
    I8 = 9
    I16 = 10
    I32 = 11
    I64 = 12
    I128 = 13
    I256 = 14


@variant(index=0)
@dataclass(frozen=True, slots=True)
class Composite:
    """A struct."""

    fields: tuple[Field, ...]


@variant(index=1, name="Variant")
@dataclass(frozen=True, slots=True)
class Enumeration:
    """An enumeration."""

    variants: tuple[Variant, ...]


@variant(index=2)
@dataclass(frozen=True, slots=True)
class Sequence:
    """A vector."""

    type: TypeId


@variant(index=3)
@dataclass(frozen=True, slots=True)
class Array:
    """An array of fixed length."""

    len: U32
    type: TypeId


@variant(index=4)
@dataclass(frozen=True, slots=True)
class Tuple:
    """A tuple."""

    types: tuple[TypeId, ...]


@variant(index=5)
@dataclass(frozen=True, slots=True)
class Primitive:
    """A primitive."""

    kind: PrimitiveKind


@variant(index=6, name="Compact")
@dataclass(frozen=True, slots=True)
class CompactOf:
    """An integer in compact form."""

    type: TypeId


@variant(index=7)
@dataclass(frozen=True, slots=True)
class BitSequence:
    """A vector of bits."""

    store: TypeId
    order: TypeId


TypeDef = Annotated[
    Composite | Enumeration | Sequence | Array | Tuple | Primitive | CompactOf | BitSequence,
    Variants("scale_info::TypeDef"),
]


@dataclass(frozen=True, slots=True)
class TypeParameter:
    """A generic parameter of a type."""

    name: str
    type: TypeId | None


@dataclass(frozen=True, slots=True)
class PortableType:
    """A type under its id; ids run from 0 without gaps."""

    id: TypeId
    path: tuple[str, ...]
    params: tuple[TypeParameter, ...]
    definition: TypeDef
    docs: Docs


class Modifier(IntEnum):
    """What an absent entry reads as."""

    OPTIONAL = 0
    DEFAULT = 1
    REQUIRED = 2


class HasherKind(IntEnum):
    """How a map's key becomes part of the storage key."""

    BLAKE2_128 = 0
    BLAKE2_256 = 1
    BLAKE2_128_CONCAT = 2
    TWOX_128 = 3
    TWOX_256 = 4
    TWOX_64_CONCAT = 5
    IDENTITY = 6


@variant(index=0)
@dataclass(frozen=True, slots=True)
class Plain:
    """A single value."""

    type: TypeId


@variant(index=1)
@dataclass(frozen=True, slots=True)
class Map:
    """A map; a key of several parts is a tuple."""

    hashers: tuple[HasherKind, ...]
    key: TypeId
    value: TypeId


EntryType = Annotated[Plain | Map, Variants("StorageEntryType")]


@dataclass(frozen=True, slots=True)
class StorageEntry:
    """A storage item."""

    name: str
    modifier: Modifier
    type: EntryType
    default: bytes
    docs: Docs


@dataclass(frozen=True, slots=True)
class PalletStorage:
    """The storage of a pallet; the prefix is hashed into its keys."""

    prefix: str
    entries: tuple[StorageEntry, ...]


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant of a pallet."""

    name: str
    type: TypeId
    value: bytes
    docs: Docs


@dataclass(frozen=True, slots=True)
class PalletMetadata:
    """A pallet."""

    name: str
    storage: PalletStorage | None
    calls: TypeId | None
    events: TypeId | None
    constants: tuple[Constant, ...]
    errors: TypeId | None
    index: U8


@dataclass(frozen=True, slots=True)
class SignedExtension:
    """What a signer states beside the call, and what it signs without stating it."""

    identifier: str
    type: TypeId
    additional_signed: TypeId


@dataclass(frozen=True, slots=True)
class ExtrinsicMetadata:
    """The form of extrinsics."""

    type: TypeId
    version: U8
    signed_extensions: tuple[SignedExtension, ...]


@dataclass(frozen=True, slots=True)
class MetadataV14:
    """Everything that a wallet must know to read and sign for a runtime."""

    types: tuple[PortableType, ...]
    pallets: tuple[PalletMetadata, ...]
    extrinsic: ExtrinsicMetadata
    type: TypeId


def encode_v14(metadata: MetadataV14) -> bytes:
    """Encode metadata with its magic and version."""
    return MAGIC + bytes((VERSION,)) + encode(MetadataV14, metadata)


def decode_v14(data: bytes) -> MetadataV14:
    """Decode a metadata blob; raises DecodeError where it is not version 14."""
    if data[:4] != MAGIC or data[4:5] != bytes((VERSION,)):
        raise DecodeError("not metadata of version 14")
    metadata: MetadataV14 = decode(MetadataV14, data[5:])
    return metadata
