"""What happened and was not taken yet."""

from __future__ import annotations

from collections import deque

import trio

from node.network.interface import Channel, Counters, MessageReceived, NetworkEvent

MOST_MESSAGES = 16384
MOST_BYTES = 64 * 1024 * 1024
MOST_BATCHES = 256


class Inbox:
    """Events in their order, transactions behind everything else; what is too much is dropped.

    Peers' comings and goings are never dropped.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._events: deque[NetworkEvent] = deque()
        self._batches: deque[MessageReceived] = deque()
        self._bytes = 0
        self._wake = trio.Event()

    def put(self, event: NetworkEvent) -> None:
        """Add an event, or drop it where the taker is too slow."""
        if isinstance(event, MessageReceived):
            batch = event.channel is Channel.TRANSACTIONS
            full = len(self._batches if batch else self._events)
            most = MOST_BATCHES if batch else MOST_MESSAGES
            if full >= most or self._bytes + len(event.data) > MOST_BYTES:
                self._counters.channels[event.channel].dropped_in += 1
                return
            self._bytes += len(event.data)
            (self._batches if batch else self._events).append(event)
        else:
            self._events.append(event)
        self._wake.set()

    async def take(self) -> NetworkEvent:
        """Wait for the next event."""
        while not self._events and not self._batches:
            self._wake = trio.Event()
            await self._wake.wait()
        await trio.lowlevel.checkpoint_if_cancelled()
        event = (self._events or self._batches).popleft()
        if isinstance(event, MessageReceived):
            self._bytes -= len(event.data)
        return event
