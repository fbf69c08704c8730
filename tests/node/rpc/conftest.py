from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import orjson
import pytest
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from node.rpc.dispatch import AnyMethod, Dispatcher, LengthyMethod, Method, SubscribeMethod
from node.rpc.errors import RpcError
from node.rpc.limits import RpcConfig, RpcLimits
from node.rpc.params import Param, hex_bytes, to_hex, u32
from node.rpc.server import RpcServer
from node.rpc.subscriptions import Subscription
from tests.patience import PATIENCE


@dataclass
class Served:
    """A server on a free port, and short ways to talk to it."""

    port: int
    server: RpcServer

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def post(self, body: bytes, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            merged = {"content-type": "application/json", **headers}
            return await client.post(self.http, content=body, headers=merged)

    async def call(self, method: str, *params: Any, ident: Any = 1) -> Any:
        request = {"jsonrpc": "2.0", "id": ident, "method": method, "params": list(params)}
        response = await self.post(orjson.dumps(request))
        assert response.status_code == 200
        return orjson.loads(response.content)

    def websocket(self) -> Any:
        return open_websocket_url(f"ws://127.0.0.1:{self.port}")

    async def raw(self, data: bytes) -> bytes:
        """Send bytes, close our half, and return whatever comes back."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            received = b""
            with suppress(trio.BrokenResourceError):  # the node left, and may have said why
                await stream.send_all(data)
                await stream.send_eof()
            with suppress(trio.BrokenResourceError):
                async for part in stream:
                    received += part
            return received


async def ask(socket: WebSocketConnection, method: str, *params: Any, ident: Any = 1) -> Any:
    request = {"jsonrpc": "2.0", "id": ident, "method": method, "params": list(params)}
    await socket.send_message(orjson.dumps(request).decode())
    with trio.fail_after(PATIENCE):
        return orjson.loads(await socket.get_message())


def methods_under_test() -> list[AnyMethod]:
    """Methods of every kind, small enough to see through."""

    def fail() -> object:
        raise KeyError("a fault of the node")

    def refuse() -> object:
        raise RpcError(4003, "Client error: nothing here", {"why": "asked"})

    async def later(seconds_in_ms: int) -> object:
        await trio.sleep(seconds_in_ms / 1000)
        return "done"

    async def count(subscription: Subscription, up_to: int) -> None:
        if up_to == 13:
            raise RpcError(4003, "unlucky")
        for number in range(up_to):
            subscription.notify(number)

    async def flood(subscription: Subscription) -> None:
        async def pump() -> None:
            while True:
                subscription.notify("x" * 100_000)
                await trio.sleep(0)

        subscription.session.feed(subscription, pump)

    return [
        Method("echo", lambda data: to_hex(data), (Param("data", hex_bytes),), ("repeat",)),
        Method("system_name", lambda: "OpenLedger"),
        Method("fail", fail),
        Method("refuse", refuse),
        LengthyMethod("later", later, (Param("ms", u32),)),
        SubscribeMethod("count", count, "counted", ("uncount",), (Param("upTo", u32),)),
        SubscribeMethod("flood", flood, "flooded", ("unflood",)),
    ]


Serve = Callable[..., Any]


@pytest.fixture
async def serve(nursery: trio.Nursery) -> AsyncIterator[Serve]:
    async def start(**limits: Any) -> Served:
        config = RpcConfig(
            port=0,
            limits=RpcLimits(**limits),
            origins=("https://wallet.example",),
        )
        dispatcher = Dispatcher(
            methods_under_test(),
            batch_length=config.limits.batch_length,
            response_bytes=config.limits.response_bytes,
        )
        server = RpcServer(dispatcher, config, partial(lambda: (200, b'{"isSyncing":false}')))
        _, port = await server.listen()
        nursery.start_soon(server.run)
        return Served(port, server)

    yield start


@pytest.fixture
async def served(serve: Serve) -> Served:
    return await serve()
