"""Headers and blocks, in the layout that every light client and explorer of the ecosystem knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import (
    Bytes4,
    Codec,
    CompactU32,
    DecodeError,
    EncodeError,
    Named,
    Raw,
    Variants,
    compact_decode,
    compact_encode,
    decode,
    encode,
    variant,
)
from runtime.primitives.types import Hash


@variant(index=0, positional=True)
@dataclass(frozen=True, slots=True)
class Other:
    """Bytes that no rule reads."""

    data: bytes


@variant(index=4, positional=True)
@dataclass(frozen=True, slots=True)
class Consensus:
    """A message of the runtime to the consensus engine."""

    engine: Bytes4
    data: bytes


@variant(index=5, positional=True)
@dataclass(frozen=True, slots=True)
class Seal:
    """The author's signature over the rest of the header."""

    engine: Bytes4
    data: bytes


@variant(index=6, positional=True)
@dataclass(frozen=True, slots=True)
class PreRuntime:
    """A message of the consensus engine to the runtime."""

    engine: Bytes4
    data: bytes


@variant(index=8)
@dataclass(frozen=True, slots=True)
class RuntimeEnvironmentUpdated:
    """The rules changed in this block; the next block follows the new ones."""


DigestItem = Annotated[
    Other | Consensus | Seal | PreRuntime | RuntimeEnvironmentUpdated,
    Variants("sp_runtime::generic::digest::DigestItem"),
]


class _RemembersHash:
    """The slot for a header's hash, beside the fields that the codec sees."""

    __slots__ = ("_hash",)

    _hash: bytes


@dataclass(frozen=True, slots=True)
class Header(_RemembersHash):
    """What is agreed on: the place in the chain, the extrinsics and the state after them."""

    parent_hash: Hash
    number: Annotated[CompactU32, Named("BlockNumber")]
    state_root: Hash
    extrinsics_root: Hash
    digest: tuple[DigestItem, ...]

    def encode(self) -> bytes:
        """Return the SCALE bytes."""
        return encode(Header, self)

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """Decode a whole header; raises DecodeError."""
        header: Header = decode(Header, data)
        return header

    def hash(self) -> bytes:
        """Return blake2b-256 of the encoded header: the block's hash. Computed once."""
        try:
            return self._hash
        except AttributeError:
            found = blake2_256(self.encode())
            object.__setattr__(self, "_hash", found)
            return found


def _has_its_length(extrinsic: bytes) -> bool:
    try:
        length, start = compact_decode(extrinsic, 0)
    except (IndexError, DecodeError):
        return False
    return start + length == len(extrinsic)


def _encode_extrinsics(extrinsics: tuple[bytes, ...]) -> bytes:
    if not all(map(_has_its_length, extrinsics)):
        raise EncodeError("an extrinsic in a block needs its own length as a prefix")
    return compact_encode(len(extrinsics)) + b"".join(extrinsics)


def _decode_extrinsics(data: bytes, offset: int) -> tuple[tuple[bytes, ...], int]:
    count, offset = compact_decode(data, offset)
    if count > len(data) - offset:
        raise DecodeError(f"{count} extrinsics cannot fit in {len(data) - offset} bytes")
    extrinsics = []
    for _ in range(count):
        length, start = compact_decode(data, offset)
        end = start + length
        if end > len(data):
            raise DecodeError("an extrinsic is longer than the block")
        extrinsics.append(data[offset:end])
        offset = end
    return tuple(extrinsics), offset


Extrinsics = Annotated[
    tuple[bytes, ...],
    Raw(Codec(_encode_extrinsics, _decode_extrinsics), "sp_runtime::OpaqueExtrinsic"),
]


@dataclass(frozen=True, slots=True)
class Block:
    """A header and its extrinsics.

    Each extrinsic is the byte string that a wallet submits: its compact length, then as many
    bytes. On the wire they follow each other after their number, so nothing is wrapped twice.
    """

    header: Header
    extrinsics: Extrinsics

    def encode(self) -> bytes:
        """Return the SCALE bytes; raises EncodeError where an extrinsic lacks its prefix."""
        return encode(Block, self)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode a whole block, its extrinsics still encoded; raises DecodeError."""
        block: Self = decode(Block, data)
        return block
