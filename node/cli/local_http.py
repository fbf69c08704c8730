"""A small HTTP/1.1 server on trio for one machine's own programs: whole or streamed answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import h11
import trio

MAX_HEAD = 64 * 1024
READ = 64 * 1024
IDLE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request with its whole body; `headers` has lower-case names."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Response:
    """The answer to one request: a head, then its body in as many pieces as there are."""

    def __init__(self, connection: h11.Connection, stream: trio.abc.Stream) -> None:
        self._connection = connection
        self._stream = stream

    @property
    def begun(self) -> bool:
        """Tell whether the head is on its way."""
        return self._connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE)

    async def head(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Send the status and the headers; the body is chunked unless a length is among them."""
        await self._send(h11.Response(status_code=status, headers=list(headers)))

    async def data(self, piece: bytes) -> None:
        """Send a piece of the body."""
        await self._send(h11.Data(data=piece))

    async def end(self) -> None:
        """End the answer."""
        await self._send(h11.EndOfMessage())

    async def whole(self, status: int, body: bytes, kind: str = "application/json") -> None:
        """Send an answer in one piece."""
        await self.head(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        await self.data(body)
        await self.end()

    async def _send(self, event: h11.Event) -> None:
        data = self._connection.send(event)
        if data:
            await self._stream.send_all(data)


Handler = Callable[[Request, Response], Awaitable[None]]


async def serve(
    handler: Handler, host: str, port: int, *, max_body: int, started: Callable[[int], None]
) -> None:
    """Serve until cancelled; `started` is told the port. Raises OSError where it cannot listen."""
    listeners = await trio.open_tcp_listeners(port, host=host)
    started(listeners[0].socket.getsockname()[1])

    async def connection(stream: trio.SocketStream) -> None:
        try:
            await _serve_connection(handler, stream, max_body)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client left
        finally:
            await trio.aclose_forcefully(stream)

    await trio.serve_listeners(connection, listeners)


async def _serve_connection(handler: Handler, stream: trio.SocketStream, max_body: int) -> None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    while True:
        response = Response(connection, stream)
        try:
            with trio.move_on_after(IDLE_SECONDS) as patience:
                request = await _receive(connection, stream, max_body)
            if patience.cancelled_caught or request is None:
                return
        except h11.RemoteProtocolError as fault:
            if not response.begun:
                text = str(fault).encode("ascii", "replace") + b"\n"
                await response.whole(fault.error_status_hint, text, "text/plain")
            return
        await handler(request, response)
        if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
            return
        connection.start_next_cycle()


async def _receive(
    connection: h11.Connection, stream: trio.SocketStream, max_body: int
) -> Request | None:
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                going_on = h11.InformationalResponse(status_code=100, headers=[])
                await stream.send_all(connection.send(going_on) or b"")
            connection.receive_data(await stream.receive_some(READ))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > max_body:
                raise h11.RemoteProtocolError("the body is too large", error_status_hint=413)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = {
                name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers
            }
            return Request(
                head.method.decode("ascii"), head.target.decode("ascii"), headers, bytes(body)
            )
        else:
            return None
