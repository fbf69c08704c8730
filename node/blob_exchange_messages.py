"""What a node asks another about blobs; all SCALE."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from runtime.primitives.scale import U8, U32, Variants, decode, encode, variant
from runtime.primitives.types import Hash


class AnswerReason(IntEnum):
    """Why a peer does not give what it is asked for; the numbers are on the wire."""

    MALFORMED = 0
    """The request cannot be decoded."""
    ABSENT = 1
    """The blob is not here, or not complete."""
    RANGE = 2
    """The blob has no such chunk."""
    BUSY = 3
    """Too much to do; ask another or try again later."""


@variant(index=0, positional=True)
@dataclass(frozen=True, slots=True)
class ListRequest:
    """The hashes of a blob's chunks."""

    blob: Hash


@variant(index=1)
@dataclass(frozen=True, slots=True)
class ChunkRequest:
    """One chunk; index 0 is the first mebibyte."""

    blob: Hash
    index: U32


@variant(index=0, positional=True)
@dataclass(frozen=True, slots=True)
class ChunkList:
    """The blake2b-256 of each mebibyte, the last of which may be shorter, one after the other."""

    hashes: bytes


@variant(index=1, positional=True)
@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk's bytes."""

    data: bytes


@variant(index=2, positional=True)
@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing, and why: an `AnswerReason`."""

    reason: U8


BlobRequest = Annotated[ListRequest | ChunkRequest, Variants("openledger::BlobRequest")]
BlobAnswer = Annotated[ChunkList | Chunk | Refused, Variants("openledger::BlobAnswer")]


def encode_blob_request(request: BlobRequest) -> bytes:
    """Return the bytes on the wire."""
    return encode(BlobRequest, request)


def decode_blob_request(data: bytes) -> BlobRequest:
    """Decode a whole request; raises DecodeError."""
    request: BlobRequest = decode(BlobRequest, data)
    return request


def encode_blob_answer(answer: BlobAnswer) -> bytes:
    """Return the bytes on the wire."""
    return encode(BlobAnswer, answer)


def decode_blob_answer(data: bytes) -> BlobAnswer:
    """Decode a whole answer; raises DecodeError."""
    answer: BlobAnswer = decode(BlobAnswer, data)
    return answer
