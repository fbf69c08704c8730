from __future__ import annotations

import gc
import time
from contextlib import suppress
from typing import cast

import httpx
import orjson
import pytest
import trio
import trio.testing
from trio_websocket import ConnectionClosed

from node.rpc.dispatch import Dispatcher
from node.rpc.http import HttpConnection
from node.rpc.limits import RpcConfig
from node.rpc.outbox import Backlog
from tests.node.rpc.conftest import Serve, Served, methods_under_test
from tests.patience import PATIENCE

NAME = b'{"jsonrpc":"2.0","id":1,"method":"system_name"}'


def head(length: int, extra: bytes = b"") -> bytes:
    return (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"%bContent-Length: %d\r\n\r\n" % (extra, length)
    )


async def test_a_post_is_answered(served: Served) -> None:
    assert await served.call("system_name") == {
        "jsonrpc": "2.0",
        "id": 1,
        "result": "OpenLedger",
    }


async def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    bodies = [b'{"jsonrpc":"2.0","id":%d,"method":"system_name"}' % i for i in range(50)]
    received = await served.raw(b"".join(head(len(body)) + body for body in bodies))
    found = [received.index(b'"id":%d,' % i) for i in range(50)]
    assert found == sorted(found)
    assert received.count(b"HTTP/1.1 200 OK") == 50


async def test_a_method_that_waits_keeps_the_order_of_a_pipeline(served: Served) -> None:
    slow = b'{"jsonrpc":"2.0","id":8,"method":"later","params":[20]}'
    received = await served.raw(head(len(slow)) + slow + head(len(NAME)) + NAME)
    assert received.index(b'"done"') < received.index(b'"OpenLedger"')


async def test_a_chunked_body_is_put_together(served: Served) -> None:
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(NAME[i : i + 7]), NAME[i : i + 7]) for i in range(0, len(NAME), 7)
    )
    request = (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    )
    received = await served.raw(request + head(len(NAME)) + NAME)
    assert received.count(b'"result":"OpenLedger"') == 2


async def test_a_body_above_the_limit_is_refused_by_name(serve: Serve) -> None:
    served = await serve(request_bytes=100)
    response = await served.post(b" " * 101)
    assert response.status_code == 413
    assert orjson.loads(response.content)["error"] == {
        "code": -32007,
        "message": "Request is too big",
        "data": "at most 100 bytes",
    }


async def test_a_chunked_body_above_the_limit_is_refused(serve: Serve) -> None:
    served = await serve(request_bytes=100)
    request = (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n65\r\n" + b" " * 101 + b"\r\n0\r\n\r\n"
    )
    assert (await served.raw(request)).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("body", [b"zz\r\n", b"5\r\n{\r\n0\r\n\r\n", b"5\r\nab"])
async def test_a_malformed_chunked_body_is_refused_and_not_logged_as_a_fault(
    served: Served, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    received = await served.raw(
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + body
    )
    assert received.startswith(b"HTTP/1.1 400 ")
    assert caplog.records == []


async def test_a_head_above_the_limit_is_refused(
    served: Served, mock_clock: trio.testing.MockClock
) -> None:
    # The clock stands still: the node lingers as long as the client takes to read.
    assert (await served.raw(b"POST / HTTP/1.1\r\nX: " + b"y" * 70_000)).startswith(
        b"HTTP/1.1 431 "
    )


async def test_only_json_is_taken(served: Served) -> None:
    response = await served.post(NAME, **{"content-type": "text/plain"})
    assert response.status_code == 415


async def test_other_verbs_are_refused_with_a_hint(served: Served) -> None:
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        response = await client.get(served.http)
        assert response.status_code == 405
        assert "POST" in response.text


async def test_health_is_served_on_the_same_port(served: Served) -> None:
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        response = await client.get(served.http + "/health")
        assert (response.status_code, response.json()) == (200, {"isSyncing": False})


async def test_an_admitted_origin_gets_its_cors_headers(served: Served) -> None:
    origin = "https://wallet.example"
    response = await served.post(NAME, origin=origin)
    assert response.headers["access-control-allow-origin"] == origin
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        preflight = await client.options(served.http, headers={"origin": origin})
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-headers"] == "content-type"


async def test_a_foreign_origin_is_refused(served: Served) -> None:
    response = await served.post(NAME, origin="https://evil.example")
    assert response.status_code == 403


async def test_http_1_0_and_connection_close_end_the_connection(served: Served) -> None:
    old = head(len(NAME)).replace(b"HTTP/1.1", b"HTTP/1.0") + NAME
    closing = head(len(NAME), b"Connection: close\r\n") + NAME
    for request in (old, closing):
        received = await served.raw(request + request)
        assert received.count(b"OpenLedger") == 1
        assert b"connection: close" in received


async def test_expect_100_continue_is_honoured(served: Served) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", served.port)
    async with stream:
        await stream.send_all(head(len(NAME), b"Expect: 100-continue\r\n"))
        assert await stream.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await stream.send_all(NAME)
        assert b"OpenLedger" in await stream.receive_some()


async def test_a_connection_too_many_is_turned_away(serve: Serve) -> None:
    served = await serve(connections=1)
    first = await trio.open_tcp_stream("127.0.0.1", served.port)
    async with first:
        await first.send_all(head(len(NAME)) + NAME)
        assert b"OpenLedger" in await first.receive_some()
        assert (await served.raw(b"")).startswith(b"HTTP/1.1 503 ")
    with trio.fail_after(PATIENCE):
        while served.server.connections:
            await trio.sleep(0.01)
    assert (await served.call("system_name"))["result"] == "OpenLedger"


async def test_a_silent_connection_is_closed(serve: Serve) -> None:
    served = await serve(idle_seconds=0.05)
    stream = await trio.open_tcp_stream("127.0.0.1", served.port)
    async with stream:
        with trio.fail_after(PATIENCE):
            assert await stream.receive_some() == b""


async def test_a_subscription_over_http_is_refused_by_name(served: Served) -> None:
    error = (await served.call("count", 3))["error"]
    assert error["code"] == -32090
    assert "WebSocket" in error["data"]


async def test_a_request_that_waits_too_long_is_answered_by_name(serve: Serve) -> None:
    served = await serve(request_seconds=0.2)
    slow = b'{"jsonrpc":"2.0","id":"mine","method":"later","params":[5000]}'
    received = await served.raw(head(len(slow)) + slow + head(len(NAME)) + NAME)
    first, second = received.split(b"HTTP/1.1 200 OK\r\n")[1:]
    refused = orjson.loads(first.partition(b"\r\n\r\n")[2])
    assert (refused["id"], refused["error"]["code"]) == ("mine", -32009)
    assert b"OpenLedger" in second


async def test_chunks_may_come_behind_their_head(served: Served) -> None:
    asked = (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    stream = await trio.open_tcp_stream("127.0.0.1", served.port)
    async with stream:
        for part in (asked, b"%x\r\n%b\r\n" % (len(NAME), NAME), b"0\r\n\r\n"):
            await stream.send_all(part)
            await trio.sleep(0.02)
        assert b"OpenLedger" in await stream.receive_some()


async def test_a_client_that_expects_to_continue_may_send_chunks(served: Served) -> None:
    asked = (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    stream = await trio.open_tcp_stream("127.0.0.1", served.port)
    async with stream:
        await stream.send_all(asked)
        with trio.fail_after(PATIENCE):
            assert await stream.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await stream.send_all(b"%x\r\n%b\r\n0\r\n\r\n" % (len(NAME), NAME))
        assert b"OpenLedger" in await stream.receive_some()


async def test_a_client_that_is_gone_before_a_request_waits_leaves_nothing_behind(
    recwarn: pytest.WarningsRecorder,
) -> None:
    dispatcher = Dispatcher(methods_under_test(), batch_length=1, response_bytes=1000)
    client, stream = trio.testing.memory_stream_pair()
    connection = HttpConnection(
        cast("trio.SocketStream", stream),
        dispatcher,
        dispatcher,
        RpcConfig(),
        lambda: (200, b"{}"),
        {},
        Backlog(1000, 1000),
    )
    slow = b'{"jsonrpc":"2.0","id":1,"method":"later","params":[1]}'
    await client.send_all(head(len(NAME)) + NAME + head(len(slow)) + slow)
    await client.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await connection.serve()
    gc.collect()
    assert [str(warning.message) for warning in recwarn] == []


async def test_long_requests_of_all_connections_share_the_nodes_room(
    serve: Serve, mock_clock: trio.testing.MockClock
) -> None:
    # The clock stands still: the node lingers as long as the client takes to read.
    served = await serve(total_request_bytes=1_000_000)
    streams = [await trio.open_tcp_stream("127.0.0.1", served.port) for _ in range(2)]
    answers = []

    async def ask(stream: trio.SocketStream, nursery: trio.Nursery) -> None:
        with suppress(trio.BrokenResourceError):  # the node says no while this still speaks
            await stream.send_all(head(900_000) + b" " * 800_000)
        answers.append(await stream.receive_some(1000))
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as asking:
        for stream in streams:
            asking.start_soon(ask, stream, asking)
    (answer,) = answers
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert (await served.call("echo", "0x00"))["result"] == "0x00"
    for stream in streams:
        await stream.aclose()
    while served.server._backlog.arriving.held:
        await trio.to_thread.run_sync(time.sleep, 0.01)


async def test_a_long_message_without_room_is_closed_with_a_reason(serve: Serve) -> None:
    served = await serve(total_request_bytes=100_000)
    async with served.websocket() as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.send_message("0" * 400_000)
            await socket.get_message()
    assert closed.value.reason.code == 1013
    with trio.fail_after(PATIENCE):
        while served.server.connections:
            await trio.sleep(0.01)
    assert served.server._backlog.arriving.held == 0
