"""Why a transaction is not valid, as wallets read it: `sp_runtime::transaction_validity`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Self

from runtime.frame.documentation import doc_lines, member_docs
from runtime.frame.pallet import pascal
from runtime.frame.portable_types import Enumeration, Variant
from runtime.frame.type_registry import TypeRegistry
from runtime.primitives.errors import InvalidTransaction, TransactionReason
from runtime.primitives.scale import U8, Codec, DecodeError, Raw, Variants, variant

_PATH = "sp_runtime::transaction_validity::"
INVALID_PATH = f"{_PATH}InvalidTransaction"


class TransactionSource(IntEnum):
    """Where a transaction comes from."""

    IN_BLOCK = 0
    """From a block."""
    LOCAL = 1
    """From this node."""
    EXTERNAL = 2
    """From a peer or a client."""


@dataclass(frozen=True, slots=True)
class Invalidity:
    """A reason of `TransactionReason`; `custom` is the code of a CUSTOM one."""

    reason: TransactionReason
    custom: int = 0

    @classmethod
    def of(cls, refusal: InvalidTransaction) -> Self:
        """Name the reason of a refusal; malformed bytes are told as a call that is none."""
        if refusal.reason is TransactionReason.MALFORMED:
            return cls(TransactionReason.CALL)
        return cls(refusal.reason, refusal.custom)


def _encode(value: Invalidity) -> bytes:
    tail = bytes((value.custom,)) if value.reason is TransactionReason.CUSTOM else b""
    return bytes((value.reason,)) + tail


def _decode(data: bytes, offset: int) -> tuple[Invalidity, int]:
    if data[offset] not in _ON_THE_WIRE:
        raise DecodeError(f"{data[offset]} is not a reason for which transactions are invalid")
    reason = TransactionReason(data[offset])
    if reason is TransactionReason.CUSTOM:
        return Invalidity(reason, data[offset + 1]), offset + 2
    return Invalidity(reason), offset + 1


_ON_THE_WIRE = [r for r in TransactionReason if r is not TransactionReason.MALFORMED]
InvalidityValue = Annotated[Invalidity, Raw(Codec(_encode, _decode), INVALID_PATH)]


def invalidity_type(registry: TypeRegistry) -> int:
    """Return the id of the enumeration of reasons."""
    docs = member_docs(TransactionReason)
    code = registry.field(None, U8)
    return registry.named(
        INVALID_PATH,
        lambda: Enumeration(
            tuple(
                Variant(
                    pascal(reason.name),
                    (code,) if reason is TransactionReason.CUSTOM else (),
                    reason.value,
                    doc_lines(docs[reason.name]),
                )
                for reason in _ON_THE_WIRE
            )
        ),
    )


@variant(index=0)
@dataclass(frozen=True, slots=True)
class CannotLookup:
    """Something that the transaction names cannot be found."""


@variant(index=1)
@dataclass(frozen=True, slots=True)
class NoUnsignedValidator:
    """Nothing says whether the unsigned transaction is valid."""


@variant(index=2, name="Custom", positional=True)
@dataclass(frozen=True, slots=True)
class CustomUnknown:
    """Another reason."""

    code: U8


UnknownTransaction = Annotated[
    CannotLookup | NoUnsignedValidator | CustomUnknown, Variants(f"{_PATH}UnknownTransaction")
]


@variant(index=0, positional=True)
@dataclass(frozen=True, slots=True)
class Invalid:
    """No block may carry the transaction now."""

    reason: InvalidityValue


@variant(index=1, positional=True)
@dataclass(frozen=True, slots=True)
class Unknown:
    """Whether it is valid cannot be told; this chain can always tell."""

    reason: UnknownTransaction


TransactionValidityError = Annotated[
    Invalid | Unknown, Variants(f"{_PATH}TransactionValidityError")
]
