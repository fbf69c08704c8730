"""An ASGI application on a TCP port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette

GRACEFUL_SECONDS = 3.0


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
    config = Config()
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
