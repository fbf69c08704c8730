"""Give peers what is complete here: lists of chunk hashes, and chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import trio

from node.blob_errors import BlobRefusal
from node.blob_exchange_limits import ExchangeCounters, ExchangeLimits
from node.blob_exchange_lists import ChunkLists, count_chunks, join_hashes
from node.blob_exchange_messages import (
    AnswerReason,
    BlobAnswer,
    Chunk,
    ChunkList,
    ChunkRequest,
    ListRequest,
    Refused,
    decode_blob_request,
    encode_blob_answer,
)
from node.blob_exchange_pace import Pace
from node.blobs import CHUNK_BYTES, BlobStore
from node.declarations import Declaration
from node.log import Log
from node.network.interface import Offence
from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import DecodeError

THREADS = 4
MOST_AT_ONCE, MOST_PER_PEER = 32, 4
MOST_LISTS = 8
"""Lists that are being made; each reads a whole blob."""
PATIENCE_SECONDS = 3.0
"""What takes longer is answered by BUSY, before the peer holds us for slow."""
_log = Log("blobs")

Penalise = Callable[[str, Offence, str], None]


class BlobServer:
    """Answers requests about blobs."""

    def __init__(
        self,
        store: BlobStore,
        lists: ChunkLists,
        penalise: Penalise,
        lost: Callable[[Declaration], None],
        limits: ExchangeLimits,
        counters: ExchangeCounters,
    ) -> None:
        self._store = store
        self._lists = lists
        self._penalise = penalise
        self._lost = lost
        self._counters = counters
        self._pace = Pace(limits.up)
        self._threads = trio.CapacityLimiter(THREADS)
        self._makers = trio.CapacityLimiter(1)
        self._making: dict[bytes, trio.Event] = {}
        self._busy: Counter[str] = Counter()
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Make lists until cancelled."""
        async with trio.open_nursery() as self._nursery:
            await trio.sleep_forever()

    async def answer(self, peer: str, body: bytes) -> bytes:
        """Answer a peer; never raises for what it sent."""
        if self._busy[peer] >= MOST_PER_PEER or self._busy.total() >= MOST_AT_ONCE:
            return encode_blob_answer(Refused(AnswerReason.BUSY))
        self._busy[peer] += 1
        try:
            return encode_blob_answer(await self._answer(peer, body))
        finally:
            self._busy[peer] -= 1
            if not self._busy[peer]:
                del self._busy[peer]

    async def _answer(self, peer: str, body: bytes) -> BlobAnswer:
        try:
            request = decode_blob_request(body)
        except DecodeError as error:
            self._penalise(peer, Offence.MALFORMED, f"blob request: {error}")
            return Refused(AnswerReason.MALFORMED)
        try:
            if isinstance(request, ListRequest):
                return await self._list(request)
            return await self._chunk(request)
        except OSError as error:
            _log.warning("a blob cannot be read", blob=request.blob, error=error)
            return Refused(AnswerReason.ABSENT)

    async def _list(self, request: ListRequest) -> BlobAnswer:
        blob = request.blob
        if await trio.to_thread.run_sync(self._store.path, blob, limiter=self._threads) is None:
            return Refused(AnswerReason.ABSENT)
        if self._lists.known(blob) is None:
            if len(self._making) >= MOST_LISTS and blob not in self._making:
                return Refused(AnswerReason.BUSY)
            with trio.move_on_after(PATIENCE_SECONDS):
                await self._begin(blob).wait()
        hashes = self._lists.known(blob)
        if hashes is None:
            busy = blob in self._making
            return Refused(AnswerReason.BUSY if busy else AnswerReason.ABSENT)
        return ChunkList(join_hashes(hashes))

    def _begin(self, blob: bytes) -> trio.Event:
        """Have a list made, by one who does not stop when the peer that asked first is gone."""
        done = self._making.get(blob)
        if done is None:
            done = trio.Event()
            if self._nursery is None:
                done.set()
            else:
                self._making[blob] = done
                self._nursery.start_soon(self._make, blob, done)
        return done

    async def _make(self, blob: bytes, done: trio.Event) -> None:
        try:
            await trio.to_thread.run_sync(self._lists.load, blob, limiter=self._makers)
        except OSError as error:
            _log.warning("a blob's chunks cannot be hashed", blob=blob, error=error)
        finally:
            del self._making[blob]
            done.set()

    async def _chunk(self, request: ChunkRequest) -> BlobAnswer:
        path = await trio.to_thread.run_sync(self._store.path, request.blob, limiter=self._threads)
        if path is None:
            return Refused(AnswerReason.ABSENT)
        size = path.stat().st_size
        if request.index >= count_chunks(size):
            return Refused(AnswerReason.RANGE)
        if self._pace.delay(trio.current_time()) > PATIENCE_SECONDS:
            return Refused(AnswerReason.BUSY)
        await trio.sleep(self._pace.reserve(CHUNK_BYTES, trio.current_time()))
        data = await trio.to_thread.run_sync(self._sound, request, limiter=self._threads)
        if data is None:
            self._lost(Declaration(request.blob, size))
            return Refused(AnswerReason.ABSENT)
        self._counters.bytes_served += len(data)
        return Chunk(data)

    def _sound(self, request: ChunkRequest) -> bytes | None:
        """Read a chunk; None where the disk has spoilt it, which a peer would hold for a lie."""
        blob, index = request.blob, request.index
        try:
            data = self._store.read(blob, index * CHUNK_BYTES, CHUNK_BYTES)
        except BlobRefusal:
            return None
        hashes = self._lists.known(blob)
        if hashes is None or blake2_256(data) == hashes[index]:
            return data
        _log.warning("a blob is damaged on the disk; it is fetched again", blob=blob, chunk=index)
        self._counters.damaged += 1
        self._store.discard(blob)
        self._lists.forget(blob)
        return None
