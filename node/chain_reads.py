"""Reads of the chain: unfinalised blocks first, then the database; safe from any thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from consensus.interface import BlockRef
from node.errors import StatePruned, UnknownBlock
from node.fork_tree import Executed, ForkTree
from node.storage.blocks import (
    read_body,
    read_boundary,
    read_canonical,
    read_header,
    read_kept,
    read_place,
    read_proof,
)
from node.storage.commit import read_proven
from node.storage.filling import is_incomplete
from node.storage.leveldb import Database
from node.storage.opening import Heads
from node.storage.pruning import Pruning
from node.storage.states import historic
from runtime.primitives.header import Block, Header
from runtime.state.store import State


@dataclass(frozen=True, slots=True)
class Route:
    """How to get from one block to another: what is left, newest first; what is entered."""

    retracted: tuple[bytes, ...]
    enacted: tuple[bytes, ...]


class ChainReads:
    """What anybody may ask of the chain."""

    def __init__(self, db: Database, heads: Heads, tree: ForkTree, pruning: Pruning) -> None:
        self._db = db
        self._pruning = pruning
        self._tree = tree
        self._best = heads.finalized
        self._lock = threading.RLock()
        self.genesis_hash = heads.genesis_hash
        self.kept = heads.kept

    @property
    def oldest_state(self) -> int:
        """The oldest finalised block whose state is kept."""
        return self.kept.states

    def best(self) -> BlockRef:
        """Name the tip."""
        return self._best

    def finalized(self) -> BlockRef:
        """Name the last finalised block."""
        return self._tree.root

    def leaves(self) -> list[bytes]:
        """List the executed blocks without children."""
        with self._lock:
            return self._tree.leaves()

    def unfinalised(self) -> list[Executed]:
        """List the executed blocks that are not final, parents first."""
        with self._lock:
            return sorted(self._tree, key=lambda executed: executed.number)

    def unfinalised_block(self, block_hash: bytes) -> Executed | None:
        """Find an executed block that is not final."""
        return self._unfinalised(block_hash)

    def header(self, block_hash: bytes) -> Header | None:
        """Read the header of a known block."""
        executed = self._unfinalised(block_hash)
        return executed.block.header if executed else read_header(self._db, block_hash)

    def block(self, block_hash: bytes) -> Block | None:
        """Read a known block; None too where only its body is missing, pruned or not yet there."""
        executed = self._unfinalised(block_hash)
        if executed:
            return executed.block
        header, body = read_header(self._db, block_hash), read_body(self._db, block_hash)
        return None if header is None or body is None else Block(header, body)

    def block_hash(self, number: int) -> bytes | None:
        """Find the block of a number on the best chain."""
        with self._lock:
            root, best = self._tree.root, self._best
            if number > best.number:
                return None
            if number > root.number:
                return self._tree.path(best.hash)[number - root.number - 1].hash
        return read_canonical(self._db, number)

    def blocks_at(self, number: int) -> list[bytes]:
        """List the known blocks of a number, that of the best chain first.

        There is one, or none below a fetched state, up to the last finalised block.
        """
        with self._lock:
            best = self.block_hash(number)
            known = [executed.hash for executed in self._tree if executed.number == number]
        return ([] if best is None else [best]) + [h for h in known if h != best]

    def justification(self, block_hash: bytes) -> bytes | None:
        """Read the finality proof that was given for exactly this block."""
        return read_proof(self._db, block_hash)

    def latest_proven(self) -> tuple[Header, bytes] | None:
        """Read the last finalised block that has a proof of its own, with the proof.

        None where nothing but the genesis block is final.
        """
        return read_proven(self._db.snapshot())

    def boundary(self, epoch: int) -> bytes | None:
        """Find the finalised block that ended an epoch: its header announces the next one."""
        return read_boundary(self._db, epoch)

    def executed(self, block_hash: bytes) -> bool:
        """Tell whether what a block does is part of a state here; it need not be final."""
        return self.header(block_hash) is not None

    @property
    def is_backfilling(self) -> bool:
        """Whether blocks below a fetched state are still missing."""
        return is_incomplete(self._db)

    @property
    def pruning(self) -> Pruning:
        """What of the past is kept."""
        return self._pruning

    def is_finalized(self, block_hash: bytes) -> bool:
        """Tell whether a block is final."""
        return self._unfinalised(block_hash) is None and (
            read_header(self._db, block_hash) is not None
        )

    def place(self, extrinsic_hash: bytes) -> tuple[bytes, int] | None:
        """Find a finalised extrinsic: block hash and index."""
        return read_place(self._db, extrinsic_hash)

    def state_at(self, block_hash: bytes) -> State:
        """Give the state behind a block; it stays what it is while somebody holds it.

        Raises UnknownBlock, or StatePruned for a finalised block outside the pruning window.
        """
        with self._lock:
            executed = self._tree.get(block_hash)
            if executed:
                return executed.state
            if block_hash == self._tree.root.hash:
                return self._tree.state
        snapshot = self._db.snapshot()
        header = read_header(snapshot, block_hash)
        if header is None:
            raise UnknownBlock(block_hash)
        oldest = read_kept(snapshot).states
        if header.number < oldest:
            raise StatePruned(block_hash, header.number, oldest)
        return historic(snapshot, header.state_root)

    def best_state(self) -> State:
        """Give the state behind the tip."""
        with self._lock:
            return self.state_at(self._best.hash)

    def route(self, origin: bytes, target: bytes) -> Route:
        """Find the way between two known blocks; raises UnknownBlock."""
        retracted: list[bytes] = []
        enacted: list[bytes] = []
        while origin != target:
            left, right = self._known(origin), self._known(target)
            if left.number >= right.number:
                retracted.append(origin)
                origin = left.parent_hash
            if right.number >= left.number:
                enacted.append(target)
                target = right.parent_hash
        return Route(tuple(retracted), tuple(enacted[::-1]))

    def _known(self, block_hash: bytes) -> Header:
        header = self.header(block_hash)
        if header is None:
            raise UnknownBlock(block_hash)
        return header

    def _unfinalised(self, block_hash: bytes) -> Executed | None:
        return self._tree.get(block_hash)
