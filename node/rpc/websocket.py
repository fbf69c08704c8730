"""One WebSocket connection: frames in, answers and notifications out."""

from __future__ import annotations

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from node.rpc.arriving import ArrivingRequest
from node.rpc.dispatch import Deferred, Dispatcher
from node.rpc.limits import RpcLimits
from node.rpc.outbox import Backlog, Outbox
from node.rpc.pace import Pace
from node.rpc.slices import Slice
from node.rpc.subscriptions import Session

_READ = 65536
_LINGER = 1.0
_OPEN = ConnectionState.OPEN


class WebSocketConnection:
    """Serves one client from its handshake to its end.

    One task reads and answers plain methods in place; a second one sends what is queued;
    further tasks exist only for methods that wait and for subscriptions.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        dispatcher: Dispatcher,
        limits: RpcLimits,
        backlog: Backlog,
        pace: Pace | None = None,
    ) -> None:
        self._stream = stream
        self._dispatcher = dispatcher
        self._limits = limits
        self._backlog = backlog
        self._pace = pace
        self._scope = trio.CancelScope()
        self._protocol = WSConnection(ConnectionType.SERVER)
        self._outbox = Outbox(
            stream,
            high_water=limits.high_water_bytes,
            most=limits.backlog_bytes,
            backlog=backlog,
            give_up=self._scope.cancel,
        )
        self._parts: list[bytes] = []
        self._arriving = ArrivingRequest(backlog.arriving)
        self._in_flight = 0
        self._room = trio.Event()
        self._silent = 0
        """How many times in a row `_keep_alive` woke and nothing had been heard since the last."""

    async def serve(self, head: bytes, trailing: bytes) -> None:
        """Answer until the client leaves; `head` is its upgrade request, then comes `trailing`."""
        with self._scope:
            try:
                async with trio.open_nursery() as nursery:
                    self._session = Session(nursery, self._limits.subscriptions, self._outbox)
                    self._backlog.sessions.add(self._session)
                    nursery.start_soon(self._outbox.run)
                    nursery.start_soon(self._keep_alive)
                    await self._read(head, trailing)
                    nursery.cancel_scope.cancel()
            finally:  # behind the last task: one that was just begun may still have subscribed
                self._session.close_all()
                self._outbox.close()
                self._arriving.end()

    async def _read(self, data: bytes, trailing: bytes) -> None:
        while True:
            self._silent = 0
            try:
                self._protocol.receive_data(data or None)
                if not await self._answer():
                    break
            except (RemoteProtocolError, LocalProtocolError) as fault:
                await self._refuse(fault)
                break
            data, trailing = trailing or await self._stream.receive_some(_READ), b""

    async def _answer(self) -> bool:
        """Answer every message that has arrived; False once the connection is over."""
        work = Slice()
        await work.begin()
        for event in self._protocol.events():
            if isinstance(event, TextMessage | BytesMessage):
                if not await self._message(event):
                    return False
                if work.over:
                    work.end()
                    await self._outbox.settle()
                    await work.begin_again()
            elif isinstance(event, Request):
                self._outbox.put(self._protocol.send(AcceptConnection()))
            elif isinstance(event, Ping):
                self._outbox.put(self._protocol.send(event.response()))
            elif isinstance(event, CloseConnection):
                if event.code != CloseReason.ABNORMAL_CLOSURE:
                    self._session.close_all()  # nothing is told behind the last frame
                    self._outbox.put(self._protocol.send(event.response()))
                    await self._outbox.flush()
                return False
        work.end()
        await self._outbox.settle()
        return True

    async def _message(self, event: TextMessage | BytesMessage) -> bool:
        room = self._arriving.take(len(event.data))
        if self._arriving.size > self._limits.request_bytes:
            await self._close(CloseReason.MESSAGE_TOO_BIG, "the request is too big")
            return False
        if not room:
            await self._close(CloseReason.TRY_AGAIN_LATER, "too many long requests at once")
            return False
        if not event.message_finished:
            self._parts.append(_bytes(event.data))
            return True
        raw: bytes | str
        if self._parts:
            self._parts.append(_bytes(event.data))
            raw = b"".join(self._parts)
            self._parts.clear()
        else:
            raw = event.data if isinstance(event.data, str) else bytes(event.data)
        self._arriving.end()
        answer = self._dispatcher.handle(raw, self._session, self._pace)
        if isinstance(answer, bytes):
            if answer:
                self._outbox.put(_frame(answer))
        else:
            await self._start(answer)
        return True

    async def _start(self, deferred: Deferred) -> None:
        """Run a request that waits beside the others, at most `in_flight` of them at once."""
        try:
            while self._in_flight >= self._limits.in_flight:
                self._room = trio.Event()
                self._outbox.wake()
                await self._room.wait()
                self._silent = 0  # nobody listened: its silence says nothing
        except BaseException:
            deferred.close()
            raise
        self._in_flight += 1
        self._session.nursery.start_soon(self._finish, deferred)

    async def _finish(self, deferred: Deferred) -> None:
        try:
            answer = await deferred
        finally:
            self._in_flight -= 1
            self._room.set()
        if answer.body:
            self._outbox.put(_frame(answer.body))
        for subscription in answer.opened:
            subscription.activate(self._send)
        if answer.batch is not None:
            answer.batch.release()
        self._outbox.wake()

    def _send(self, message: bytes) -> None:
        self._outbox.put(_frame(message))
        self._outbox.wake()

    async def _keep_alive(self) -> None:
        """Ping a silent client, and leave one that does not answer.

        Its silence is counted in waits of this task: a node that stood still for long itself has
        to ask first.
        """
        while True:
            await trio.sleep(self._limits.ping_seconds)
            self._silent += 1
            if self._silent * self._limits.ping_seconds > self._limits.idle_seconds:
                self._scope.cancel()
            elif self._silent > 1 and self._protocol.state is _OPEN:
                self._outbox.put(self._protocol.send(Ping()))
                self._outbox.wake()

    async def _refuse(self, fault: RemoteProtocolError | LocalProtocolError) -> None:
        hint = getattr(fault, "event_hint", None)
        if isinstance(hint, CloseConnection):
            await self._close(CloseReason(hint.code), hint.reason or "")
        else:
            body = b"this is not a WebSocket handshake\n"
            self._outbox.put(
                b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
                % (len(body), body)
            )
            await self._outbox.flush()

    async def _close(self, reason: CloseReason, text: str) -> None:
        """Say why, and give the client a moment to read it: unread input would reset the stream."""
        self._outbox.put(self._protocol.send(CloseConnection(reason, text)))
        with trio.move_on_after(_LINGER):
            await self._outbox.flush()
            while await self._stream.receive_some(_READ):
                pass


def _bytes(data: str | bytes | bytearray) -> bytes:
    return data.encode() if isinstance(data, str) else bytes(data)


def _frame(payload: bytes) -> bytes:
    """Frame one unfragmented, unmasked text message (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81%c%b" % (size, payload)
    if size < 65536:
        return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), payload)
    return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), payload)
