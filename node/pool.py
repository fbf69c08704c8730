"""The transaction pool: what may be in the next blocks, in which order, and why the rest is not.

All methods are called from the loop's thread; the iterator of `ready` reads a copy, so a block
may be built from it in another thread.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable

import trio

from node.errors import PoolReason, PoolRefusal
from node.log import Log
from node.pool_admission import (
    UNSIGNED,
    check_tags,
    evicted_for,
    replaced_by,
    signer_of,
    valid_till,
)
from node.pool_included import Included
from node.pool_reads import PoolReads, Validator
from node.pool_types import NEVER, Drop, Entry, Source, StatusKind, TxStatus
from node.runtime_interface import Validity
from runtime.primitives.errors import InvalidTransaction, TransactionReason
from runtime.primitives.hashing import blake2_256
from runtime.primitives.header import Block

_log = Log("pool")
EXPIRY_SLACK = 1024
"""Plans of extrinsics that are gone already may be so many more than twice the pool."""


class Pool(PoolReads):
    """Extrinsics that wait for a block."""

    # What comes in

    def submit(self, extrinsic: bytes, source: int = Source.EXTERNAL) -> bytes:
        """Check an extrinsic and take it in; returns its hash.

        Raises InvalidTransaction where the state does not admit it, PoolRefusal(reason) where the
        pool does not take it.
        """
        extrinsic_hash = blake2_256(extrinsic)
        try:
            self._admit(extrinsic_hash, extrinsic, source)
        except PoolRefusal as refusal:
            if extrinsic_hash not in self:
                self._history.note(extrinsic_hash, Drop(refusal.reason, refusal.detail))
            raise
        except InvalidTransaction as refusal:
            self._history.note(extrinsic_hash, Drop(PoolReason.INVALID, str(refusal)))
            raise
        return extrinsic_hash

    def _admit(self, extrinsic_hash: bytes, extrinsic: bytes, source: int) -> None:
        if extrinsic_hash in self or self._in_blocks.get(extrinsic_hash) is not None:
            raise PoolRefusal(PoolReason.ALREADY_IMPORTED)
        if len(extrinsic) > self.limits.extrinsic_bytes:
            raise PoolRefusal(
                PoolReason.TOO_LARGE,
                f"{len(extrinsic)} bytes, the limit is {self.limits.extrinsic_bytes}",
            )
        if self._history.banned(extrinsic_hash, self._clock()):
            raise PoolRefusal(PoolReason.TEMPORARILY_BANNED)
        sender, nonce = signer_of(extrinsic)
        validity = self._validator.validate(extrinsic, source)
        entry = self._entry(extrinsic_hash, extrinsic, source, sender, nonce, validity)
        rivals = replaced_by(self._graph, entry)
        victims = evicted_for(self._graph, self.limits, entry, rivals)
        for rival in rivals:
            self._drop(rival, PoolReason.USURPED, "replaced", by=extrinsic_hash)
        for victim in victims:
            self._drop(victim, PoolReason.EVICTED)
        self._insert(entry)

    def _entry(
        self,
        extrinsic_hash: bytes,
        extrinsic: bytes,
        source: int,
        sender: bytes,
        nonce: int | None,
        validity: Validity,
    ) -> Entry:
        check_tags(validity)
        number = self._validator.best().number
        self._order += 1
        return Entry(
            hash=extrinsic_hash,
            data=extrinsic,
            sender=sender,
            nonce=nonce,
            order=self._order,
            source=source,
            priority=validity.priority,
            requires=frozenset(validity.requires),
            provides=tuple(dict.fromkeys(validity.provides)),
            valid_till=valid_till(validity, number),
            propagate=validity.propagate,
            checked_at=number,
        )

    def _insert(self, entry: Entry) -> None:
        promoted = self._graph.insert(entry)
        self._history.forget(entry.hash)
        self._plan_expiry(entry)
        if not entry.ready:
            self._watchers.tell(entry.hash, TxStatus(StatusKind.FUTURE))
        self._promoted(promoted)

    def _promoted(self, promoted: list[Entry]) -> None:
        for entry in promoted:
            self._watchers.tell(entry.hash, TxStatus(StatusKind.READY))
            if entry.propagate:
                self._announce(entry.hash)

    def _announce(self, extrinsic_hash: bytes) -> None:
        kept = []
        for listener in self._listeners:
            try:
                listener.send_nowait(extrinsic_hash)
            except trio.WouldBlock:
                kept.append(listener)
            except trio.BrokenResourceError:
                listener.close()
            else:
                kept.append(listener)
        self._listeners = kept

    # What goes out

    def _drop(
        self, entry: Entry, reason: PoolReason, detail: str = "", by: bytes | None = None
    ) -> None:
        demoted = self._graph.remove(entry)
        self._history.note(entry.hash, Drop(reason, detail or reason.value))
        _log.debug("extrinsic dropped", hash=entry.hash, reason=reason.name, detail=detail)
        if reason in (PoolReason.INVALID, PoolReason.REMOVED):
            self._history.ban(entry.hash, self._clock() + self.limits.banned_seconds)
        kinds = {
            PoolReason.INVALID: StatusKind.INVALID,
            PoolReason.EXPIRED: StatusKind.INVALID,
            PoolReason.USURPED: StatusKind.USURPED,
        }
        self._watchers.tell(entry.hash, TxStatus(kinds.get(reason, StatusKind.DROPPED), by))
        for waiting in demoted:
            self._watchers.tell(waiting.hash, TxStatus(StatusKind.FUTURE))

    def remove(self, extrinsic_hash: bytes) -> bool:
        """Take an extrinsic out and refuse it for a while; says whether it was there."""
        entry = self._graph.entries.get(extrinsic_hash)
        if entry is None:
            return False
        self._drop(entry, PoolReason.REMOVED)
        return True

    def prune(self, block: Block) -> None:
        """Follow a block of the best chain: take out what it holds and what it makes invalid."""
        block_hash = block.header.hash()
        for index, extrinsic in enumerate(block.extrinsics):
            extrinsic_hash = blake2_256(extrinsic)
            self._in_blocks.add(extrinsic_hash, Included(block_hash, index, extrinsic))
            entry = self._graph.entries.get(extrinsic_hash)
            status = TxStatus(StatusKind.IN_BLOCK, block_hash, index)
            if entry is None:
                self._suspect_sender(extrinsic)
                self._watchers.tell(extrinsic_hash, status)
            else:
                self._include(entry, status)
        self._expire(block.header.number)
        self._work.set()

    def _include(self, entry: Entry, status: TxStatus) -> None:
        promoted = self._graph.satisfy(entry.provides)
        self._graph.remove(entry)
        self._history.note(entry.hash, Drop(PoolReason.INCLUDED, PoolReason.INCLUDED.value))
        self._watchers.tell(entry.hash, status)
        self._promoted(promoted)

    def _suspect_sender(self, extrinsic: bytes) -> None:
        try:
            sender, _ = signer_of(extrinsic)
        except InvalidTransaction:
            return
        if sender != UNSIGNED:
            self._suspects |= dict.fromkeys(entry.hash for entry in self._graph.of_sender(sender))

    def _expire(self, number: int) -> None:
        while self._expiry and self._expiry[0][0] <= number:
            valid_till, extrinsic_hash = heapq.heappop(self._expiry)
            entry = self._graph.entries.get(extrinsic_hash)
            if entry is not None and entry.valid_till == valid_till:
                self._drop(entry, PoolReason.EXPIRED)

    def _plan_expiry(self, entry: Entry) -> None:
        if entry.valid_till >= NEVER:
            return
        heapq.heappush(self._expiry, (entry.valid_till, entry.hash))
        if len(self._expiry) > 2 * len(self) + EXPIRY_SLACK:
            kept = {e.hash: e.valid_till for e in self._graph.entries.values()} | {
                entry.hash: entry.valid_till
            }
            self._expiry = [(till, h) for till, h in self._expiry if kept.get(h) == till]
            heapq.heapify(self._expiry)

    def retract(self, block: Block, kept: Collection[bytes] = ()) -> None:
        """Undo `prune` for a block that left the best chain: its extrinsics come back.

        kept: hashes of what the blocks hold that came in its place, which `prune` is given next.
        """
        block_hash = block.header.hash()
        for extrinsic in block.extrinsics:
            extrinsic_hash = blake2_256(extrinsic)
            if not self._in_blocks.discard(extrinsic_hash, block_hash):
                continue
            self._watchers.tell(extrinsic_hash, TxStatus(StatusKind.RETRACTED, block_hash))
            if extrinsic_hash in kept:
                continue
            try:
                self.submit(extrinsic, Source.EXTERNAL)
            except (InvalidTransaction, PoolRefusal):
                self._watchers.tell(extrinsic_hash, TxStatus(StatusKind.INVALID))
        self._suspects |= dict.fromkeys(self._graph.entries)
        self._work.set()

    def finalized(self, block_hash: bytes) -> None:
        """Tell the watchers of a block's extrinsics that it is final."""
        for extrinsic_hash, included in self._in_blocks.take(block_hash):
            self._watchers.tell(
                extrinsic_hash, TxStatus(StatusKind.FINALIZED, block_hash, included.index)
            )

    def refused(self, refused: Iterable[tuple[bytes, InvalidTransaction]]) -> None:
        """Learn from a block's builder which candidates the state refused."""
        for extrinsic, refusal in refused:
            entry = self._graph.entries.get(blake2_256(extrinsic))
            if entry is None or refusal.reason is TransactionReason.EXHAUSTS_RESOURCES:
                continue
            if refusal.reason is TransactionReason.FUTURE:
                self._suspects[entry.hash] = None
                self._work.set()
            else:
                self._drop(entry, PoolReason.INVALID, str(refusal))

    # Staying true to the state

    def revalidate(self, most: int) -> int:
        """Check the suspects, then the entries checked longest ago; returns how many."""
        due = self._due(most)
        for entry in due:
            self._recheck(entry)
        return len(due)

    def _due(self, most: int) -> list[Entry]:
        chosen: list[Entry] = []
        while self._suspects and len(chosen) < most:
            suspect, _ = self._suspects.popitem(last=False)
            if suspect in self._graph.entries:
                chosen.append(self._graph.entries[suspect])
        if chosen:
            return chosen
        number = self._validator.best().number
        old = (e for e in self._graph.entries.values() if e.checked_at < number)
        return heapq.nsmallest(most, old, key=lambda e: e.checked_at)

    def _recheck(self, entry: Entry) -> None:
        if self._graph.entries.get(entry.hash) is not entry:
            return
        try:
            validity = self._validator.validate(entry.data, entry.source)
            fresh = self._entry(
                entry.hash, entry.data, entry.source, entry.sender, entry.nonce, validity
            )
        except (InvalidTransaction, PoolRefusal) as refusal:
            self._drop(entry, PoolReason.INVALID, str(refusal))
            return
        fresh.order = entry.order
        if (fresh.requires, fresh.provides) == (entry.requires, entry.provides):
            entry.checked_at, entry.priority = fresh.checked_at, fresh.priority
            if entry.valid_till != fresh.valid_till:
                entry.valid_till = fresh.valid_till
                self._plan_expiry(entry)
            return
        was_ready = entry.ready
        demoted = self._graph.remove(entry)
        if self._graph.rivals(fresh.provides):
            self._graph.insert(entry)
            self._drop(entry, PoolReason.USURPED)
            return
        self._plan_expiry(fresh)
        promoted = {e.hash: e for e in self._graph.insert(fresh)}
        silent = {e.hash for e in demoted} | ({entry.hash} if was_ready else set())
        self._promoted([e for h, e in promoted.items() if h not in silent])
        for waiting in [*demoted, fresh]:
            if waiting.hash not in promoted:
                self._watchers.tell(waiting.hash, TxStatus(StatusKind.FUTURE))

    async def run(self, slice_size: int = 8, budget: int = 512) -> None:
        """Keep the pool true to the state after each block, in short slices, until cancelled."""
        while True:
            await self._work.wait()
            self._work = trio.Event()
            due = self._due(budget)
            for start in range(0, len(due), slice_size):
                for entry in due[start : start + slice_size]:
                    self._recheck(entry)
                await trio.sleep(0)

    def close(self) -> None:
        """End all channels."""
        self._watchers.close()
        for listener in self._listeners:
            listener.close()


__all__ = ["Pool", "Validator"]
