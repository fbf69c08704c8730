"""The JSON-RPC server: one port for HTTP, WebSocket and GET /health."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

import trio

from node.rpc.dispatch import Dispatcher
from node.rpc.figures import Sessions
from node.rpc.http import HttpConnection
from node.rpc.http_head import Head
from node.rpc.limits import RpcConfig
from node.rpc.outbox import Backlog

_log = logging.getLogger("openledger.rpc")

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\n"
    b"content-length: 33\r\n\r\nthe server has no room; try later"
)


class RpcServer:
    """Accepts connections and keeps each client's faults from all others."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        config: RpcConfig,
        health: Callable[[], tuple[int, bytes]],
    ) -> None:
        self.dispatcher = dispatcher
        self._guarded = dispatcher.guarded(config.hint)
        self._config = config
        self._health = health
        self._heads: dict[bytes, Head] = {}
        self._backlog = Backlog(
            config.limits.total_backlog_bytes, config.limits.total_request_bytes
        )
        self._listeners: Sequence[trio.SocketListener] = ()
        self.connections = 0
        self.sessions = Sessions()

    @property
    def subscriptions(self) -> int:
        """How many subscriptions all connections hold."""
        return sum(map(len, self._backlog.sessions))

    async def listen(self) -> tuple[str, int]:
        """Bind the port and return host and port; from now on connections queue up for `run`."""
        self._listeners = await trio.open_tcp_listeners(self._config.port, host=self._config.host)
        address = self._listeners[0].socket.getsockname()
        return address[0], address[1]

    async def run(self) -> None:
        """Serve until cancelled."""
        await trio.serve_listeners(self._serve, self._listeners)

    async def _serve(self, stream: trio.SocketStream) -> None:
        if self.connections >= self._config.limits.connections:
            self.sessions.refused += 1
            await _turn_away(stream)
            return
        self.connections += 1
        self.sessions.opened += 1
        try:
            connection = HttpConnection(
                stream,
                self.dispatcher,
                self._guarded,
                self._config,
                self._health,
                self._heads,
                self._backlog,
            )
            await connection.serve()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass
        except* Exception:
            _log.exception("a connection failed and was closed")
        finally:
            self.connections -= 1
            self.sessions.closed += 1
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await trio.aclose_forcefully(stream)


async def _turn_away(stream: trio.SocketStream) -> None:
    with trio.move_on_after(1):
        with suppress(trio.BrokenResourceError):
            await stream.send_all(_BUSY)
    await trio.aclose_forcefully(stream)
