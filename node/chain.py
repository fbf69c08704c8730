"""The chain: the only writer. Unfinalised blocks live in memory, final ones on the disk.

An executed block is written to the disk too, unsynced, so that a restart finds it again.
`build`, `execute` and `finalize` run in one worker thread and take turns. Everything else is a
plain method; the reads may be called from any thread and never wait for an execution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import trio

from consensus.interface import BlockRef
from node.chain_events import BestChanged, ChainEvent, Events, Finalized, NewBlock
from node.chain_reads import ChainReads
from node.chain_restart import load_unfinalised, store_unfinalised
from node.errors import UnknownBlock
from node.fork_tree import Executed, ForkTree, layer
from node.log import Log
from node.runtime_interface import Built, Outcome, RuntimeInterface
from node.storage.blocks import read_kept
from node.storage.commit import FinalBlock, add_proof, commit
from node.storage.layout import unfinalised_key
from node.storage.leveldb import Database
from node.storage.metadata import RulesRecords
from node.storage.opening import Heads, load_heads, read_heads
from node.storage.pruning import Kept, Pruning
from node.storage.staging import Staging
from node.storage.states import FlatState
from node.storage.switching import begin_switch, finish_switch
from runtime.primitives.digest import find_next_epoch
from runtime.primitives.header import Block, DigestItem, Header
from runtime.state.store import State

T = TypeVar("T")
_log = Log("chain")


class Genesis(Protocol):
    """Where a chain's first state comes from."""

    def genesis_entries(self) -> dict[bytes, bytes]:
        """List the storage of block 0."""


class Chain(ChainReads):
    """One chain in one folder; see `open`."""

    def __init__(
        self, db: Database, heads: Heads, runtime: RuntimeInterface, pruning: Pruning
    ) -> None:
        state = FlatState(db.snapshot(), heads.state_root)
        super().__init__(db, heads, ForkTree(heads.finalized, state), pruning)
        self._runtime = runtime
        self._events = Events()
        self._turn = trio.Lock()
        self._thread = trio.CapacityLimiter(1)
        self._last_built: Executed | None = None
        load_unfinalised(db, self._tree)

    @classmethod
    def open(
        cls,
        path: Path,
        spec: Genesis,
        runtime: RuntimeInterface,
        pruning: Pruning | None = None,
    ) -> Chain:
        """Open a chain's folder, made with the genesis block where it is new.

        Every start may choose another pruning: `kept` says what is readable from when.

        Raises StorageLocked where another process has it, WrongDatabase where it is of another
        chain, StorageFailure where it cannot be read.
        """
        pruning = pruning or Pruning()
        db = Database(path)
        try:
            heads = load_heads(db, spec.genesis_entries(), runtime, pruning)
            runtime.keep_records(RulesRecords(db))
            _tell_pruning(heads, pruning)
            return cls(db, heads, runtime, pruning)
        except BaseException:
            db.close()
            raise

    def close(self) -> None:
        """Release the folder and end all event channels."""
        self._events.close()
        self._db.close()

    def subscribe(self) -> trio.MemoryReceiveChannel[ChainEvent]:
        """Open a channel of events; it is closed on a reader that lets its buffer fill up."""
        return self._events.subscribe()

    async def build(
        self,
        parent: bytes,
        *,
        timestamp: int,
        digest: tuple[DigestItem, ...],
        candidates: Iterable[bytes],
        full: Callable[[], bool],
    ) -> Built:
        """Build a block on a known, unpruned parent; `execute` it to make it part of the chain.

        timestamp: milliseconds. `candidates` is iterated, and `full` called, in the worker thread.
        """
        async with self._turn:
            header, state = self._parent(parent)
            job = partial(
                self._runtime.build_block,
                header,
                state,
                timestamp=timestamp,
                digest=digest,
                candidates=candidates,
                full=full,
            )
            built = await self._work(job)
            self._last_built = _executed(built.block, built.outcome, state)
            return built

    async def execute(self, block: Block) -> BlockRef:
        """Check and execute a block, and keep it beside its siblings; idempotent.

        Raises InvalidBlock(reason), or UnknownBlock where the parent is unknown or was left behind
        by finality.
        """
        async with self._turn:
            ref = BlockRef(block.header.hash(), block.header.number)
            if self.header(ref.hash) is not None:
                return ref
            executed = self._last_built
            if executed is None or executed.hash != ref.hash:
                header, state = self._parent(block.header.parent_hash)
                outcome = await self._work(partial(self._runtime.apply_block, header, state, block))
                executed = _executed(block, outcome, state)
            self._last_built = None
            await self._work(partial(store_unfinalised, self._db, executed))
            with self._lock:
                self._tree.add(executed)
        self._events.publish(NewBlock(ref.hash, block.header.parent_hash))
        return ref

    def set_best(self, block_hash: bytes) -> None:
        """Make an executed block, or the last finalised one, the tip; raises UnknownBlock."""
        with self._lock:
            path = self._tree.path(block_hash)
            ref = path[-1].ref if path else self._tree.root
            changed = ref != self._best
            self._best = ref
        if changed:
            self._events.publish(BestChanged(block_hash))

    async def finalize(self, block_hash: bytes, proof: bytes | None) -> None:
        """Make a block and its ancestors final in one synced batch, and drop dead forks.

        proof: of this very block, None for an ancestor of one that is proven. A block that is final
        already only takes the proof that it lacks. Raises UnknownBlock, StorageFull or
        StorageFailure; after the last two the last finalised block is what it was before.
        """
        async with self._turn:
            if self.is_finalized(block_hash):
                await self._prove(block_hash, proof)
                return
            with self._lock:
                path = self._tree.path(block_hash)
                dead = self._tree.left_behind(block_hash)
            blocks = [_final(executed, block_hash, proof) for executed in path]
            gone = {unfinalised_key(e.number, e.hash): None for e in (*path, *dead)}
            kept = await self._work(
                partial(commit, self._db, blocks, self._pruning, self.kept, gone)
            )
            hashes = tuple(block.hash for block in blocks)
            self._advance(path[-1], kept, Finalized(hashes, tuple(e.hash for e in dead)))

    async def adopt(self) -> BlockRef:
        """Make the staged state's block the last finalised one, whatever was there before.

        Raises StorageFailure where the staged state is not complete.
        """
        async with self._turn:
            await self._work(partial(begin_switch, self._db))
            await self._work(partial(finish_switch, self._db))
            heads = read_heads(self._db)
            state = FlatState(self._db.snapshot(), heads.state_root)
            with self._lock:
                dead = tuple(executed.hash for executed in self._tree)
                self._tree = ForkTree(heads.finalized, state)
                self._best, self.kept, self._last_built = heads.finalized, heads.kept, None
        self._events.publish(BestChanged(heads.finalized.hash))
        self._events.publish(Finalized((heads.finalized.hash,), dead))
        return heads.finalized

    async def write_history(self, job: Callable[[Database], None]) -> None:
        """Let a job write blocks below the last finalised one; it takes its turn with the rest."""
        async with self._turn:
            await self._work(partial(job, self._db))
            kept = read_kept(self._db)
            with self._lock:
                self.kept = kept

    def staging(self) -> Staging:
        """Return the area where a state is put together before `adopt`."""
        return Staging(self._db)

    async def _prove(self, block_hash: bytes, proof: bytes | None) -> None:
        header = self.header(block_hash)
        if proof is None or header is None or self.justification(block_hash) is not None:
            return
        if header.number >= self.kept.bodies or find_next_epoch(header.digest) is not None:
            await self._work(partial(add_proof, self._db, block_hash, proof))

    def _advance(self, head: Executed, kept: Kept, event: Finalized) -> None:
        state = FlatState(self._db.snapshot(), head.update.root)
        with self._lock:
            self._tree = self._tree.advance(head.ref, state)
            self.kept = kept
            moved = self._best.hash != head.hash and self._best.hash not in self._tree
            if moved:
                self._best = head.ref
        if moved:
            self._events.publish(BestChanged(head.hash))
        self._events.publish(event)

    def _parent(self, block_hash: bytes) -> tuple[Header, State]:
        with self._lock:
            header = self.header(block_hash)
            if header is None or (
                block_hash != self._tree.root.hash and block_hash not in self._tree
            ):
                raise UnknownBlock(block_hash)
        return header, self.state_at(block_hash)

    async def _work(self, job: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(job, limiter=self._thread)


def _executed(block: Block, outcome: Outcome, state: State) -> Executed:
    layered = layer(state, outcome.changes, outcome.update)
    return Executed(block.header.hash(), block, outcome.changes, outcome.update, layered)


def _tell_pruning(heads: Heads, pruning: Pruning) -> None:
    if heads.pruned_with is not None:
        _log.info(
            "pruning changed",
            before=heads.pruned_with,
            now=pruning.text,
            states_from=heads.kept.states,
            bodies_from=heads.kept.bodies,
        )


def _final(executed: Executed, proven: bytes, proof: bytes | None) -> FinalBlock:
    return FinalBlock(
        hash=executed.hash,
        header=executed.block.header,
        body=executed.block.extrinsics,
        proof=proof if executed.hash == proven else None,
        changes=executed.changes,
        update=executed.update,
    )
