"""Turns for work that is long: of each kind the node does only so much at once.

Who comes first is served first. A connection that waits with many requests cannot take all places
in the queue, and past the queue's end a request is refused at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from enum import Enum
from weakref import WeakKeyDictionary

import trio

from node.rpc.errors import server_busy

CLIENT: ContextVar[object | None] = ContextVar("CLIENT", default=None)
"""The connection for which a task works."""


class Work(Enum):
    """Kinds of long work: at once, waiting, and the pause after it as a part of its duration."""

    RULES = (1, 32, 1.0)
    """Executes rules in a thread beside the event loop: one such thread is all that it bears, and
    blocks, which are executed in a thread too, get the same time."""
    SCAN = (4, 1024, 0.0)
    """Reads long ranges of a state or of the chain in slices on the event loop, or many files."""
    NOTES = (1, 64, 0.0)
    """Reads and writes the file of notes, in a thread."""
    KEYS = (1, 8, 0.0)
    """Stretches the keystore's password in a thread: a second and 256 MiB each time."""

    @property
    def at_once(self) -> int:
        """How many requests are worked on at once."""
        return self.value[0]

    @property
    def waiting(self) -> int:
        """How many may wait; one connection may take a quarter of these places."""
        return self.value[1]

    @property
    def pause(self) -> float:
        """How long nothing of the kind begins after one piece, in durations of that piece."""
        return self.value[2]


class Turns:
    """The queue before one kind of work."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._room = trio.CapacityLimiter(work.at_once)
        self._free_at = 0.0
        self.waiting = 0
        """How many requests wait now."""
        self.refused = 0
        """How many found no place in the queue since the start."""
        self._waiting_of: WeakKeyDictionary[object, int] = WeakKeyDictionary()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and keep it; raises `RpcError` (busy) where too many wait already.

        Whoever has a turn must not ask for another one of the same kind.
        """
        token = object()
        try:
            self._room.acquire_on_behalf_of_nowait(token)
        except trio.WouldBlock:
            await self._queue(token)
        try:
            if self._free_at > trio.current_time():
                await trio.sleep_until(self._free_at)
            begun = trio.current_time()
            try:
                yield
            finally:
                now = trio.current_time()
                self._free_at = now + (now - begun) * self._work.pause
        finally:
            self._room.release_on_behalf_of(token)

    async def _queue(self, token: object) -> None:
        client = CLIENT.get()
        mine = 0 if client is None else self._waiting_of.get(client, 0)
        if self.waiting >= self._work.waiting or mine >= self._work.waiting // 4:
            self.refused += 1
            whose = "this node's" if self.waiting >= self._work.waiting else "this connection's"
            raise server_busy(f"too many of {whose} requests wait for work of this kind")
        self.waiting += 1
        if client is not None:
            self._waiting_of[client] = mine + 1
        try:
            await self._room.acquire_on_behalf_of(token)
        finally:
            self.waiting -= 1
            if client is not None:
                self._waiting_of[client] -= 1


AllTurns = dict[Work, Turns]


def all_turns() -> AllTurns:
    """Return an empty queue for each kind of work."""
    return {work: Turns(work) for work in Work}
