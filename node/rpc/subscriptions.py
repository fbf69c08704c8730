"""What one WebSocket connection is subscribed to, and the queue of bytes on its way out."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakSet

import orjson
import trio

from node.rpc.errors import too_many_subscriptions
from node.rpc.slices import loop_share

_SEND_SECONDS = 0.00006
"""What a small message on its way takes of the loop, the call into the system above all."""


class Subscription:
    """One stream of notifications.

    Notifications made before the answer to the subscribing request is queued are kept back until
    `activate`, so a client always learns the id first. `kind` is the method name of them.
    """

    __slots__ = (
        "_active",
        "_early",
        "_on_close",
        "_prefix",
        "_send",
        "ident",
        "kind",
        "scope",
        "session",
    )

    def __init__(self, session: Session, notification: str, ident: str) -> None:
        self.session = session
        self.ident = ident
        self.kind = notification
        self.scope = trio.CancelScope()
        self._active = trio.Event()
        self._send: Callable[[bytes], None] | None = None
        self._early: list[bytes] = []
        self._on_close: Callable[[], object] | None = None
        self._prefix = b'{"jsonrpc":"2.0","method":"%b","params":{"subscription":"%b","result":' % (
            notification.encode(),
            ident.encode(),
        )

    def notify(self, result: Any) -> None:
        """Queue one notification; `result` is JSON-able."""
        self.notify_encoded(orjson.dumps(result))

    def notify_encoded(self, result: bytes) -> None:
        """Queue one notification whose result is JSON already."""
        message = b"%b%b}}" % (self._prefix, result)
        if self._send is None:
            self._early.append(message)
        else:
            self._send(message)

    def activate(self, send: Callable[[bytes], None]) -> None:
        """Let the notifications flow, those kept back first."""
        self._send = send
        self._active.set()
        early, self._early = self._early, []
        for message in early:
            send(message)

    async def room(self) -> None:
        """Wait until the notifications flow and the client has read nearly all it was sent.

        A stream that waits here before each piece holds no more of it than a slow client reads.
        """
        await self._active.wait()
        await self.session.room()

    def on_close(self, call: Callable[[], object]) -> None:
        """Call `call` once when the subscription ends, whoever ends it."""
        self._on_close = call

    def end(self) -> None:
        """Stop the task that feeds the subscription, and run `on_close`."""
        self.scope.cancel()
        call, self._on_close = self._on_close, None
        if call is not None:
            call()


class Session:
    """The subscriptions of one connection, and the nursery in which their tasks live."""

    def __init__(
        self,
        nursery: trio.Nursery,
        limit: int,
        room: Callable[[], Awaitable[None]],
        behind: Callable[[], bool],
    ) -> None:
        self.nursery = nursery
        self.room = room
        self.behind = behind
        self._limit = limit
        self._open: dict[str, Subscription] = {}
        self.batches = 0
        self.batch_answered = trio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def count(self, kind: str) -> int:
        """Count the open subscriptions of one kind."""
        return sum(subscription.kind == kind for subscription in self._open.values())

    def open(self, notification: str) -> Subscription:
        """Begin a subscription; raises `RpcError` when the connection holds its limit."""
        if len(self._open) >= self._limit:
            raise too_many_subscriptions(self._limit)
        subscription = Subscription(self, notification, secrets.token_urlsafe(12))
        self._open[subscription.ident] = subscription
        return subscription

    def close(self, ident: str, kind: str | None = None) -> bool:
        """End a subscription, of this kind if one is given; says whether there was one."""
        subscription = self._open.get(ident)
        if subscription is None or kind not in (None, subscription.kind):
            return False
        del self._open[ident]
        subscription.end()
        return True

    def close_all(self) -> None:
        """End every subscription, as the connection goes."""
        for ident in list(self._open):
            self.close(ident)

    def hold_batch(self) -> BatchHold:
        """Begin to answer a batch: `answered` waits until the hold is released."""
        return BatchHold(self)

    async def answered(self) -> None:
        """Wait until no batch is being answered: what a request began may speak only then."""
        while self.batches:
            await self.batch_answered.wait()

    def feed(self, subscription: Subscription, pump: Callable[[], Any]) -> None:
        """Run `pump` as the task behind a subscription, until it returns or is unsubscribed."""

        async def run() -> None:
            with subscription.scope:
                await pump()
            self.close(subscription.ident)

        self.nursery.start_soon(run)


class BatchHold:
    """Keeps back what a batch's requests began, until their answer is queued."""

    def __init__(self, session: Session) -> None:
        self._session = session
        session.batches += 1

    def release(self) -> None:
        """Let it speak."""
        session = self._session
        session.batches -= 1
        if not session.batches:
            session.batch_answered.set()
            session.batch_answered = trio.Event()


class Backlog:
    """The bytes that wait in the outboxes of all connections, and how many may."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.queued = 0
        self.sessions: WeakSet[Session] = WeakSet()


class Outbox:
    """Bytes queued for one stream, sent joined together by one sender at a time.

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
        self._sending = False
        self._wake = trio.Event()
        self._drained = trio.Event()

    def put(self, data: bytes) -> None:
        """Queue bytes without waiting."""
        self._queue.append(data)
        self._count(self._queued + len(data))
        crowded = self._backlog.queued > self._backlog.most
        if self._queued > (self._high_water if crowded else self._most):
            self._give_up()

    def close(self) -> None:
        """Drop what is queued."""
        self._queue.clear()
        self._count(0)

    def _count(self, queued: int) -> None:
        self._backlog.queued += queued - self._queued
        self._queued = queued

    def wake(self) -> None:
        """Have the sender task look at the queue."""
        self._wake.set()

    async def flush(self) -> None:
        """Send what is queued, unless somebody is at it already."""
        if self._sending:
            return
        self._sending = True
        try:
            while self._queue:
                joined = self._queue[0] if len(self._queue) == 1 else b"".join(self._queue)
                self._queue.clear()
                await self._stream.send_all(joined)
                self._count(sum(map(len, self._queue)))
                self._drained.set()
        finally:
            self._sending = False
            self._drained.set()

    async def settle(self) -> None:
        """Flush, and wait until the queue is below its high-water mark."""
        await self.flush()
        await self._below(self._high_water)

    async def room(self) -> None:
        """Wait until little is queued; the sender task sends."""
        await self._below(self._low_water)

    def behind(self) -> bool:
        """Tell whether the client reads so slowly that its feeds should rather end."""
        crowded = self._backlog.queued > self._backlog.most // 2
        return self._queued > (self._low_water if crowded else self._most // 4)

    async def _below(self, mark: int) -> None:
        while self._queued > mark:
            if self._drained.is_set():
                self._drained = trio.Event()
            await self._drained.wait()

    async def run(self) -> None:
        """Send whatever is queued by others than the reader, until cancelled.

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
            await self.flush()
