"""Blocks below a fetched state, written from the newest down; unsynced, they can be asked again."""

from __future__ import annotations

from collections.abc import Sequence

from node.storage.blocks import read_canonical, read_header, read_kept
from node.storage.commit import Writes, body_records, header_records
from node.storage.layout import (
    BACKFILL_KEY,
    EXTRINSIC,
    OLDEST_BODY_KEY,
    OLDEST_HEADER_KEY,
)
from node.storage.leveldb import Database, Reader
from runtime.primitives.header import Block, Header


def is_incomplete(reader: Reader) -> bool:
    """Tell whether blocks below a fetched state are still missing."""
    return reader.get(BACKFILL_KEY) is not None


def fill_headers(headers: Sequence[Header], db: Database) -> None:
    """Write headers, ascending and linked, that end below the oldest one; ignored elsewhere."""
    oldest = read_kept(db).headers
    above = read_header(db, read_canonical(db, oldest) or b"")
    if above is None or not headers or headers[-1].hash() != above.parent_hash:
        return
    writes: Writes = {}
    for header in headers:
        writes.update(header_records(header.hash(), header))
    first = headers[0].number
    writes[OLDEST_HEADER_KEY] = (0 if first == 1 else first).to_bytes(4, "big")
    db.write(writes.items(), sync=False)


def fill_bodies(blocks: Sequence[Block], db: Database) -> None:
    """Write blocks whose headers are there, descending from below the oldest body on.

    A place of a later block that holds the same extrinsic stays. Ignored elsewhere, where pruning
    was quicker.
    """
    oldest = read_kept(db).bodies
    writes: Writes = {}
    for block in blocks:
        block_hash = block.header.hash()
        if read_canonical(db, oldest - 1) != block_hash:
            break
        oldest -= 1
        for key, value in body_records(block_hash, block.extrinsics):
            if not key.startswith(EXTRINSIC) or (key not in writes and db.get(key) is None):
                writes[key] = value
    writes[OLDEST_BODY_KEY] = (0 if oldest == 1 else oldest).to_bytes(4, "big")
    db.write(writes.items(), sync=False)


def end_filling(db: Database) -> None:
    """Note that nothing is missing any more; synced."""
    db.write([(BACKFILL_KEY, None)])
