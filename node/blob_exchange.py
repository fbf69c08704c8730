"""Blobs among nodes: fetch what the finalised chain declares and is not here, and serve the rest.

declared ─► wanted ─► fetches ⇄ peers                     peers ⇄ server ◄─ store
              ▲ fetch(hash): a worker waits for it
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Protocol

import trio

from node.blob_errors import BlobReason, BlobRefusal
from node.blob_exchange_area import FetchArea
from node.blob_exchange_fetch import BlobFetch
from node.blob_exchange_limits import ExchangeCounters, ExchangeLimits, Keep
from node.blob_exchange_lists import ChunkLists
from node.blob_exchange_peers import BlobNetwork, BlobPeers
from node.blob_exchange_serving import BlobServer
from node.blob_exchange_wanted import Wanted, WantedBlobs
from node.blobs import BlobStore
from node.declarations import Declaration, Take
from node.log import Log
from node.network.interface import RequestKind

FETCH_SECONDS = 20.0
POLL_SECONDS = 1.0
HURRY_SECONDS = 10.0
TOLD_AGAIN_SECONDS = 5.0
"""Whoever asks for a blob that nobody gave so shortly ago is told so without asking peers again."""
PROGRESS_SECONDS = 30.0
_REMEMBERED = 1024
_HOPELESS = (BlobReason.UNDECLARED, BlobReason.TOO_LARGE)
_log = Log("blobs")


class Declarations(Protocol):
    """Tells which blobs the finalised chain declares."""

    async def follow(self, take: Take) -> None:
        """Pass on all declarations, then each new one, until cancelled."""


@dataclass(slots=True)
class _Waiters:
    """Those who wait for one blob; refusal: why it is not there, None if it is."""

    done: trio.Event = field(default_factory=trio.Event)
    refusal: BlobRefusal | None = None


class BlobExchange:
    """A node's part in the exchange; nothing happens before `run`."""

    def __init__(
        self,
        network: BlobNetwork,
        store: BlobStore,
        declarations: Declarations,
        keep: Keep = Keep.ALL,
        limits: ExchangeLimits | None = None,
    ) -> None:
        self._network = network
        self._store = store
        self._declarations = declarations
        self._keep = keep
        self._limits = limits or ExchangeLimits()
        self.counters = ExchangeCounters()
        self._lists = ChunkLists(store)
        self._area = FetchArea(store)
        self._peers = BlobPeers(network, self._limits, self.counters)
        self._server = BlobServer(
            store, self._lists, network.penalise, self._lost, self._limits, self.counters
        )
        limits = self._limits
        self._wanted = WantedBlobs(
            limits.wanted, limits.first_retry_seconds, limits.last_retry_seconds
        )
        self._waiters: dict[bytes, _Waiters] = {}
        self._failed: OrderedDict[bytes, tuple[float, BlobRefusal]] = OrderedDict()
        self._active: set[bytes] = set()
        self._bell = trio.Event()

    @property
    def missing(self) -> int:
        """Declared blobs that this node wants and has not."""
        return len(self._wanted)

    @property
    def complete(self) -> int:
        """Blobs that this node holds."""
        return self._store.count

    async def run(self) -> None:
        """Serve and fetch until cancelled."""
        self._network.set_handler(RequestKind.BLOB, self._server.answer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._server.run)
            nursery.start_soon(self._watch)
            nursery.start_soon(self._tell_progress)
            nursery.start_soon(self._work, True)
            for _ in range(self._limits.fetches):
                nursery.start_soon(self._work, False)
            if self._keep is Keep.ALL:
                nursery.start_soon(self._declarations.follow, self._take)

    async def fetch(self, blob: bytes, timeout: float = FETCH_SECONDS) -> None:
        """Wait until a declared blob is here; raises BlobRefusal.

        After `timeout` seconds it raises LATE, and the fetch goes on.
        """
        if await trio.to_thread.run_sync(self._store.path, blob) is not None:
            return
        size = await trio.to_thread.run_sync(self._store.declared_size, blob)
        if not self._network.peers():
            raise BlobRefusal(BlobReason.NO_PEERS)
        failed = self._failed.get(blob)
        if failed is not None and trio.current_time() < failed[0] + TOLD_AGAIN_SECONDS:
            raise failed[1]
        if blob not in self._waiters and len(self._waiters) >= self._limits.waiting:
            raise BlobRefusal(BlobReason.BUSY)
        waiters = self._waiters.setdefault(blob, _Waiters())
        self._wanted.urge(Declaration(blob, size))
        self._ring()
        with trio.move_on_after(timeout):
            await waiters.done.wait()
            if waiters.refusal is not None:
                raise BlobRefusal(waiters.refusal.reason, waiters.refusal.detail)
            return
        raise BlobRefusal(BlobReason.LATE)

    async def _take(self, declarations: list[Declaration]) -> None:
        lacking = await trio.to_thread.run_sync(self._lacking, declarations)
        for declaration in lacking:
            self._wanted.add(declaration)
        if lacking:
            self._ring()

    def _lacking(self, declarations: list[Declaration]) -> list[Declaration]:
        most = self._store.limits.blob_bytes
        return [d for d in declarations if 0 < d.size <= most and self._store.path(d.blob) is None]

    async def _work(self, urgent: bool) -> None:
        while True:
            wanted = None
            if self._network.peers():
                wanted = self._wanted.take(trio.current_time(), urgent=urgent)
            if wanted is None:
                await self._bell.wait()
            else:
                await self._attempt(wanted)

    async def _attempt(self, wanted: Wanted) -> None:
        blob = wanted.declaration.blob
        self._active.add(blob)
        is_here = False
        try:
            with trio.move_on_after(self._limits.slice_seconds):
                await self._fetch(wanted.declaration)
                is_here = True
        except BlobRefusal as refusal:
            await self._give_up(wanted, refusal)
            return
        finally:
            self._active.discard(blob)
        if is_here:
            self._wanted.done(wanted)
            self._tell(blob, None)
        else:
            self._wanted.go_on(wanted)

    async def _fetch(self, declaration: Declaration) -> None:
        blob = declaration.blob
        if await trio.to_thread.run_sync(self._store.path, blob) is not None:
            return
        fetch = BlobFetch(
            declaration, self._peers, self._area, self._lists, self._limits, self.counters
        )
        try:
            await fetch.run()
        except BlobRefusal as refusal:
            if refusal.reason is not BlobReason.QUOTA or not await self._make_room(
                0, declaration.size
            ):
                raise
            await fetch.run()
        except OSError as error:
            _log.warning("a fetched blob cannot be stored", blob=blob, error=error)
            raise BlobRefusal(BlobReason.DISK, str(error)) from error
        self.counters.blobs_fetched += 1
        _log.debug("blob fetched", blob=blob, bytes=declaration.size)

    async def _give_up(self, wanted: Wanted, refusal: BlobRefusal) -> None:
        """Keep what was fetched, within bounds, and try again later."""
        blob = wanted.declaration.blob
        self.counters.fetches_failed += 1
        _log.debug("blob not fetched", blob=blob, tries=wanted.tries, reason=refusal.reason.name)
        if refusal.reason in _HOPELESS or self._keep is Keep.NONE:
            self._wanted.done(wanted)
        else:
            self._wanted.retry(wanted, trio.current_time())
        self._failed[blob] = trio.current_time(), refusal
        while len(self._failed) > _REMEMBERED:
            self._failed.popitem(last=False)
        self._tell(blob, refusal)
        await trio.to_thread.run_sync(self._area.drop_empty, blob)
        await self._make_room(self._limits.parked)

    async def _make_room(self, kept: int, needed: int = 0) -> bool:
        """Delete unfinished fetches but the latest few; False where that frees too few bytes."""
        held = await trio.to_thread.run_sync(self._area.held)
        idle = [blob for blob, _ in held if blob not in self._active]
        free = self._store.limits.total_bytes - self._store.used_bytes
        if needed > free + sum(size for blob, size in held if blob in idle):
            return False
        for blob in idle[: max(0, len(idle) - kept)]:
            if blob not in self._active:
                await trio.to_thread.run_sync(self._area.drop, blob)
        return True

    def _lost(self, declaration: Declaration) -> None:
        """Fetch again what the disk has spoilt."""
        if self._keep is Keep.ALL:
            self._wanted.add(declaration)
            self._ring()

    def _tell(self, blob: bytes, refusal: BlobRefusal | None) -> None:
        waiters = self._waiters.pop(blob, None)
        if waiters is not None:
            waiters.refusal = refusal
            waiters.done.set()

    def _ring(self) -> None:
        self._bell.set()
        self._bell = trio.Event()

    async def _watch(self) -> None:
        """Wake who has nothing to do; all that wait are due when there is a new peer, at times."""
        known: set[str] = set()
        hurried = -HURRY_SECONDS
        while True:
            now = {peer.id for peer in self._network.peers()}
            if now - known and trio.current_time() >= hurried + HURRY_SECONDS:
                known, hurried = now, trio.current_time()
                self._wanted.hurry()
            known &= now
            self._ring()
            await trio.sleep(POLL_SECONDS)

    async def _tell_progress(self) -> None:
        told = 0
        while True:
            await trio.sleep(PROGRESS_SECONDS)
            fetched = self.counters.bytes_fetched
            if fetched != told:
                _log.debug(
                    "blobs are being fetched",
                    bytes=fetched - told,
                    missing=self.missing,
                    complete=self.complete,
                )
            told = fetched
