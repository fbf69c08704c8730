from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest
import trio
import trio.testing
from trio_websocket import open_websocket_url

from node.rpc.dispatch import AnyMethod, Dispatcher, LengthyMethod, Method
from node.rpc.limits import RpcConfig, RpcLimits, RpcMethods
from node.rpc.server import RpcServer
from tests.patience import PATIENCE

REFUSAL = "RPC call is unsafe to be called externally"
PAGE = "https://wallet.example"


async def slowly() -> str:
    await trio.lowlevel.checkpoint()
    return "done"


async def serve(nursery: trio.Nursery, config: RpcConfig) -> int:
    methods: list[AnyMethod] = [
        Method("open", lambda: 1),
        Method("closed", lambda: 2, (), ("shut",), unsafe=True),
        LengthyMethod("closed_too", slowly, unsafe=True),
    ]
    limits = config.limits
    dispatcher = Dispatcher(
        methods, batch_length=limits.batch_length, response_bytes=limits.response_bytes
    )
    server = RpcServer(dispatcher, config, lambda: (200, b"{}"))
    _, port = await server.listen()
    nursery.start_soon(server.run)
    return port


async def post(port: int, method: str, origin: str | None = None) -> Any:
    headers = {"content-type": "application/json"} | ({"origin": origin} if origin else {})
    body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": [None]})
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        answer = await client.post(f"http://127.0.0.1:{port}", content=body, headers=headers)
    return answer.json()


@pytest.mark.parametrize("method", ["closed", "shut", "closed_too"])
async def test_programs_on_this_machine_may_be_unsafe(nursery: trio.Nursery, method: str) -> None:
    port = await serve(nursery, RpcConfig(port=0))
    assert (await post(port, method))["result"]
    refused = (await post(port, method, PAGE))["error"]
    assert (refused["code"], refused["message"]) == (-32601, REFUSAL)
    assert "--rpc-cors" in refused["data"]
    assert (await post(port, "open", PAGE))["result"] == 1


async def test_a_page_that_is_named_may_be_unsafe(nursery: trio.Nursery) -> None:
    port = await serve(nursery, RpcConfig(port=0, origins=(PAGE,)))
    assert (await post(port, "closed", PAGE))["result"] == 2


async def test_nobody_may_where_the_operator_says_safe(nursery: trio.Nursery) -> None:
    port = await serve(nursery, RpcConfig(port=0, methods=RpcMethods.SAFE))
    refused = (await post(port, "closed"))["error"]
    assert (refused["code"], refused["message"]) == (-32601, REFUSAL)
    assert "--rpc-methods safe" in refused["data"]


async def test_everybody_may_where_the_operator_says_unsafe(nursery: trio.Nursery) -> None:
    config = RpcConfig(host="0.0.0.0", port=0, methods=RpcMethods.UNSAFE)
    assert (await post(await serve(nursery, config), "closed", PAGE))["result"] == 2


async def test_nobody_may_where_strangers_can_connect(nursery: trio.Nursery) -> None:
    port = await serve(nursery, RpcConfig(host="0.0.0.0", port=0))
    refused = (await post(port, "closed"))["error"]
    assert refused["message"] == REFUSAL
    assert "--rpc-methods unsafe" in refused["data"]


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_only_loopback_is_this_machine(host: str, alone: bool) -> None:
    assert RpcConfig(host=host).trusts(None) is alone
    assert RpcConfig(host=host).trusts(PAGE) is False


async def test_unsafe_methods_are_listed_and_refused_on_sockets_too(nursery: trio.Nursery) -> None:
    port = await serve(nursery, RpcConfig(port=0, methods=RpcMethods.SAFE))
    async with open_websocket_url(f"ws://127.0.0.1:{port}") as socket:
        for method in ("rpc_methods", "closed"):
            request = {"jsonrpc": "2.0", "id": method, "method": method}
            await socket.send_message(orjson.dumps(request).decode())
        listed = orjson.loads(await socket.get_message())
        assert listed["result"]["methods"] == [
            "closed",
            "closed_too",
            "open",
            "rpc_methods",
            "shut",
        ]
        assert orjson.loads(await socket.get_message())["error"]["message"] == REFUSAL


async def test_a_connection_above_its_rate_is_refused(
    nursery: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    config = RpcConfig(port=0, limits=RpcLimits(calls_per_minute=3))
    port = await serve(nursery, config)
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        headers = {"content-type": "application/json"}

        async def call(count: int) -> Any:
            one = {"jsonrpc": "2.0", "id": 7, "method": "open"}
            body = orjson.dumps(one if count == 1 else [one] * count)
            where = f"http://127.0.0.1:{port}"
            return (await client.post(where, content=body, headers=headers)).json()

        assert [answer["result"] for answer in await call(2)] == [1, 1]
        assert (await call(2))["error"]["code"] == -32999
        assert (await call(1))["result"] == 1
        refused = await call(1)
        assert (refused["id"], refused["error"]["message"]) == (7, "RPC rate limit exceeded")
        mock_clock.jump(21)
        assert (await call(1))["result"] == 1
