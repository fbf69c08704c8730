"""Layouts of what the metadata says of a pallet: storage, constants, calls, events, errors.

A later version's record extends the earlier one where it only adds fields behind it.

Source: frame-metadata 23 `v14`, `v15`, `v16`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from runtime.frame.portable_types import Docs, TypeId
from runtime.primitives.scale import U8, Bytes32, Variants, variant


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
class PalletV15(PalletMetadata):
    """A pallet, from V15 on with its documentation."""

    docs: Docs


@variant(index=0)
@dataclass(frozen=True, slots=True)
class NotDeprecated:
    """Here to stay."""


@variant(index=1)
@dataclass(frozen=True, slots=True)
class DeprecatedWithoutNote:
    """Will go."""


@variant(index=2)
@dataclass(frozen=True, slots=True)
class Deprecated:
    """Will go; the note says what to use instead."""

    note: str
    since: str | None


ItemDeprecation = Annotated[
    NotDeprecated | DeprecatedWithoutNote | Deprecated, Variants("ItemDeprecationInfo")
]
VariantDeprecation = Annotated[
    DeprecatedWithoutNote | Deprecated, Variants("VariantDeprecationInfo")
]


@dataclass(frozen=True, slots=True)
class EnumV16:
    """An enumeration of a pallet, with its variants that will go, by index."""

    type: TypeId
    deprecation: tuple[tuple[U8, VariantDeprecation], ...]


@dataclass(frozen=True, slots=True)
class StorageEntryV16(StorageEntry):
    """A storage item that may be deprecated."""

    deprecation: ItemDeprecation


@dataclass(frozen=True, slots=True)
class PalletStorageV16:
    """The storage of a pallet; the prefix is hashed into its keys."""

    prefix: str
    entries: tuple[StorageEntryV16, ...]


@dataclass(frozen=True, slots=True)
class ConstantV16(Constant):
    """A constant that may be deprecated."""

    deprecation: ItemDeprecation


@dataclass(frozen=True, slots=True)
class AssociatedType:
    """A type that a pallet is configured with."""

    name: str
    type: TypeId
    docs: Docs


@dataclass(frozen=True, slots=True)
class Input:
    """An argument of a method."""

    name: str
    type: TypeId


@dataclass(frozen=True, slots=True)
class ViewFunction:
    """A function of a pallet that reads its state."""

    id: Bytes32
    name: str
    inputs: tuple[Input, ...]
    output: TypeId
    docs: Docs
    deprecation: ItemDeprecation


@dataclass(frozen=True, slots=True)
class PalletV16:
    """A pallet."""

    name: str
    storage: PalletStorageV16 | None
    calls: EnumV16 | None
    events: EnumV16 | None
    constants: tuple[ConstantV16, ...]
    errors: EnumV16 | None
    associated_types: tuple[AssociatedType, ...]
    view_functions: tuple[ViewFunction, ...]
    index: U8
    docs: Docs
    deprecation: ItemDeprecation
