"""Extrinsics of format version 4: the envelope around a call, and what its signer signs.

compact length ++ 04 ++ call                                             unsigned
compact length ++ 84 ++ address ++ signature ++ era ++ nonce ++ tip ++ call  signed
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import (
    Codec,
    CompactU32,
    CompactU128,
    DecodeError,
    EncodeError,
    Raw,
    codec,
    compact_decode,
    compact_encode,
    decode_at,
)
from runtime.primitives.types import (
    EcdsaSignature,
    Ed25519Signature,
    Id,
    MultiAddress,
    MultiSignature,
    Sr25519Signature,
)

BARE = 0x04
SIGNED = 0x84
MIN_PERIOD = 4
MAX_PERIOD = 1 << 16
NEVER = (1 << 64) - 1
"""The death of an immortal transaction."""

_U32_LIMIT = 1 << 32
_U128_LIMIT = 1 << 128


@dataclass(frozen=True, slots=True)
class Immortal:
    """Valid in every block: the signer names the genesis block."""

    def birth(self, number: int) -> int:
        """Return 0."""
        return 0

    def death(self, number: int) -> int:
        """Return NEVER."""
        return NEVER


@dataclass(frozen=True, slots=True)
class Mortal:
    """Valid in `period` blocks, from the last one whose number is `phase` modulo `period`.

    The period is a power of two from 4 to 65536. From 8192 on the phase is a multiple of
    period / 4096, because the encoding has 12 bits for it.
    """

    period: int
    phase: int

    def birth(self, number: int) -> int:
        """Return the first block of the era that `number` lies in; its hash is signed."""
        return (max(number, self.phase) - self.phase) // self.period * self.period + self.phase

    def death(self, number: int) -> int:
        """Return the first block after the era that `number` lies in."""
        return self.birth(number) + self.period


def mortal(period: int, number: int) -> Mortal:
    """Return an era of at least `period` blocks, as far as 65536 allow it, around `number`."""
    period = min(max(1 << max(period - 1, 0).bit_length(), MIN_PERIOD), MAX_PERIOD)
    quantum = max(period >> 12, 1)
    return Mortal(period, number % period // quantum * quantum)


def encode_era(era: Immortal | Mortal) -> bytes:
    """Encode an era in one byte (00) or two; raises EncodeError where it has no encoding."""
    if isinstance(era, Immortal):
        return b"\x00"
    period, phase = era.period, era.phase
    quantum = max(period >> 12, 1)
    if not MIN_PERIOD <= period <= MAX_PERIOD or period & (period - 1):
        raise EncodeError(f"an era of {period} blocks; take a power of two from 4 to 65536")
    if not 0 <= phase < period or phase % quantum:
        raise EncodeError(f"phase {phase} in an era of {period} blocks; see `mortal`")
    return (period.bit_length() - 2 | phase // quantum << 4).to_bytes(2, "little")


def decode_era(data: bytes, offset: int) -> tuple[Immortal | Mortal, int]:
    """Decode an era at `offset`; raises DecodeError for a phase outside the period."""
    first = data[offset]
    if first == 0:
        return _IMMORTAL, offset + 1
    return _mortal_of(first | data[offset + 1] << 8), offset + 2


# All transactions of a minute share a few eras.
@lru_cache(maxsize=1024)
def _mortal_of(encoded: int) -> Mortal:
    period = 2 << (encoded & 15)
    phase = (encoded >> 4) * (period >> 12 or 1)
    if phase >= period or period < MIN_PERIOD:
        raise DecodeError(f"phase {phase} in an era of {period} blocks")
    return Mortal(period, phase)


_IMMORTAL = Immortal()

Era = Annotated[
    Immortal | Mortal, Raw(Codec(encode_era, decode_era), "sp_runtime::generic::era::Era")
]


@dataclass(frozen=True, slots=True)
class Extensions:
    """What the signer states besides the call: how long, in which order, at what price."""

    era: Era
    nonce: CompactU32
    tip: CompactU128


@dataclass(frozen=True, slots=True)
class SignedPart:
    """Who signed, and with which extensions."""

    address: MultiAddress
    signature: MultiSignature
    extensions: Extensions


@dataclass(frozen=True, slots=True)
class UncheckedExtrinsic:
    """An extrinsic as it came: decoded, but neither its signature nor its call looked at.

    `call` holds the SCALE bytes of the call; who decodes them has to refuse left-over bytes.
    """

    signed: SignedPart | None
    call: bytes

    def encode(self) -> bytes:
        """Return the bytes as on the wire, with the compact length before them."""
        if self.signed is None:
            body = bytes((BARE,)) + self.call
        else:
            body = bytes((SIGNED,)) + codec(SignedPart).encode(self.signed) + self.call
        return compact_encode(len(body)) + body

    @classmethod
    def decode(cls, data: bytes) -> UncheckedExtrinsic:
        """Decode the bytes of one extrinsic, its length prefix included; raises DecodeError."""
        try:
            length, offset = compact_decode(data, 0)
            if offset + length != len(data):
                raise DecodeError(f"{len(data) - offset} bytes after a length prefix of {length}")
            version = data[offset]
            if version == SIGNED:
                return _decode_signed(data, offset + 1)
        except IndexError as error:
            raise DecodeError("truncated extrinsic") from error
        if version != BARE:
            raise DecodeError(f"extrinsic format {version:#04x}; only 0x04 and 0x84 are known")
        return cls(None, data[offset + 1 :])

    def hash(self) -> bytes:
        """Return blake2b-256 of the encoded extrinsic, the name by which wallets ask for it."""
        return blake2_256(self.encode())


def signing_payload(
    call: bytes,
    ext: Extensions,
    *,
    spec_version: int,
    transaction_version: int,
    genesis_hash: bytes,
    birth_hash: bytes,
) -> bytes:
    """Return the bytes that the signer signs: a payload over 256 bytes is replaced by its hash.

    `birth_hash` is the hash of block `ext.era.birth(number)`, the genesis hash if immortal.
    """
    payload = b"".join(
        (
            call,
            codec(Extensions).encode(ext),
            spec_version.to_bytes(4, "little"),
            transaction_version.to_bytes(4, "little"),
            genesis_hash,
            birth_hash,
        )
    )
    return blake2_256(payload) if len(payload) > 256 else payload


# The codec compiled from the annotations gives the same and takes a third longer; this runs for
# every transaction that reaches a node.
def _decode_signed(data: bytes, offset: int) -> UncheckedExtrinsic:
    if data[offset] == 0:
        address: MultiAddress = Id(data[offset + 1 : offset + 33])
        offset += 33
    else:
        address, offset = decode_at(codec(MultiAddress), data, offset)
    scheme = data[offset]
    start = offset + 1
    offset += 65
    signature: MultiSignature
    if scheme == 1:
        signature = Sr25519Signature(data[start:offset])
    elif scheme == 0:
        signature = Ed25519Signature(data[start:offset])
    elif scheme == 2:
        offset += 1
        signature = EcdsaSignature(data[start:offset])
    else:
        raise DecodeError(f"{scheme} is not a signature scheme")
    era, offset = decode_era(data, offset)
    nonce, offset = compact_decode(data, offset)
    tip = data[offset]
    if tip == 0:  # most transactions
        offset += 1
    else:
        tip, offset = compact_decode(data, offset)
    if nonce >= _U32_LIMIT or tip >= _U128_LIMIT:
        raise DecodeError("the nonce exceeds 32 bits or the tip 128 bits")
    if offset > len(data):
        raise DecodeError("truncated extrinsic")
    return UncheckedExtrinsic(
        SignedPart(address, signature, Extensions(era, nonce, tip)), data[offset:]
    )
