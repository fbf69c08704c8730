"""Executed blocks that are not final, kept so that a killed node need not execute them again.

They are written unsynced: one that is torn or lost costs an execution, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from node.storage.layout import UNFINALISED
from node.storage.leveldb import Reader
from runtime.primitives.header import Block
from runtime.primitives.scale import U32, DecodeError, decode, encode
from runtime.primitives.types import Hash
from runtime.state.trie import TrieUpdate

CHECK_BYTES = 16


@dataclass(frozen=True, slots=True)
class _Record:
    block: Block
    changes: tuple[tuple[bytes, bytes | None], ...]
    root: Hash
    inserted: tuple[tuple[Hash, bytes, U32], ...]
    removed: tuple[tuple[Hash, U32], ...]


@dataclass(frozen=True, slots=True)
class Unfinalised:
    """A block with what executing it changed."""

    block: Block
    changes: Mapping[bytes, bytes | None]
    update: TrieUpdate


def encode_unfinalised(
    block: Block, changes: Mapping[bytes, bytes | None], update: TrieUpdate
) -> bytes:
    """Encode a record: blake2b-128 of the rest, then SCALE."""
    record = _Record(
        block,
        tuple(changes.items()),
        update.root,
        tuple((name, data, count) for name, (data, count) in update.inserted.items()),
        tuple(update.removed.items()),
    )
    data = encode(_Record, record)
    return _check(data) + data


def decode_unfinalised(data: bytes) -> Unfinalised | None:
    """Decode a record; None where it is torn or not of this form."""
    check, data = data[:CHECK_BYTES], data[CHECK_BYTES:]
    if check != _check(data):
        return None
    try:
        record: _Record = decode(_Record, data)
    except DecodeError:
        return None
    inserted = {name: (node, count) for name, node, count in record.inserted}
    update = TrieUpdate(record.root, inserted, dict(record.removed))
    return Unfinalised(record.block, dict(record.changes), update)


def stored_unfinalised(reader: Reader) -> Iterator[tuple[bytes, Unfinalised | None]]:
    """Yield the keys and records that are there, parents before children; None where torn."""
    for key, data in reader.iterate(UNFINALISED):
        found = decode_unfinalised(data)
        if found is not None and key[5:] != found.block.header.hash():
            found = None
        yield key, found


def _check(data: bytes) -> bytes:
    return blake2b(data, digest_size=CHECK_BYTES).digest()
