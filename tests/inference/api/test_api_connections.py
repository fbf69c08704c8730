"""What becomes of connections, where clients are no friends."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from inference.api import http, listening
from inference.backbone.model import Backbone
from tests.inference.api.served_api import KEYS, Api, served
from tests.patience import PATIENCE


def written(
    *, stream: bool = False, version: str = "1.1", close: bool = True, missing: int = 0
) -> bytes:
    """Write a completion's request; `missing` bytes are announced and not sent."""
    fields = {"model": "tiny", "prompt": "abc", "max_tokens": 4, "seed": 1, "stream": stream}
    body = json.dumps(fields).encode()
    head = [
        f"POST /v1/completions HTTP/{version}",
        "Host: localhost",
        f"Authorization: Bearer {KEYS['alice']}",
        f"Content-Length: {len(body) + missing}",
        *(["Connection: close"] if close else []),
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


async def connected(api: Api) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", int(api.server.address.rpartition(":")[2]))


async def rest_of(connection: trio.SocketStream) -> bytes:
    """Read until the server closes, which it has to do soon."""
    with trio.fail_after(PATIENCE):
        return b"".join([part async for part in connection])


@pytest.mark.parametrize(
    ("stream", "version", "close"),
    [(False, "1.1", True), (True, "1.1", True), (False, "1.0", False)],
)
async def test_a_connection_is_closed_behind_its_last_answer(
    api: Api, stream: bool, version: str, close: bool
) -> None:
    async with await connected(api) as connection:
        await connection.send_all(written(stream=stream, version=version, close=close))
        told = await rest_of(connection)
    assert told.startswith(b"HTTP/1.1 200")
    assert told.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n" if stream else b"}")


@pytest.mark.parametrize("stream", [False, True])
async def test_requests_that_are_sent_ahead_are_answered_in_order(api: Api, stream: bool) -> None:
    async with await connected(api) as connection:
        await connection.send_all(written(stream=stream, close=False) + written(stream=stream))
        told = await rest_of(connection)
    assert told.count(b"HTTP/1.1 200") == 2


async def test_a_body_that_ends_early_is_the_clients_fault(api: Api) -> None:
    async with await connected(api) as connection:
        await connection.send_all(written(missing=10))
    async with await connected(api) as connection:
        await connection.send_all(written())
        assert await rest_of(connection)
    with trio.fail_after(PATIENCE):
        while True:
            text = (await api.client.get("/metrics")).text
            assert 'outcome="failed"' not in text
            if 'openledger_api_requests_total{outcome="bad_json",tenant="-"} 1.0' in text:
                return


async def test_a_body_that_never_ends_is_not_waited_for(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "BODY_SECONDS", 0.2)
    async with await connected(api) as connection:
        await connection.send_all(written(missing=10))
        told = await rest_of(connection)
    assert told.startswith(b"HTTP/1.1 408")
    assert json.loads(told.partition(b"\r\n\r\n")[2])["error"]["code"] == "body_too_slow"


@pytest.mark.skipif(not hasattr(trio.socket, "TCP_USER_TIMEOUT"), reason="an option of Linux")
async def test_a_client_that_stops_reading_keeps_no_server_from_stopping(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "STALLED_SECONDS", 0.5)
    asked = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    left = False
    async with trio.open_nursery() as nursery:

        async def leave(connection: trio.SocketStream) -> None:
            nonlocal left
            await trio.sleep(PATIENCE)
            left = True
            await connection.aclose()

        async def write(connection: trio.SocketStream) -> None:
            with suppress(trio.BrokenResourceError):  # the server has given up already
                for _ in range(100_000):  # more than all buffers between them hold
                    await connection.send_all(asked)

        async with served(backbone, tmp_path) as api:
            connection = await connected(api)
            nursery.start_soon(leave, connection)
            nursery.start_soon(write, connection)
            await trio.testing.wait_all_tasks_blocked(0.1)
        assert not left
        nursery.cancel_scope.cancel()
    await connection.aclose()
