"""What one WebSocket connection is subscribed to."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import orjson
import trio

from node.rpc.errors import too_many_subscriptions
from node.rpc.outbox import Outbox


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
            self.session.outbox.hold(len(message))
        else:
            self._send(message)

    def activate(self, send: Callable[[bytes], None]) -> None:
        """Let the notifications flow, those kept back first."""
        self._send = send
        self._active.set()
        early, self._early = self._early, []
        for message in early:
            self.session.outbox.hold(-len(message))
            send(message)

    def discard(self) -> None:
        """End it, and never send what was kept back: nobody learns its id."""
        self.session.close(self.ident)
        self.activate(lambda message: None)

    async def room(self) -> None:
        """Wait until the notifications flow and the client has read nearly all it was sent.

        A stream that waits here before each piece holds no more of it than a slow client reads.
        """
        await self._active.wait()
        await self.session.outbox.room()

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

    def __init__(self, nursery: trio.Nursery, limit: int, outbox: Outbox) -> None:
        self.nursery = nursery
        self.outbox = outbox
        self._limit = limit
        self._open: dict[str, Subscription] = {}
        self.batches = 0
        self.batch_answered = trio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def idents(self, kind: str) -> list[str]:
        """List the open subscriptions of one kind, oldest first."""
        return [ident for ident, found in self._open.items() if found.kind == kind]

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
