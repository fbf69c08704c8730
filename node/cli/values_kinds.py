"""What kind of value a SCALE annotation asks for, seen by who writes and reads it as text."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, TypeAlias

from runtime.frame.calls import RuntimeCall
from runtime.primitives.scale import (
    Compact,
    Fixed,
    Int,
    Named,
    Raw,
    Uint,
    Variants,
    field_types,
    is_option,
    option_inner,
)
from runtime.primitives.types import MultiAddress


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number within bounds."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount of OPEN, kept in planck."""


@dataclass(frozen=True, slots=True)
class AccountValue:
    """An account: its 32 bytes, or where `address` is set a `MultiAddress` of them."""

    address: Any = None


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes, of a fixed length or of any."""

    length: int | None


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A boolean."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the members of an enumeration."""

    enum: type[IntEnum]


@dataclass(frozen=True, slots=True)
class Optional:
    """A value, or none."""

    inner: Any


@dataclass(frozen=True, slots=True)
class Many:
    """A list of values of one type."""

    inner: Any


@dataclass(frozen=True, slots=True)
class Several:
    """A list of values, each of its own type; without any it is nothing."""

    inners: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """Named fields; `positional` where the metadata leaves their names out."""

    cls: type
    positional: bool


@dataclass(frozen=True, slots=True)
class Union:
    """One of several records, told apart by its name."""

    arms: tuple[type, ...]


@dataclass(frozen=True, slots=True)
class CallValue:
    """A call inside a call."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """Anything else: written as the hex of its SCALE."""

    type: Any


Kind: TypeAlias = (
    "Integer | Amount | AccountValue | Blob | Text | Flag | Choice | Optional | Many | Several"
    " | Record | Union | CallValue | Opaque"
)


@cache
def kind_of(type_: Any) -> Kind:
    """Return the kind of an annotation."""
    if type_ == RuntimeCall:
        return CallValue()
    marks = getattr(type_, "__metadata__", ())
    name = next((mark.name for mark in marks if isinstance(mark, Named)), "")
    if name == "Balance":
        return Amount()
    for mark in marks:
        match mark:
            case Uint(bits) | Compact(bits):
                return Integer(0, (1 << bits) - 1)
            case Int(bits):
                return Integer(-(1 << bits - 1), (1 << bits - 1) - 1)
            case Fixed(length):
                return AccountValue() if name == "AccountId" else Blob(length)
            case Variants():
                if type_ == MultiAddress:
                    return AccountValue(address=type_)
                return Union(arms(type_))
            case Raw():
                return Opaque(type_)
            case _:
                pass
    return kind_of(type_.__origin__) if marks else _plain(type_)


def _plain(type_: Any) -> Kind:
    simple: dict[Any, Kind] = {
        bool: Flag(),
        bytes: Blob(None),
        str: Text(),
        None: Several(()),
        type(None): Several(()),
    }
    if type_ in simple:
        return simple[type_]
    if is_option(type_):
        return Optional(option_inner(type_))
    if typing.get_origin(type_) is tuple:
        inner = typing.get_args(type_)
        if len(inner) == 2 and inner[1] is Ellipsis:
            return Many(inner[0])
        return Several(tuple(part for part in inner if part != ()))
    if isinstance(type_, type) and issubclass(type_, IntEnum):
        return Choice(type_)
    if isinstance(type_, type) and dataclasses.is_dataclass(type_):
        return Record(type_, getattr(type_, "SCALE_POSITIONAL", False))
    return Opaque(type_)


def arms(type_: Any) -> tuple[Any, ...]:
    """Return the arms of a union marked with `Variants`."""
    return typing.get_args(typing.get_args(type_)[0])


def arm_name(arm: type) -> str:
    """Return the name of an arm in the metadata."""
    name: str = arm.VARIANT_NAME  # type: ignore[attr-defined]
    return name


def arm_record(arm: type) -> Record:
    """Return the fields of an arm."""
    return Record(arm, arm.VARIANT_POSITIONAL)  # type: ignore[attr-defined]


def shown_fields(cls: type) -> dict[str, tuple[str, Any]]:
    """Return the fields of a record: the name that people write, the attribute, the annotation."""
    return {name.rstrip("_"): (name, type_) for name, type_ in field_types(cls).items()}


def is_structured(type_: Any) -> bool:
    """Tell whether a value is written as JSON rather than as a plain word."""
    match kind_of(type_):
        case Many() | Several() | Record() | Union() | CallValue():
            return True
        case Optional(inner):
            return is_structured(inner)
        case _:
            return False
