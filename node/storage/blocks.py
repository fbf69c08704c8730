"""Finalised blocks on disk, and the one batch that makes blocks final."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from node.errors import StorageFailure
from node.storage.layout import (
    BODY,
    CANONICAL,
    EXTRINSIC,
    FINALIZED_KEY,
    HEADER,
    JOURNAL,
    OLDEST_STATE_KEY,
    PROOF,
    STATE,
    numbered,
)
from node.storage.leveldb import Database, Reader
from node.storage.nodes import NodeCounts, decode_removed, encode_removed
from node.storage.pruning import Pruning
from runtime.primitives.hashing import blake2_256
from runtime.primitives.header import Extrinsics, Header
from runtime.primitives.scale import decode, encode
from runtime.state.trie import TrieUpdate

Body = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class FinalBlock:
    """A block that becomes final, with what it changes; `proof` may stand on a descendant."""

    hash: bytes
    header: Header
    body: Body
    proof: bytes | None
    changes: Mapping[bytes, bytes | None]
    update: TrieUpdate


def commit(
    db: Database,
    blocks: Sequence[FinalBlock],
    pruning: Pruning,
    oldest: int,
    meta: Mapping[bytes, bytes] | None = None,
) -> int:
    """Make blocks final in one synced batch, parents first; `oldest` is the oldest kept state.

    Returns the oldest state that is kept now.
    """
    counts = NodeCounts(db)
    writes: dict[bytes, bytes | None] = dict(meta or {})
    for block in blocks:
        counts.add(block.update.inserted)
        writes |= {STATE + key: value for key, value in block.changes.items()}
        writes |= _block_records(block)
        if pruning.window is not None:
            removed = encode_removed(block.update.removed)
            writes[numbered(JOURNAL, block.header.number)] = removed
    head = blocks[-1]
    for number in pruning.leaving(oldest, head.header.number):
        key = numbered(JOURNAL, number + 1)
        record = writes.get(key) or db.get(key)
        if record is None and key not in writes:
            raise StorageFailure(f"the pruning journal of block {number + 1} is missing")
        counts.subtract(decode_removed(record or b""))
        writes[key] = None
        oldest = number + 1
    writes |= counts.writes()
    writes[FINALIZED_KEY] = head.hash
    writes[OLDEST_STATE_KEY] = oldest.to_bytes(4, "big")
    db.write(writes.items())
    return oldest


def _block_records(block: FinalBlock) -> Iterator[tuple[bytes, bytes | None]]:
    yield HEADER + block.hash, encode(Header, block.header)
    yield BODY + block.hash, encode(Extrinsics, block.body)
    yield numbered(CANONICAL, block.header.number), block.hash
    if block.proof is not None:
        yield PROOF + block.hash, block.proof
    for index, extrinsic in enumerate(block.body):
        place = block.hash + index.to_bytes(4, "little")
        yield EXTRINSIC + blake2_256(extrinsic), place


def read_header(reader: Reader, block_hash: bytes) -> Header | None:
    """Read the header of a finalised block."""
    data = reader.get(HEADER + block_hash)
    return None if data is None else _decoded_header(data)


def _decoded_header(data: bytes) -> Header:
    header = decode(Header, data)
    if not isinstance(header, Header):
        raise StorageFailure("a header record holds something else")
    return header


def read_body(reader: Reader, block_hash: bytes) -> Body | None:
    """Read the extrinsics of a finalised block."""
    data = reader.get(BODY + block_hash)
    return None if data is None else tuple(decode(Extrinsics, data))


def read_proof(reader: Reader, block_hash: bytes) -> bytes | None:
    """Read the finality proof that was given for exactly this block."""
    return reader.get(PROOF + block_hash)


def read_canonical(reader: Reader, number: int) -> bytes | None:
    """Read the hash of the finalised block of a number."""
    return reader.get(numbered(CANONICAL, number)) if 0 <= number < 1 << 32 else None


def read_oldest_state(reader: Reader) -> int:
    """Read the number of the oldest finalised block whose state is kept."""
    return int.from_bytes(reader.get(OLDEST_STATE_KEY) or b"", "big")


def read_place(reader: Reader, extrinsic_hash: bytes) -> tuple[bytes, int] | None:
    """Read where a finalised extrinsic stands: block hash and index."""
    record = reader.get(EXTRINSIC + extrinsic_hash)
    return None if record is None else (record[:32], int.from_bytes(record[32:], "little"))
