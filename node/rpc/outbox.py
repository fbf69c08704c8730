"""The queue of bytes on their way to one client."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakSet

import trio

from node.rpc.arriving import Arriving
from node.rpc.slices import loop_share

if TYPE_CHECKING:
    from node.rpc.subscriptions import Session

_SEND_SECONDS = 0.00006
"""What a small message on its way takes of the loop, the call into the system above all."""


class Backlog:
    """What waits in memory for all connections, and how much of it may.

    most: bytes in their outboxes; most_arriving: bytes of requests that are not whole yet.
    """

    def __init__(self, most: int, most_arriving: int) -> None:
        self.most = most
        self.queued = 0
        self.arriving = Arriving(most_arriving)
        self.sessions: WeakSet[Session] = WeakSet()


class Outbox:
    """Bytes queued for one stream, sent joined together by one task.

    Past `high_water` queued bytes `settle` waits, so a client that pipelines without reading is
    held back; `room` waits long before that. Past `most`, or past `high_water` while the node's
    whole backlog is full, the client is a slow consumer and `give_up` is called.
    """

    def __init__(
        self,
        stream: trio.abc.SendStream,
        *,
        high_water: int,
        most: int,
        backlog: Backlog,
        give_up: Callable[[], object],
    ) -> None:
        self._stream = stream
        self._give_up = give_up
        self._high_water = high_water
        self._low_water = high_water // 8
        self._most = most
        self._backlog = backlog
        self._queue: list[bytes] = []
        self._queued = 0
        self._held = 0
        self._wake = trio.Event()
        self._drained = trio.Event()

    def put(self, data: bytes) -> None:
        """Queue bytes without waiting."""
        self._queue.append(data)
        self._count(self._queued + len(data))
        self._bear()

    def hold(self, size: int) -> None:
        """Count bytes that are to be queued later on; with a negative number they are now."""
        self._held += size
        self._backlog.queued += size
        self._bear()

    def _bear(self) -> None:
        crowded = self._backlog.queued > self._backlog.most
        if self._queued + self._held > (self._high_water if crowded else self._most):
            self._give_up()

    def close(self) -> None:
        """Drop what is queued."""
        self._queue.clear()
        self._count(0)
        self.hold(-self._held)

    def _count(self, queued: int) -> None:
        self._backlog.queued += queued - self._queued
        self._queued = queued

    def wake(self) -> None:
        """Have the sender task look at the queue."""
        self._wake.set()

    async def flush(self) -> None:
        """Have the sender task send, and wait until nothing is queued."""
        self.wake()
        await self._below(0)

    async def settle(self) -> None:
        """Have the sender task send, and wait until the queue is below its high-water mark.

        A reader that sent by itself would hear nothing more of a client that does not read yet.
        """
        self.wake()
        await self._below(self._high_water)

    async def room(self) -> None:
        """Wait until little is queued; the sender task sends."""
        await self._below(self._low_water)

    def behind(self) -> bool:
        """Tell whether the client reads so slowly that its feeds should rather end."""
        crowded = self._backlog.queued > self._backlog.most // 2
        most = self._low_water if crowded else self._most // 4
        return self._queued + self._held > most

    async def _below(self, mark: int) -> None:
        while self._queued > mark:
            if self._drained.is_set():
                self._drained = trio.Event()
            await self._drained.wait()

    async def run(self) -> None:
        """Send whatever is queued, until cancelled.

        A block has all connections told at once: they send in turns, and who has to wait sends
        more with one call.
        """
        share = loop_share()
        while True:
            await self._wake.wait()
            if share.full:
                await share.turn()
            share.spend(_SEND_SECONDS)
            self._wake = trio.Event()
            while self._queue:
                joined = self._queue[0] if len(self._queue) == 1 else b"".join(self._queue)
                self._queue.clear()
                await self._stream.send_all(joined)
                self._count(sum(map(len, self._queue)))
                self._drained.set()
