"""One HTTP/1.1 connection: POST for JSON-RPC, GET /health, and the upgrade to a WebSocket.

h11 parses and judges every head. Clients that keep a connection repeat the same head for every
request, so judged heads are remembered by their bytes and a repeated one costs a dictionary lookup.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import h11
import orjson
import trio

from node.rpc.arriving import ArrivingRequest
from node.rpc.dispatch import Deferred, Dispatcher
from node.rpc.envelopes import failure, id_of
from node.rpc.errors import OVERSIZED_REQUEST, RpcError, server_busy
from node.rpc.http_head import Head, classify, refused
from node.rpc.limits import RpcConfig
from node.rpc.outbox import Backlog
from node.rpc.pace import Pace
from node.rpc.slices import Slice
from node.rpc.websocket import WebSocketConnection
from node.rpc.work import CLIENT

_READ = 65536
_LINGER = 1.0
_REMEMBERED = 512
_REMEMBERED_BYTES = 2048


class _NoRoom(Exception):
    """The node holds as many bytes of unfinished requests as it may."""


class HttpConnection:
    """Serves one client until it leaves, or hands the stream to a `WebSocketConnection`."""

    def __init__(
        self,
        stream: trio.SocketStream,
        dispatcher: Dispatcher,
        guarded: Dispatcher,
        config: RpcConfig,
        health: Callable[[], tuple[int, bytes]],
        heads: dict[bytes, Head],
        backlog: Backlog,
    ) -> None:
        self._stream = stream
        self._dispatcher = dispatcher
        self._guarded = guarded
        self._config = config
        self._limits = config.limits
        self._health = health
        self._heads = heads
        self._backlog = backlog
        self._arriving = ArrivingRequest(backlog.arriving)
        self._buffer = bytearray()
        self._out: list[bytes] = []
        self._scope = trio.CancelScope()
        calls = config.limits.calls_per_minute
        self._pace = None if calls is None else Pace(calls)

    async def serve(self) -> None:
        """Answer requests in order until the client leaves or breaks the protocol."""
        CLIENT.set(self)
        upgrade: bytes | None = None
        head: Head | None = None
        work = Slice()
        with self._scope:
            while True:
                self._scope.deadline = trio.current_time() + self._limits.idle_seconds
                await work.pause()
                work.end()
                raw = await self._next_head()
                if raw is None:
                    return
                await work.begin()
                self._scope.deadline = trio.current_time() + self._limits.request_seconds
                head = self._heads.get(raw) or self._judge(raw)
                if head.kind == "upgrade":
                    self._scope.deadline = inf
                    upgrade = raw
                    break
                try:
                    goes_on = await self._respond(raw, head)
                except h11.RemoteProtocolError as fault:
                    text = f"malformed request: {fault}\n".encode("ascii", "backslashreplace")
                    self._say(400, text, "text/plain", keep_alive=False, cors=head.cors)
                    goes_on = False
                if not goes_on:
                    await self._part()
                    return
        if upgrade is not None and head is not None:
            await self._flush()
            websocket = WebSocketConnection(
                self._stream, self._served(head), self._limits, self._backlog, self._pace
            )
            await websocket.serve(upgrade, bytes(self._buffer))

    async def _next_head(self) -> bytes | None:
        buffer = self._buffer
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            if len(buffer) > self._limits.head_bytes:
                self._say(431, b"the request head is too big\n", "text/plain", keep_alive=False)
                await self._part()
                return None
            await self._flush()
            data = await self._stream.receive_some(_READ)
            if not data:
                return None
            buffer += data
        raw = bytes(buffer[: end + 4])
        del buffer[: end + 4]
        return raw

    def _judge(self, raw: bytes) -> Head:
        """Parse a head that was not seen before, and remember it if it is small."""
        if len(raw) > self._limits.head_bytes:
            return refused(431, "the request head is too big")
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head_bytes)
        try:
            connection.receive_data(raw)
            request = connection.next_event()
        except h11.RemoteProtocolError as fault:
            return refused(fault.error_status_hint, f"malformed request: {fault}")
        if not isinstance(request, h11.Request):
            return refused(400, "malformed request")
        head = classify(request, self._config)
        if len(raw) <= _REMEMBERED_BYTES and head.kind != "upgrade":
            if len(self._heads) >= _REMEMBERED:
                self._heads.clear()
            self._heads[raw] = head
        return head

    async def _respond(self, raw: bytes, head: Head) -> bool:
        """Answer a request; says whether another one may follow."""
        if head.kind == "refused":
            status, text = head.refusal
            self._say(status, text.encode() + b"\n", "text/plain", keep_alive=False, cors=head.cors)
            return False
        try:
            body = await self._body(raw, head)
        except _NoRoom:
            advice = b"too many long requests arrive at once; try again later\n"
            self._say(503, advice, "text/plain", keep_alive=False, cors=head.cors)
            return False
        finally:
            self._arriving.end()
        if body is None:
            self._too_big(head)
            return False
        if head.kind == "rpc":
            await self._rpc(body, head)
        elif head.kind == "health":
            status, report = self._health()
            self._say(
                status, report, "application/json", keep_alive=head.keep_alive, cors=head.cors
            )
        else:
            self._say(204, b"", "text/plain", keep_alive=head.keep_alive, cors=head.cors)
        return head.keep_alive

    async def _body(self, raw: bytes, head: Head) -> bytes | None:
        """Read the body; None when it is above the limit."""
        if head.length is not None and head.length > self._limits.request_bytes:
            return None
        if head.expects_continue and len(self._buffer) < (head.length or 1):
            self._out.append(b"HTTP/1.1 100 Continue\r\n\r\n")
        if head.length is None:
            return await self._chunked(raw)
        while len(self._buffer) < head.length:
            await self._flush()
            data = await self._stream.receive_some(_READ)
            if not data:
                raise trio.BrokenResourceError("the client left in the middle of a body")
            self._make_room(len(data))
            self._buffer += data
        body = bytes(self._buffer[: head.length])
        del self._buffer[: head.length]
        return body

    async def _chunked(self, raw: bytes) -> bytes | None:
        """Read a chunked body; None when it is too long, raises h11.RemoteProtocolError."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head_bytes)
        connection.receive_data(raw)
        connection.next_event()
        if self._buffer:  # no bytes would be the end of the stream
            connection.receive_data(bytes(self._buffer))
            self._buffer.clear()
        body = bytearray()
        work = Slice()
        while True:
            await work.pause()
            event = connection.next_event()
            if event is h11.NEED_DATA:
                await self._flush()
                connection.receive_data(await self._stream.receive_some(_READ))
            elif isinstance(event, h11.Data):
                self._make_room(len(event.data))
                body += event.data
                if len(body) > self._limits.request_bytes:
                    return None
            elif isinstance(event, h11.EndOfMessage):
                self._buffer += connection.trailing_data[0]
                return bytes(body)
            else:
                raise trio.BrokenResourceError("the client left in the middle of a body")

    def _make_room(self, count: int) -> None:
        if not self._arriving.take(count):
            raise _NoRoom

    def _served(self, head: Head) -> Dispatcher:
        """Choose what the sender of a head may call."""
        return self._dispatcher if head.trusted else self._guarded

    async def _rpc(self, body: bytes, head: Head) -> None:
        answer = self._served(head).handle(body, None, self._pace)
        if not isinstance(answer, bytes):
            answer = await self._wait_for(answer, body)
        self._out.append(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b"
            % (head.cors if head.keep_alive else head.cors + _CLOSE, len(answer), answer)
        )
        if len(self._out) >= 64 or len(answer) > _READ:
            await self._flush()

    async def _wait_for(self, deferred: Deferred, request: bytes) -> bytes:
        """Answer a request that waits, after the limit that there was no time for it."""
        try:
            await self._flush()
        except BaseException:
            deferred.close()
            raise
        seconds = self._limits.request_seconds
        self._scope.deadline = inf
        with trio.move_on_after(seconds) as patience:
            answer = (await deferred).body
        if patience.cancelled_caught:
            refusal = server_busy(f"no answer within {seconds:g} seconds over HTTP")
            answer = failure(id_of(orjson.loads(request)), refusal)
        self._scope.deadline = trio.current_time() + seconds
        return answer

    def _too_big(self, head: Head) -> None:
        limit = self._limits.request_bytes
        refusal = RpcError(OVERSIZED_REQUEST, "Request is too big", f"at most {limit} bytes")
        body = b'{"jsonrpc":"2.0","id":null,"error":%b}' % refusal.fragment()
        self._say(413, body, "application/json", keep_alive=False, cors=head.cors)

    def _say(
        self, status: int, body: bytes, kind: str, *, keep_alive: bool, cors: bytes = b""
    ) -> None:
        self._out.append(
            b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\n%b%bcontent-length: %d\r\n\r\n%b"
            % (
                status,
                _PHRASES.get(status, b"Refused"),
                kind.encode(),
                cors,
                b"" if keep_alive else _CLOSE,
                len(body),
                body,
            )
        )

    async def _flush(self) -> None:
        if self._out:
            joined = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            await self._stream.send_all(joined)

    async def _part(self) -> None:
        """Say the last word and let the client read it: unread input would reset the stream."""
        await self._flush()
        with trio.move_on_after(_LINGER):
            await self._stream.send_eof()
            while await self._stream.receive_some(_READ):
                pass


_CLOSE = b"connection: close\r\n"
_PHRASES = {
    200: b"OK",
    204: b"No Content",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
    503: b"Service Unavailable",
}
