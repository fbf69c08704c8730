"""Make a staged state the chain's: from the first write on, a restart completes the switch.

A state may be too large for one batch, so the switch is: a synced note that it began, the old
state deleted, the staged one moved batch by batch, and one synced batch with the heads that ends
it. Each step may be repeated.
"""

from __future__ import annotations

from itertools import islice

from node.errors import StorageFailure
from node.storage.commit import Writes, body_records, header_records
from node.storage.layout import (
    BACKFILL_KEY,
    FINALIZED_KEY,
    JOURNAL,
    NODE,
    OLDEST_BODY_KEY,
    OLDEST_HEADER_KEY,
    OLDEST_STATE_KEY,
    PROOF,
    PROVEN_KEY,
    STAGED_NODE,
    STAGED_STATE,
    STATE,
    SWITCH_KEY,
    UNFINALISED,
)
from node.storage.leveldb import Database
from node.storage.staging import Staging, Target, clear

MOVED_AT_ONCE = 5_000
_CLEARING = b"clearing"
_MOVING = b"moving"


def begin_switch(db: Database) -> None:
    """Decide for the staged state; raises StorageFailure unless it is complete and the target's."""
    staging = Staging(db)
    target, progress = staging.target(), staging.progress()
    if target is None or progress.following is not None:
        raise StorageFailure("the staged state is not complete")
    if progress.root != target.block.header.state_root:
        raise StorageFailure("the staged state is damaged")
    db.write([(SWITCH_KEY, _CLEARING)])


def finish_switch(db: Database) -> bool:
    """Do what is left of a switch that began; tells whether there was one."""
    phase = db.get(SWITCH_KEY)
    if phase is None:
        return False
    if phase == _CLEARING:
        clear(db, (STATE, NODE, JOURNAL, UNFINALISED))
        db.write([(SWITCH_KEY, _MOVING)], sync=False)
    for source, column in ((STAGED_STATE, STATE), (STAGED_NODE, NODE)):
        _move(db, source, column)
    staging = Staging(db)
    target = staging.target()
    if target is None:
        raise StorageFailure("the block of the fetched state is missing; purge the chain")
    db.write(_heads(staging, target).items())
    staging.discard()
    return True


def _move(db: Database, source: bytes, column: bytes) -> None:
    while entries := list(islice(db.iterate(source), MOVED_AT_ONCE)):
        writes: Writes = {key: None for key, _ in entries}
        writes.update((column + key[len(source) :], value) for key, value in entries)
        db.write(writes.items(), sync=False)


def _heads(staging: Staging, target: Target) -> Writes:
    header = target.block.header
    block_hash = header.hash()
    writes: Writes = {}
    for _, end in staging.proofs():
        if end.header.number > header.number:
            break  # the proof of a later end was fetched too, but this chain is not there yet
        end_hash = end.header.hash()
        writes.update(header_records(end_hash, end.header))
        if end.proof is not None:
            writes[PROOF + end_hash] = end.proof
    writes.update(header_records(block_hash, header))
    writes.update(body_records(block_hash, target.block.extrinsics))
    writes[PROOF + block_hash] = target.proof
    writes[FINALIZED_KEY] = writes[PROVEN_KEY] = block_hash
    writes[OLDEST_STATE_KEY] = header.number.to_bytes(4, "big")
    for key in (OLDEST_BODY_KEY, OLDEST_HEADER_KEY):  # block 0 has its header and its empty body
        writes[key] = (0 if header.number == 1 else header.number).to_bytes(4, "big")
    writes[BACKFILL_KEY] = b"1"
    writes[SWITCH_KEY] = None
    return writes
