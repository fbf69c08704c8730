"""Prometheus's port: GET /metrics and GET /health, one request per connection.

Who comes while `CONNECTIONS` are being served is turned away: a queue would hold descriptors that
the database needs.
"""

from __future__ import annotations

import h11
import trio

from node.metrics import Metrics

REQUEST_SECONDS = 5
CONNECTIONS = 16
READ_BYTES = 4096


class MetricsServer:
    """Serves the figures of a node."""

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        self._metrics = metrics
        self._host = host
        self._port = port
        self._listeners: list[trio.SocketListener] = []
        self._connections = 0

    async def listen(self) -> tuple[str, int]:
        """Bind the port; returns host and port."""
        self._listeners = list(await trio.open_tcp_listeners(self._port, host=self._host))
        address = self._listeners[0].socket.getsockname()
        return address[0], address[1]

    async def aclose(self) -> None:
        """Give the port back without having served."""
        for listener in self._listeners:
            await listener.aclose()

    async def run(self) -> None:
        """Serve until cancelled."""
        await trio.serve_listeners(self._serve, self._listeners)

    async def _serve(self, stream: trio.SocketStream) -> None:
        if self._connections >= CONNECTIONS:
            await trio.aclose_forcefully(stream)
            return
        self._connections += 1
        try:
            async with stream:
                with trio.move_on_after(REQUEST_SECONDS):
                    await self._answer(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
            return
        finally:
            self._connections -= 1

    async def _answer(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=READ_BYTES)
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(READ_BYTES))
        if not isinstance(event, h11.Request):
            return
        status, kind, body = self._page(event)
        headers = [
            ("content-type", kind),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        parts = (h11.Response(status_code=status, headers=headers), h11.Data(body))
        answer = b"".join(connection.send(part) or b"" for part in (*parts, h11.EndOfMessage()))
        await stream.send_all(answer)

    def _page(self, request: h11.Request) -> tuple[int, str, bytes]:
        path = request.target.split(b"?")[0]
        if request.method != b"GET":
            return 405, "text/plain", b"only GET\n"
        if path == b"/metrics":
            return 200, "text/plain; version=0.0.4; charset=utf-8", self._metrics.text()
        if path == b"/health":
            status, body = self._metrics.health()
            return status, "application/json", body
        return 404, "text/plain", b"/metrics or /health\n"
