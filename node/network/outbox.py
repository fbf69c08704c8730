"""What one peer is still to be told."""

from __future__ import annotations

from collections import deque

import trio

from node.network.framing import frame
from node.network.interface import Channel, Counters
from node.network.limits import CHANNELS, MIB

ORDER = (
    Channel.CERTIFICATES,
    Channel.VOTES,
    Channel.STATUSES,
    Channel.PROPOSALS,
    Channel.TRANSACTIONS,
)
COALESCED = 64 * 1024
MOST_BYTES = 16 * MIB


class Outbox:
    """Queues by channel, the urgent first; where one is full its oldest message is dropped."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._queues: dict[Channel, deque[bytes]] = {channel: deque() for channel in ORDER}
        self._bytes = 0
        self._wake = trio.Event()

    def put(self, channel: Channel, data: bytes) -> None:
        """Queue a message; never waits."""
        queue = self._queues[channel]
        queue.append(data)
        self._bytes += len(data)
        while len(queue) > CHANNELS[channel].queued or (self._bytes > MOST_BYTES and queue):
            self._bytes -= len(queue.popleft())
            self._counters.channels[channel].dropped_out += 1
        self._wake.set()

    def take(self) -> bytes:
        """Return frames worth one write, nothing where nothing waits."""
        parts: list[bytes] = []
        size = 0
        for channel in ORDER:
            queue = self._queues[channel]
            while queue and size < COALESCED:
                data = queue.popleft()
                self._bytes -= len(data)
                traffic = self._counters.channels[channel]
                traffic.messages_out += 1
                traffic.bytes_out += len(data)
                parts.append(frame(bytes([channel]) + data))
                size += len(data)
        return b"".join(parts)

    async def wait(self, seconds: float) -> None:
        """Wait until something is queued, or for so long."""
        if any(self._queues.values()):
            return
        self._wake = trio.Event()
        with trio.move_on_after(seconds):
            await self._wake.wait()
