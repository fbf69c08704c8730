"""Layout of the portable type registry, which all versions of the metadata begin with.

Source: scale-info 2 `PortableRegistry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from runtime.primitives.scale import U8, U32, CompactU32, Variants, variant

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
