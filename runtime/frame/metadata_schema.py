"""Layouts of `frame-metadata` V14, V15 and V16: what a runtime tells wallets about itself.

A later version's record extends the earlier one where it only adds fields behind it.

Source: frame-metadata 23 `v14`, `v15`, `v16`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from runtime.frame.pallet_metadata import (
    Input,
    ItemDeprecation,
    PalletMetadata,
    PalletV15,
    PalletV16,
)
from runtime.frame.portable_types import Docs, PortableType, TypeId
from runtime.primitives.scale import U8, CompactU32, DecodeError, decode, encode

MAGIC = b"meta"


@dataclass(frozen=True, slots=True)
class Extension:
    """What a signer states beside the call, and what it signs without stating it."""

    identifier: str
    type: TypeId
    additional_signed: TypeId


@dataclass(frozen=True, slots=True)
class ExtrinsicV14:
    """The form of extrinsics."""

    type: TypeId
    version: U8
    extensions: tuple[Extension, ...]


@dataclass(frozen=True, slots=True)
class ExtrinsicV15:
    """The form of extrinsics, by its parts."""

    version: U8
    address: TypeId
    call: TypeId
    signature: TypeId
    extra: TypeId
    extensions: tuple[Extension, ...]


@dataclass(frozen=True, slots=True)
class ExtrinsicV16:
    """The form of extrinsics, which may be several; extensions by position in each version."""

    versions: tuple[U8, ...]
    address: TypeId
    call: TypeId
    signature: TypeId
    extensions_by_version: tuple[tuple[U8, tuple[CompactU32, ...]], ...]
    extensions: tuple[Extension, ...]


@dataclass(frozen=True, slots=True)
class ApiMethodV15:
    """A method of a runtime API."""

    name: str
    inputs: tuple[Input, ...]
    output: TypeId
    docs: Docs


@dataclass(frozen=True, slots=True)
class ApiV15:
    """A runtime API."""

    name: str
    methods: tuple[ApiMethodV15, ...]
    docs: Docs


@dataclass(frozen=True, slots=True)
class ApiMethodV16(ApiMethodV15):
    """A method of a runtime API that may be deprecated."""

    deprecation: ItemDeprecation


@dataclass(frozen=True, slots=True)
class ApiV16:
    """A runtime API with its version."""

    name: str
    methods: tuple[ApiMethodV16, ...]
    docs: Docs
    version: CompactU32
    deprecation: ItemDeprecation


@dataclass(frozen=True, slots=True)
class OuterEnums:
    """The enumerations over all pallets' calls, events and errors."""

    call: TypeId
    event: TypeId
    error: TypeId


@dataclass(frozen=True, slots=True)
class CustomValue:
    """A value that the chain adds of its own."""

    type: TypeId
    value: bytes


Custom = tuple[tuple[str, CustomValue], ...]


@dataclass(frozen=True, slots=True)
class MetadataV14:
    """Everything that a wallet must know to read and sign for a runtime."""

    VERSION: ClassVar[int] = 14
    types: tuple[PortableType, ...]
    pallets: tuple[PalletMetadata, ...]
    extrinsic: ExtrinsicV14
    type: TypeId


@dataclass(frozen=True, slots=True)
class MetadataV15:
    """The same, with the pallets' documentation and the runtime's APIs."""

    VERSION: ClassVar[int] = 15
    types: tuple[PortableType, ...]
    pallets: tuple[PalletV15, ...]
    extrinsic: ExtrinsicV15
    type: TypeId
    apis: tuple[ApiV15, ...]
    outer_enums: OuterEnums
    custom: Custom


@dataclass(frozen=True, slots=True)
class MetadataV16:
    """The same, with what is deprecated, and several forms of extrinsics."""

    VERSION: ClassVar[int] = 16
    types: tuple[PortableType, ...]
    pallets: tuple[PalletV16, ...]
    extrinsic: ExtrinsicV16
    apis: tuple[ApiV16, ...]
    outer_enums: OuterEnums
    custom: Custom


Metadata = MetadataV14 | MetadataV15 | MetadataV16
_LAYOUTS: dict[int, type[Metadata]] = {
    m.VERSION: m for m in (MetadataV14, MetadataV15, MetadataV16)
}


def encode_metadata(metadata: Metadata) -> bytes:
    """Encode metadata with its magic and version."""
    return MAGIC + bytes((metadata.VERSION,)) + encode(type(metadata), metadata)


def decode_metadata(data: bytes) -> Metadata:
    """Decode a metadata blob; raises DecodeError where it is of no version known here."""
    layout = _LAYOUTS.get(data[4]) if data[:4] == MAGIC and len(data) > 4 else None
    if layout is None:
        raise DecodeError("not metadata of version 14, 15 or 16")
    metadata: Metadata = decode(layout, data[5:])
    return metadata
