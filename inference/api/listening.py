"""An ASGI application on a TCP port."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from hypercorn.config import Config, Sockets
from hypercorn.trio import serve
from starlette.applications import Starlette

GRACEFUL_SECONDS = 3.0
STALLED_SECONDS = 30.0
"""A connection whose client takes nothing of what waits for it for so long is given up."""


class _Config(Config):
    """Gives up clients that stop reading; a write that waits for one cannot be cancelled."""

    def create_sockets(self) -> Sockets:
        """Open the listening sockets; accepted ones inherit their options."""
        sockets = super().create_sockets()
        option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux (RFC 5482)
        for listener in (*sockets.secure_sockets, *sockets.insecure_sockets):
            if option is not None and listener.family in (socket.AF_INET, socket.AF_INET6):
                listener.setsockopt(socket.IPPROTO_TCP, option, round(1000 * STALLED_SECONDS))
        return sockets


async def listen(
    application: Starlette,
    bind: str,
    stop: Callable[[], Awaitable[None]],
    nursery: trio.Nursery,
    closed: trio.Event | None = None,
) -> str:
    """Serve until `stop` returns; returns the address, as a URL, when connections are taken.

    `closed` is set when the last connection is closed.
    """
    config = _Config()
    config.bind = [bind]
    config.accesslog = config.errorlog = None
    config.graceful_timeout = GRACEFUL_SECONDS
    config.include_server_header = False

    async def run(*, task_status: Any) -> None:
        await serve(
            application,  # type: ignore[arg-type]
            config,
            shutdown_trigger=stop,
            task_status=task_status,
            mode="asgi",
        )
        if closed is not None:
            closed.set()

    addresses: list[str] = await nursery.start(run)
    return addresses[0]
