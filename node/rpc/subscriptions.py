"""What one WebSocket connection is subscribed to, and the queue of bytes on its way out."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import orjson
import trio

from node.rpc.errors import too_many_subscriptions


class Subscription:
    """One stream of notifications.

    Notifications made before the answer to the subscribing request is queued are kept back until
    `activate`, so a client always learns the id first.
    """

    __slots__ = ("_early", "_on_close", "_prefix", "_send", "ident", "scope", "session")

    def __init__(self, session: Session, notification: str, ident: str) -> None:
        self.session = session
        self.ident = ident
        self.scope = trio.CancelScope()
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
        early, self._early = self._early, []
        for message in early:
            send(message)

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

    def __init__(self, nursery: trio.Nursery, limit: int) -> None:
        self.nursery = nursery
        self._limit = limit
        self._open: dict[str, Subscription] = {}

    def __len__(self) -> int:
        return len(self._open)

    def open(self, notification: str) -> Subscription:
        """Begin a subscription; raises `RpcError` when the connection holds its limit."""
        if len(self._open) >= self._limit:
            raise too_many_subscriptions(self._limit)
        subscription = Subscription(self, notification, secrets.token_urlsafe(12))
        self._open[subscription.ident] = subscription
        return subscription

    def close(self, ident: str) -> bool:
        """End a subscription; says whether there was one."""
        subscription = self._open.pop(ident, None)
        if subscription is None:
            return False
        subscription.end()
        return True

    def close_all(self) -> None:
        """End every subscription, as the connection goes."""
        for ident in list(self._open):
            self.close(ident)

    def feed(self, subscription: Subscription, pump: Callable[[], Any]) -> None:
        """Run `pump` as the task behind a subscription, until it returns or is unsubscribed."""

        async def run() -> None:
            with subscription.scope:
                await pump()
            self.close(subscription.ident)

        self.nursery.start_soon(run)


class Backlog:
    """The bytes that wait in the outboxes of all connections, and how many may."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.queued = 0


class Outbox:
    """Bytes queued for one stream, sent joined together by one sender at a time.

    Past `high_water` queued bytes `settle` waits, so a client that pipelines without reading is
    held back; past `most`, or past `high_water` while the node's whole backlog is full, the client
    is a slow consumer and `give_up` is called.
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
        finally:
            self._sending = False
            self._drained.set()

    async def settle(self) -> None:
        """Flush, and wait until the queue is below its high-water mark."""
        await self.flush()
        while self._queued > self._high_water:
            self._drained = trio.Event()
            await self._drained.wait()

    async def run(self) -> None:
        """Send whatever is queued by others than the reader, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            await self.flush()
