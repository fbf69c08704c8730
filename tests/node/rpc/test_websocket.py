from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import trio
import trio.testing

from node.rpc.dispatch import Dispatcher, SubscribeMethod
from node.rpc.limits import RpcConfig, RpcLimits
from node.rpc.outbox import Backlog
from node.rpc.server import RpcServer
from node.rpc.subscriptions import Subscription
from node.rpc.websocket import WebSocketConnection
from tests.node.rpc.conftest import Serve, Served, ask, methods_under_test
from tests.patience import PATIENCE

Stream = trio.StapledStream[Any, Any]


Link = Callable[[], tuple[Stream, Stream]]


def connect(
    nursery: trio.Nursery, link: Link = trio.testing.memory_stream_pair, **limits: Any
) -> Stream:
    """Connect without a socket, so that nothing but the clock decides how long a wait is."""
    bounds = RpcLimits(**limits)
    dispatcher = Dispatcher(
        methods_under_test(),
        batch_length=bounds.batch_length,
        response_bytes=bounds.response_bytes,
    )
    ours, theirs = link()
    backlog = Backlog(bounds.total_backlog_bytes, bounds.total_request_bytes)
    connection = WebSocketConnection(theirs, dispatcher, bounds, backlog)

    async def serve() -> None:
        await connection.serve(UPGRADE, b"")
        await theirs.aclose()

    nursery.start_soon(serve)
    return ours


async def test_a_request_is_answered_on_the_socket(served: Served) -> None:
    async with served.websocket() as socket:
        assert (await ask(socket, "system_name", ident="ZY3")) == {
            "jsonrpc": "2.0",
            "id": "ZY3",
            "result": "OpenLedger",
        }


async def test_a_binary_frame_is_read_as_json(served: Served) -> None:
    async with served.websocket() as socket:
        await socket.send_message(b'{"jsonrpc":"2.0","id":1,"method":"system_name"}')
        assert "OpenLedger" in await socket.get_message()


@pytest.mark.parametrize("size", [0, 10, 40, 100, 30_000, 40_000, 200_000])
async def test_answers_of_every_frame_size_arrive_whole(served: Served, size: int) -> None:
    data = "ab" * size
    async with served.websocket() as socket:
        assert (await ask(socket, "echo", data))["result"] == "0x" + data


async def test_the_answer_to_a_subscribe_precedes_its_first_notification(served: Served) -> None:
    async with served.websocket() as socket:
        ident = (await ask(socket, "count", 3))["result"]
        for number in range(3):
            assert orjson.loads(await socket.get_message()) == {
                "jsonrpc": "2.0",
                "method": "counted",
                "params": {"subscription": ident, "result": number},
            }


async def test_a_batch_of_subscribes_is_answered_before_any_notification(served: Served) -> None:
    request = [{"jsonrpc": "2.0", "id": i, "method": "count", "params": [1]} for i in range(3)]
    async with served.websocket() as socket:
        await socket.send_message(orjson.dumps(request).decode())
        answers = orjson.loads(await socket.get_message())
        notified = [orjson.loads(await socket.get_message()) for _ in range(3)]
    assert [a["result"] for a in answers] == [n["params"]["subscription"] for n in notified]


async def test_a_refused_subscription_leaves_nothing_open(serve: Serve) -> None:
    served = await serve(subscriptions=1)
    async with served.websocket() as socket:
        assert (await ask(socket, "count", 13))["error"]["message"] == "unlucky"
        ident = (await ask(socket, "count", 0))["result"]
        error = (await ask(socket, "count", 0))["error"]
        assert (error["code"], error["message"]) == (
            -32006,
            "Too many subscriptions on the connection",
        )
        assert (await ask(socket, "uncount", ident))["result"] is True
        assert (await ask(socket, "uncount", ident))["result"] is False
        assert "result" in await ask(socket, "count", 0)


async def test_a_method_that_waits_does_not_hold_up_the_others(
    served: Served, mock_clock: trio.testing.MockClock
) -> None:
    async with served.websocket() as socket:
        for ident, method, params in ((1, "later", [200]), (2, "system_name", [])):
            request = {"jsonrpc": "2.0", "id": ident, "method": method, "params": params}
            await socket.send_message(orjson.dumps(request).decode())
        assert orjson.loads(await socket.get_message())["id"] == 2
        mock_clock.jump(1)
        assert orjson.loads(await socket.get_message())["id"] == 1


async def test_requests_in_flight_are_bounded_but_all_answered(serve: Serve) -> None:
    served = await serve(in_flight=2)
    async with served.websocket() as socket:
        for ident in range(20):
            request = {"jsonrpc": "2.0", "id": ident, "method": "later", "params": [1]}
            await socket.send_message(orjson.dumps(request).decode())
        answers = {orjson.loads(await socket.get_message())["id"] for _ in range(20)}
    assert answers == set(range(20))


async def test_a_client_whose_requests_wait_for_each_other_is_not_taken_for_silent(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    begun = trio.current_time()
    stream = connect(nursery, in_flight=1)
    request = b'{"jsonrpc":"2.0","id":%d,"method":"later","params":[60000]}'
    await stream.send_all(b"".join(masked(request % number) for number in range(5)))
    received = b""
    while received.count(b'"done"') < 5:
        data = await stream.receive_some()
        assert data, "the node left"
        received += data
    assert trio.current_time() - begun == pytest.approx(5 * 60)


async def test_the_reason_to_close_reaches_a_client_that_still_sends(
    serve: Serve, mock_clock: trio.testing.MockClock
) -> None:
    # The clock stands still: the node lingers as long as the client takes to read.
    served = await serve(request_bytes=100)
    much = b" " * 4_000_000
    frame = b"\x81\xff" + len(much).to_bytes(8, "big") + b"\0\0\0\0" + much
    received = await served.raw(UPGRADE + frame)
    assert (1009).to_bytes(2, "big") + b"the request is too big" in received


async def test_what_a_batch_keeps_back_counts_as_backlog(serve: Serve) -> None:
    served = await serve(backlog_bytes=1_000_000, high_water_bytes=10_000)
    batch = [
        {"jsonrpc": "2.0", "id": 1, "method": "flood"},
        {"jsonrpc": "2.0", "id": "a long request" * 9, "method": "later", "params": [60_000]},
    ]
    stream = await trio.open_tcp_stream("127.0.0.1", served.port)
    async with stream:
        await stream.send_all(UPGRADE + long_frame(orjson.dumps(batch)))
        received = b""
        with trio.fail_after(PATIENCE):
            while data := await stream.receive_some():
                received += data
    assert received.endswith(b"\r\n\r\n"), "the node said more than its handshake"
    with trio.fail_after(PATIENCE):
        while served.server.connections:
            await trio.sleep(0.01)
    assert served.server._backlog.queued == 0


async def test_a_batch_whose_answer_is_too_long_drops_what_it_began(serve: Serve) -> None:
    served = await serve(response_bytes=2000)
    batch: list[object] = [{"jsonrpc": "2.0", "id": 1, "method": "count", "params": [9]}]
    batch += [{"jsonrpc": "2.0", "id": 2, "method": "echo", "params": ["00" * 400]}] * 3
    async with served.websocket() as socket:
        await socket.send_message(orjson.dumps(batch).decode())
        assert orjson.loads(await socket.get_message())["error"]["code"] == -32008
        assert (await ask(socket, "system_name", ident=3))["id"] == 3
        assert served.server.subscriptions == 0
        with trio.fail_after(PATIENCE):
            while served.server._backlog.queued:  # what was read is counted a little later
                await trio.sleep(0.01)


async def test_a_subscription_is_ended_by_the_methods_of_its_own_kind_only(served: Served) -> None:
    async with served.websocket() as socket:
        ident = (await ask(socket, "count", 0))["result"]
        assert (await ask(socket, "unflood", ident))["result"] is False
        assert (await ask(socket, "uncount", ident))["result"] is True
    refused = await served.call("uncount", ident)
    assert refused["error"]["code"] == -32090


async def test_a_message_too_big_closes_the_socket_with_1009(serve: Serve) -> None:
    served = await serve(request_bytes=100)
    received = await served.raw(UPGRADE + masked(b" " * 101))
    assert b"\x88" in received
    assert (1009).to_bytes(2, "big") + b"the request is too big" in received


async def test_a_client_that_does_not_read_is_closed_and_others_are_served(serve: Serve) -> None:
    served = await serve(backlog_bytes=1_000_000, high_water_bytes=10_000)
    stream = await trio.open_tcp_stream("127.0.0.1", served.port)
    async with stream, served.websocket() as other:
        await stream.send_all(UPGRADE + masked(b'{"jsonrpc":"2.0","id":1,"method":"flood"}'))
        with trio.fail_after(PATIENCE):
            while served.server.connections > 1:
                assert (await ask(other, "system_name"))["result"] == "OpenLedger"


@pytest.mark.parametrize("asked", [b'"method":"system_name"', b'"method":"later","params":[10]'])
async def test_a_client_may_ask_on_before_it_reads(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, asked: bytes
) -> None:
    # What is sent over this one waits until it is read.
    stream = connect(nursery, trio.testing.lockstep_stream_pair, in_flight=1)
    with trio.fail_after(1):
        for ident in b"123":
            await stream.send_all(masked(b'{"jsonrpc":"2.0","id":%c,%b}' % (ident, asked)))
        received = b""
        while received.count(b'"result"') < 3:
            received += await stream.receive_some()
    await stream.aclose()


async def test_a_client_that_leaves_is_told_first_what_it_asked_for(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    stream = connect(nursery, trio.testing.lockstep_stream_pair)
    with trio.fail_after(1):
        await stream.send_all(masked(b'{"jsonrpc":"2.0","id":1,"method":"system_name"}'))
        await stream.send_all(masked(b"\x03\xe8", first=0x88))
        received = b"".join([data async for data in stream])
    assert received.endswith(b'OpenLedger"}\x88\x02\x03\xe8')


async def test_slow_readers_share_one_backlog(serve: Serve) -> None:
    served = await serve(total_backlog_bytes=500_000, high_water_bytes=10_000)
    stream = await trio.open_tcp_stream("127.0.0.1", served.port)
    async with stream, served.websocket() as other:
        await stream.send_all(UPGRADE + masked(b'{"jsonrpc":"2.0","id":1,"method":"flood"}'))
        with trio.fail_after(PATIENCE):
            while served.server.connections > 1:
                assert (await ask(other, "system_name"))["result"] == "OpenLedger"


async def test_a_subscription_begun_as_the_client_leaves_is_closed(nursery: trio.Nursery) -> None:
    begun: list[str] = []
    closed: list[str] = []

    async def listen(subscription: Subscription) -> None:
        begun.append(subscription.ident)
        subscription.on_close(lambda: closed.append(subscription.ident))

    method = SubscribeMethod("listen", listen, "heard", ("unlisten",))
    dispatcher = Dispatcher([method], batch_length=1, response_bytes=1000)
    server = RpcServer(dispatcher, RpcConfig(port=0), lambda: (200, b"{}"))
    _, port = await server.listen()
    nursery.start_soon(server.run)
    goodbye = masked(b"\x03\xe8", first=0x88)
    request = masked(b'{"jsonrpc":"2.0","id":1,"method":"listen"}')
    await Served(port, server).raw(UPGRADE + request + goodbye)
    with trio.fail_after(PATIENCE):
        while server.connections:
            await trio.sleep(0.01)
    assert len(begun) == 1
    assert closed == begun


async def test_a_ping_is_answered(served: Served) -> None:
    async with served.websocket() as socket:
        with trio.fail_after(PATIENCE):
            await socket.ping(b"are you there")


async def test_a_silent_client_is_pinged_then_left(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    begun = trio.current_time()
    received = b""
    async for data in connect(nursery):
        received += data
    assert received.endswith(b"\r\n\r\n" + PING * 3)
    assert trio.current_time() - begun == pytest.approx(100)


async def test_a_client_that_answers_is_never_left(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    begun = trio.current_time()
    stream = connect(nursery)
    pings = 0
    while pings < 20:
        data = await stream.receive_some()
        assert data, "the node left"
        if PING in data:
            pings += 1
            await stream.send_all(masked(b"", first=0x8A))
    assert trio.current_time() - begun == pytest.approx(20 * 40)


async def test_a_node_that_stood_still_asks_its_clients_before_it_leaves_them(
    mock_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    stream = connect(nursery)
    assert b"101" in await stream.receive_some()
    for _ in range(2):
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(3600)
    assert await stream.receive_some() == PING
    await stream.send_all(masked(b'{"jsonrpc":"2.0","id":1,"method":"system_name"}'))
    assert b"OpenLedger" in await stream.receive_some()


async def test_a_foreign_origin_gets_no_socket(served: Served) -> None:
    request = UPGRADE[:-2] + b"Origin: https://evil.example\r\n\r\n"
    assert (await served.raw(request)).startswith(b"HTTP/1.1 403 ")


async def test_the_tasks_of_a_connection_end_with_it(served: Served) -> None:
    async with served.websocket() as socket:
        await ask(socket, "flood")
    with trio.fail_after(PATIENCE):
        while served.server.connections:
            await trio.sleep(0.01)


PING = b"\x89\x00"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


def masked(payload: bytes, first: int = 0x81) -> bytes:
    """One client frame of fewer than 126 bytes, with a mask of zeros."""
    return bytes([first, 0x80 | len(payload)]) + b"\0\0\0\0" + payload


def long_frame(payload: bytes) -> bytes:
    """One client frame of 126 to 65,535 bytes, with a mask of zeros."""
    return b"\x81\xfe" + len(payload).to_bytes(2, "big") + b"\0\0\0\0" + payload


async def test_a_client_that_leaves_with_requests_waiting_leaves_nothing_behind(
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    recwarn: pytest.WarningsRecorder,
) -> None:
    begun = trio.current_time()
    stream = connect(nursery, in_flight=1)
    request = b'{"jsonrpc":"2.0","id":%d,"method":"later","params":[600000]}'
    await stream.send_all(b"".join(masked(request % number) for number in range(10)))
    async for data in stream:
        assert b"result" not in data
    assert trio.current_time() - begun == pytest.approx(100)
    gc.collect()
    assert [str(warning.message) for warning in recwarn] == []
