"""Fetch one blob: gather lists of its chunks, take chunks from whoever named them, check the whole.

One honest peer suffices. Chunks that a wrong list shares with the right one stay; a liar costs the
chunks that it made up, once, and its standing.
"""

from __future__ import annotations

from collections import deque
from functools import partial

import trio

from node.blob_errors import BlobReason, BlobRefusal
from node.blob_exchange_area import FetchArea
from node.blob_exchange_claims import Claims
from node.blob_exchange_limits import ExchangeCounters, ExchangeLimits
from node.blob_exchange_lists import (
    ChunkHashes,
    ChunkLists,
    chunk_length,
    split_hashes,
)
from node.blob_exchange_messages import (
    AnswerReason,
    BlobAnswer,
    Chunk,
    ChunkList,
    ChunkRequest,
    ListRequest,
    Refused,
)
from node.blob_exchange_peers import BlobPeers
from node.declarations import Declaration
from node.log import Log
from node.network.interface import FailReason, RequestFailed
from runtime.primitives.hashing import blake2_256

SOURCES = 4
"""So many peers that give the same list are enough; more are asked when these fail."""
ASKED_AT_ONCE, ASKED_FIRST = 6, 12
MOST_BUSY = 6
BUSY_SECONDS = 0.5
MOST_DISK_FAULTS = 3
_log = Log("blobs")


class BlobFetch:
    """One blob's fetch; cancel it at any time: another goes on where it was."""

    def __init__(
        self,
        wanted: Declaration,
        peers: BlobPeers,
        area: FetchArea,
        lists: ChunkLists,
        limits: ExchangeLimits,
        counters: ExchangeCounters,
    ) -> None:
        self._blob, self._size = wanted.blob, wanted.size
        self._peers = peers
        self._area = area
        self._lists = lists
        self._limits = limits
        self._counters = counters
        self._claims = Claims()
        self._asked: set[str] = set()
        self._busy: dict[str, int] = {}
        self._have: list[bytes] = []
        self._refusal: BlobRefusal | None = None

    async def run(self) -> None:
        """Fetch until the blob is complete; raises BlobRefusal, NOBODY where no peer helps."""
        disk_faults = 0
        while True:
            claim = await self._gather()
            if not self._have:
                await self._open()
            await self._collect(claim)
            if self._missing(claim):
                continue
            if await trio.to_thread.run_sync(self._area.finish, self._blob):
                await trio.to_thread.run_sync(self._lists.save, self._blob, claim)
                return
            await self._look()
            if not self._missing(claim):
                self._reject(claim)
                continue
            disk_faults += 1
            if disk_faults == MOST_DISK_FAULTS:
                raise BlobRefusal(BlobReason.DISK, "the disk does not give back what was written")

    async def _open(self) -> None:
        size = await trio.to_thread.run_sync(self._area.open, self._blob)
        if size != self._size:
            raise BlobRefusal(BlobReason.UNDECLARED, "the declared size has changed")
        await self._look()

    async def _look(self) -> None:
        self._have = list(await trio.to_thread.run_sync(self._area.hashes, self._blob))

    async def _gather(self) -> ChunkHashes:
        """Ask peers for lists until enough agree or were asked; raises BlobRefusal(NOBODY)."""
        while True:
            best = self._claims.best()
            if best is not None and (
                len(self._asked) >= ASKED_FIRST or len(self._claims.tellers(best)) >= SOURCES
            ):
                return best
            fresh = [peer for peer in self._peers.connected() if peer not in self._asked]
            if not fresh:
                break
            self._asked.update(fresh[:ASKED_AT_ONCE])
            async with trio.open_nursery() as nursery:
                for peer in fresh[:ASKED_AT_ONCE]:
                    nursery.start_soon(self._ask_list, peer)
        if best is None:
            raise BlobRefusal(BlobReason.NOBODY)
        return best

    async def _ask_list(self, peer: str) -> None:
        answer = await self._ask(peer, partial(ListRequest, self._blob))
        if isinstance(answer, ChunkList):
            hashes = split_hashes(answer.hashes, self._size)
            if hashes is None:
                _log.debug("a list of another length", blob=self._blob, peer=peer)
            else:
                self._claims.add(peer, hashes)

    async def _collect(self, claim: ChunkHashes) -> None:
        """Take the missing chunks of a list, as far as there are peers that named them."""
        queue = deque(self._missing(claim))
        _log.debug("fetching a blob", blob=self._blob, missing=len(queue), chunks=len(claim))
        async with trio.open_nursery() as nursery:
            for _ in range(min(self._limits.chunks, len(queue))):
                nursery.start_soon(self._pull, claim, queue)
        if self._refusal is not None:
            raise self._refusal

    async def _pull(self, claim: ChunkHashes, queue: deque[int]) -> None:
        try:
            while queue:
                index = queue.popleft()
                if not await self._take(index, claim[index]):
                    queue.clear()
        except BlobRefusal as refusal:  # raised behind the nursery, which would wrap it
            self._refusal = refusal
            queue.clear()

    async def _take(self, index: int, digest: bytes) -> bool:
        """Fetch and write one chunk; False where nobody who named it gives it."""
        while holders := self._claims.holders(index, digest):
            peer = self._peers.least_busy(holders)
            answer = await self._ask(peer, partial(ChunkRequest, self._blob, index))
            if not isinstance(answer, Chunk):
                continue
            if not await trio.to_thread.run_sync(self._is_chunk, index, answer.data, digest):
                self._counters.wrong_chunks += 1
                self._blame(peer, f"chunk {index} of a blob is not what its list says")
                continue
            self._peers.praise(peer, len(answer.data))
            write = partial(self._area.write, self._blob, index, answer.data)
            await trio.to_thread.run_sync(write)
            self._have[index] = digest
            return True
        return False

    async def _ask(
        self, peer: str, request: partial[ListRequest] | partial[ChunkRequest]
    ) -> BlobAnswer | None:
        """Ask a peer, once more for BUSY; who gives nothing is not asked again in this fetch."""
        while True:
            try:
                answer = await self._peers.ask(peer, request())
            except RequestFailed as failed:
                busy = failed.reason is FailReason.BUSY
            else:
                if not isinstance(answer, Refused):
                    self._busy.pop(peer, None)
                    return answer
                busy = answer.reason == AnswerReason.BUSY
            self._busy[peer] = self._busy.get(peer, 0) + 1
            if not busy or self._busy[peer] > MOST_BUSY:
                self._claims.remove(peer)
                return None
            await trio.sleep(BUSY_SECONDS * self._busy[peer])
            if request.func is ChunkRequest:
                return None  # another may be free by now

    def _reject(self, claim: ChunkHashes) -> None:
        self._counters.wrong_lists += 1
        for peer in self._claims.tellers(claim):
            self._blame(peer, "a list of chunks that do not make up the blob")

    def _blame(self, peer: str, detail: str) -> None:
        """Report a proven liar, once: several of its answers may be under way."""
        if self._claims.remove(peer):
            self._peers.blame(peer, detail)

    def _is_chunk(self, index: int, data: bytes, digest: bytes) -> bool:
        return len(data) == chunk_length(self._size, index) and blake2_256(data) == digest

    def _missing(self, claim: ChunkHashes) -> list[int]:
        return [i for i, digest in enumerate(claim) if self._have[i] != digest]
