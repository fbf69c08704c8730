"""The one batch that makes blocks final, and with it forgets what is too old."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from node.errors import StorageFailure
from node.storage.blocks import Body, decode_body, decode_header, read_header
from node.storage.layout import (
    BODY,
    BOUNDARY,
    CANONICAL,
    EXTRINSIC,
    FINALIZED_KEY,
    HEADER,
    JOURNAL,
    OLDEST_BODY_KEY,
    OLDEST_STATE_KEY,
    PROOF,
    PROVEN_KEY,
    STATE,
    numbered,
    of_epoch,
)
from node.storage.leveldb import Database, Reader
from node.storage.nodes import NodeCounts, decode_removed, encode_removed
from node.storage.pruning import Budget, Kept, Pruning
from runtime.primitives.digest import find_next_epoch
from runtime.primitives.hashing import blake2_256
from runtime.primitives.header import Extrinsics, Header
from runtime.primitives.scale import encode
from runtime.state.trie import TrieUpdate

Writes = dict[bytes, bytes | None]


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
    kept: Kept,
    also: Mapping[bytes, bytes | None] | None = None,
) -> Kept:
    """Make blocks final in one synced batch, parents first, with other writes in the same batch.

    Returns what is kept now.
    """
    batch = _Commit(db, dict(also or {}))
    for block in blocks:
        batch.add(block)
    head = blocks[-1]
    batch.writes[FINALIZED_KEY] = head.hash
    states = batch.forget_states(
        kept.states, pruning.first_state(head.header.number), Budget(len(blocks))
    )
    bodies = batch.forget_bodies(
        kept.bodies, pruning.first_body(head.header.number), Budget(len(blocks))
    )
    batch.prove(blocks, bodies)
    db.write(batch.finished(states, bodies))
    return Kept(states, bodies, kept.headers)


class _Commit:
    """The writes of one commit, and what they make of the records that are there."""

    def __init__(self, db: Database, writes: Writes) -> None:
        self._db = db
        self._counts = NodeCounts(db)
        self.writes = writes

    def add(self, block: FinalBlock) -> None:
        """Write a block, its state, and the journal that later frees the state before it."""
        self._counts.add(block.update.inserted)
        self.writes.update((STATE + key, value) for key, value in block.changes.items())
        self.writes.update(header_records(block.hash, block.header))
        self.writes.update(body_records(block.hash, block.body))
        if block.proof is not None:
            self.writes[PROOF + block.hash] = block.proof
        if block.header.number:
            removed = encode_removed(block.update.removed)
            self.writes[numbered(JOURNAL, block.header.number)] = removed

    def forget_states(self, oldest: int, wanted: int, budget: Budget) -> int:
        """Drop states from the oldest on; the journal of block n + 1 frees the state of n."""
        while oldest < wanted and budget.allows():
            key = numbered(JOURNAL, oldest + 1)
            record = self._now(key)
            if record is None:
                raise StorageFailure(
                    f"the pruning journal of block {oldest + 1} is missing; purge the chain and "
                    "sync again"
                )
            removed = decode_removed(record)
            self._counts.subtract(removed)
            self.writes[key] = None
            oldest += 1
            budget.spend(len(removed))
        return oldest

    def forget_bodies(self, oldest: int, wanted: int, budget: Budget) -> int:
        """Drop bodies, their places and proofs, from the oldest on; block 0 keeps its own."""
        while oldest < wanted and budget.allows():
            budget.spend(self._forget_body(oldest) if oldest else 0)
            oldest += 1
        return oldest

    def prove(self, blocks: Sequence[FinalBlock], oldest_body: int) -> None:
        """Note the last block with a proof of its own; its predecessor's may have to go now."""
        proven = [block.hash for block in blocks if block.proof is not None]
        if not proven:
            return
        before = self._db.get(PROVEN_KEY)
        self.writes[PROVEN_KEY] = proven[-1]
        header = None if before is None else read_header(self._db, before)
        if before is not None and header is not None and header.number < oldest_body:
            self._forget_proof(before, header)

    def finished(self, states: int, bodies: int) -> Iterable[tuple[bytes, bytes | None]]:
        """List everything that the batch writes."""
        self.writes.update(self._counts.writes())
        self.writes[OLDEST_STATE_KEY] = states.to_bytes(4, "big")
        self.writes[OLDEST_BODY_KEY] = bodies.to_bytes(4, "big")
        return self.writes.items()

    def _forget_body(self, number: int) -> int:
        block_hash = self._now(numbered(CANONICAL, number)) or b""
        header, body = self._now(HEADER + block_hash), self._now(BODY + block_hash)
        if header is None or body is None:
            raise StorageFailure(f"block {number} is damaged; purge the chain and sync again")
        extrinsics = decode_body(body)
        for extrinsic in extrinsics:
            key = EXTRINSIC + blake2_256(extrinsic)
            place = self._now(key)
            if place is not None and place[:32] == block_hash:
                self.writes[key] = None
        self.writes[BODY + block_hash] = None
        if block_hash != self._db.get(PROVEN_KEY):
            self._forget_proof(block_hash, decode_header(header))
        return len(extrinsics)

    def _forget_proof(self, block_hash: bytes, header: Header) -> None:
        if find_next_epoch(header.digest) is None and block_hash != self.writes.get(PROVEN_KEY):
            self.writes[PROOF + block_hash] = None

    def _now(self, key: bytes) -> bytes | None:
        return self.writes[key] if key in self.writes else self._db.get(key)


def header_records(block_hash: bytes, header: Header) -> Iterator[tuple[bytes, bytes]]:
    """List the records of a finalised header, one for the epoch that it ends among them."""
    yield HEADER + block_hash, encode(Header, header)
    yield numbered(CANONICAL, header.number), block_hash
    announced = find_next_epoch(header.digest)
    if announced is not None and announced.epoch:
        yield of_epoch(BOUNDARY, announced.epoch - 1), block_hash


def body_records(block_hash: bytes, body: Body) -> Iterator[tuple[bytes, bytes]]:
    """List the records of a finalised body: itself, and the place of each extrinsic."""
    yield BODY + block_hash, encode(Extrinsics, body)
    for index, extrinsic in enumerate(body):
        yield EXTRINSIC + blake2_256(extrinsic), block_hash + index.to_bytes(4, "little")


def add_proof(db: Database, block_hash: bytes, proof: bytes) -> None:
    """Keep a proof that came after its block had become final with a descendant; synced."""
    header, before = read_header(db, block_hash), read_proven(db)
    writes: Writes = {PROOF + block_hash: proof}
    if header is not None and (before is None or before[0].number < header.number):
        writes[PROVEN_KEY] = block_hash
    db.write(writes.items())


def read_proven(reader: Reader) -> tuple[Header, bytes] | None:
    """Read the last finalised block that has a proof of its own, with the proof."""
    block_hash = reader.get(PROVEN_KEY)
    if block_hash is None:
        return None
    header, proof = read_header(reader, block_hash), reader.get(PROOF + block_hash)
    return None if header is None or proof is None else (header, proof)
