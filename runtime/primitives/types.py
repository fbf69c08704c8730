"""The names that the ecosystem gives to its basic types, in its byte layouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from runtime.primitives.scale import (
    Compact,
    CompactU32,
    CompactU64,
    Fixed,
    Named,
    Uint,
    Variants,
    variant,
)

AccountId = Annotated[bytes, Fixed(32, "sp_core::crypto::AccountId32"), Named("AccountId")]
Hash = Annotated[bytes, Fixed(32, "primitive_types::H256"), Named("Hash")]
Balance = Annotated[int, Uint(128), Named("Balance")]
CompactBalance = Annotated[int, Compact(128), Named("Balance")]
BlockNumber = Annotated[int, Uint(32), Named("BlockNumber")]
Nonce = Annotated[int, Uint(32), Named("Nonce")]
Moment = Annotated[int, Uint(64), Named("Moment")]
"""Milliseconds since 1970-01-01 UTC."""


@variant(index=0, positional=True)
@dataclass(frozen=True, slots=True)
class Id:
    """An account by its 32-byte id; the only form that this chain resolves."""

    account: AccountId


@variant(index=1, positional=True)
@dataclass(frozen=True, slots=True)
class Index:
    """An account by an index; never resolves here."""

    index: CompactU32


@variant(index=2, positional=True)
@dataclass(frozen=True, slots=True)
class Raw:
    """An address of arbitrary bytes; never resolves here."""

    data: bytes


@variant(index=3, positional=True)
@dataclass(frozen=True, slots=True)
class Address32:
    """A 32-byte address that is not an account id; never resolves here."""

    data: Annotated[bytes, Fixed(32)]


@variant(index=4, positional=True)
@dataclass(frozen=True, slots=True)
class Address20:
    """A 20-byte address; never resolves here."""

    data: Annotated[bytes, Fixed(20)]


MultiAddress = Annotated[
    Id | Index | Raw | Address32 | Address20,
    Variants(
        "sp_runtime::multiaddress::MultiAddress",
        (("AccountId", AccountId), ("AccountIndex", None)),
    ),
    Named("AccountIdLookupOf<T>"),
]


@variant(index=0, name="Ed25519", positional=True)
@dataclass(frozen=True, slots=True)
class Ed25519Signature:
    """RFC 8032 signature."""

    value: Annotated[bytes, Fixed(64)]


@variant(index=1, name="Sr25519", positional=True)
@dataclass(frozen=True, slots=True)
class Sr25519Signature:
    """Schnorrkel signature in the context "substrate"."""

    value: Annotated[bytes, Fixed(64)]


@variant(index=2, name="Ecdsa", positional=True)
@dataclass(frozen=True, slots=True)
class EcdsaSignature:
    """secp256k1 signature with recovery id, over blake2b-256 of the message."""

    value: Annotated[bytes, Fixed(65)]


MultiSignature = Annotated[
    Ed25519Signature | Sr25519Signature | EcdsaSignature, Variants("sp_runtime::MultiSignature")
]


@dataclass(frozen=True, slots=True)
class Weight:
    """What a call may cost: picoseconds of computation and bytes of proof."""

    ref_time: CompactU64
    proof_size: CompactU64
