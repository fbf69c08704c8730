"""Finalised blocks as they are read from the disk."""

from __future__ import annotations

from node.errors import StorageFailure
from node.storage.layout import (
    BODY,
    BOUNDARY,
    CANONICAL,
    EXTRINSIC,
    HEADER,
    OLDEST_BODY_KEY,
    OLDEST_HEADER_KEY,
    OLDEST_STATE_KEY,
    PROOF,
    numbered,
    of_epoch,
)
from node.storage.leveldb import Reader
from node.storage.pruning import Kept
from runtime.primitives.header import Extrinsics, Header
from runtime.primitives.scale import decode

Body = tuple[bytes, ...]


def read_header(reader: Reader, block_hash: bytes) -> Header | None:
    """Read the header of a finalised block."""
    data = reader.get(HEADER + block_hash)
    return None if data is None else decode_header(data)


def decode_header(data: bytes) -> Header:
    """Decode a header's record."""
    header = decode(Header, data)
    if not isinstance(header, Header):
        raise StorageFailure("a header record holds something else")
    return header


def read_body(reader: Reader, block_hash: bytes) -> Body | None:
    """Read the extrinsics of a finalised block."""
    data = reader.get(BODY + block_hash)
    return None if data is None else decode_body(data)


def decode_body(data: bytes) -> Body:
    """Decode a body's record."""
    return tuple(decode(Extrinsics, data))


def read_proof(reader: Reader, block_hash: bytes) -> bytes | None:
    """Read the finality proof that was given for exactly this block."""
    return reader.get(PROOF + block_hash)


def read_canonical(reader: Reader, number: int) -> bytes | None:
    """Read the hash of the finalised block of a number."""
    return reader.get(numbered(CANONICAL, number)) if 0 <= number < 1 << 32 else None


def read_boundary(reader: Reader, epoch: int) -> bytes | None:
    """Read the hash of the finalised block that ended an epoch."""
    return reader.get(of_epoch(BOUNDARY, epoch)) if 0 <= epoch < 1 << 64 else None


def read_kept(reader: Reader) -> Kept:
    """Read from which blocks on states, bodies and headers are there."""
    keys = (OLDEST_STATE_KEY, OLDEST_BODY_KEY, OLDEST_HEADER_KEY)
    return Kept(*(int.from_bytes(reader.get(key) or b"", "big") for key in keys))


def read_place(reader: Reader, extrinsic_hash: bytes) -> tuple[bytes, int] | None:
    """Read where a finalised extrinsic stands: block hash and index."""
    record = reader.get(EXTRINSIC + extrinsic_hash)
    return None if record is None else (record[:32], int.from_bytes(record[32:], "little"))
