"""Whatever strangers send, they get a named error or a closed connection; the node serves on."""

from __future__ import annotations

import random
from typing import Any

import httpx
import orjson
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from node.rpc.dispatch import Dispatcher
from tests.node.rpc.conftest import Served, methods_under_test
from tests.node.rpc.test_websocket import UPGRADE, masked
from tests.patience import PATIENCE

NAMED = {-32700, -32600, -32601, -32602, -32010, -32008, -32090, 4003}
NAMES = ["echo", "system_name", "refuse", "later", "count", "uncount", "rpc_methods", "x", ""]

scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text()
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | anything,
        "id": anything,
        "method": st.sampled_from(NAMES) | anything,
        "params": anything,
    },
)


async def settle(dispatcher: Dispatcher, raw: bytes) -> list[dict[str, Any]]:
    """Answer a request to the end and list the answers."""
    answer = dispatcher.handle(raw, None)
    if not isinstance(answer, bytes):
        with trio.fail_after(PATIENCE):
            answer = (await answer).body
    if not answer:
        return []
    decoded = orjson.loads(answer)
    return decoded if isinstance(decoded, list) else [decoded]


def check(answers: list[dict[str, Any]]) -> None:
    for answer in answers:
        assert answer["jsonrpc"] == "2.0"
        assert "id" in answer
        if "error" in answer:
            assert answer["error"]["code"] in NAMED
            assert answer["error"]["message"]
        else:
            assert "result" in answer


def encode(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        return repr(value).encode("utf-8", "surrogatepass")


def dispatcher() -> Dispatcher:
    methods = [method for method in methods_under_test() if method.name not in ("fail", "later")]
    return Dispatcher(methods, batch_length=4, response_bytes=4096)


@given(st.binary(max_size=200))
def test_random_bytes_are_a_named_error(raw: bytes) -> None:
    check(trio.run(settle, dispatcher(), raw))


@given(requests | anything | st.lists(requests | anything, max_size=6))
def test_random_json_is_a_named_error_or_an_answer(message: object) -> None:
    check(trio.run(settle, dispatcher(), encode(message)))


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"jsonrpc":"2.0","id":1,"method":"echo","params":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"system_name"}',
        b'{"jsonrpc":"2.0","id":1e999,"method":"system_name"}',
        b'{"jsonrpc":"2.0","id":"\\ud800","method":"system_name"}',
        b'{"jsonrpc":"2.0","id":1,"method":"later","params":[4294967296]}',
        b'{"jsonrpc":"2.0","id":1,"method":"later","params":["0x' + b"f" * 5000 + b'"]}',
        b'{"jsonrpc":"2.0","id":1,"method":"later","params":["0x_1"]}',
        b'{"jsonrpc":"2.0","id":1,"method":"echo","params":["0x\xc2\xb2\xc2\xb2"]}',
        b'{"jsonrpc":"2.0","id":NaN,"method":"system_name"}',
        b"\x00" * 1000,
    ],
)
async def test_known_bad_requests_are_named_errors(raw: bytes) -> None:
    answers = await settle(dispatcher(), raw)
    check(answers)
    assert answers


async def test_truncated_and_random_http_leaves_the_server_serving(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"system_name"}'
    good = (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    source = random.Random(1)
    cases = [good[:cut] for cut in range(0, len(good), 7)]
    for _ in range(60):
        spoilt = bytearray(good)
        for _ in range(source.randrange(1, 6)):
            spoilt[source.randrange(len(spoilt))] = source.randrange(256)
        cases.append(bytes(spoilt))
    cases += [source.randbytes(source.randrange(300)) for _ in range(30)]
    cases += [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: x\r\n\r\nzz\r\n",
        b"POST / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ]
    with trio.fail_after(PATIENCE):
        for case in cases:
            answer = await served.raw(case)
            assert not answer or answer.startswith(b"HTTP/1.1 ")
    assert (await served.call("system_name"))["result"] == "OpenLedger"
    assert caplog.text == ""


async def test_random_and_truncated_frames_leave_the_server_serving(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    source = random.Random(2)
    request = b'{"jsonrpc":"2.0","id":1,"method":"system_name"}'
    cases = [UPGRADE + source.randbytes(source.randrange(1, 200)) for _ in range(40)]
    cases += [UPGRADE + masked(request, first) for first in range(256)]
    cases += [UPGRADE[:cut] for cut in range(0, len(UPGRADE), 11)]
    cases += [
        UPGRADE.replace(b"13", b"7"),
        UPGRADE.replace(b"Sec-WebSocket-Key", b"Sec-WebSocket-Kee"),
        UPGRADE + b"\x81\x05hello",
        UPGRADE + b"\x81\xff" + b"\xff" * 8 + b"\0\0\0\0",
        UPGRADE + b"\x88\x81\0\0\0\0x",
        UPGRADE + masked(b"\xff\xfe\xfd"),
        UPGRADE + masked(b"a", 0x01) + masked(b"b", 0x01),
    ]
    with trio.fail_after(PATIENCE):
        for case in cases:
            answer = await served.raw(case)
            assert not answer or answer.startswith(b"HTTP/1.1 ")
    assert (await served.call("system_name"))["result"] == "OpenLedger"
    assert caplog.text == ""


async def test_half_open_clients_do_not_hold_the_others_up(served: Served) -> None:
    streams = [await trio.open_tcp_stream("127.0.0.1", served.port) for _ in range(50)]
    try:
        for stream in streams:
            await stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Le")
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            with trio.fail_after(PATIENCE):
                assert (await client.get(served.http + "/health")).status_code == 200
    finally:
        for stream in streams:
            await stream.aclose()
