"""Blobs and JSON that are wrong: the node names each mistake and goes on."""

from __future__ import annotations

import base64
import json
import random
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from node.client.errors import BlobError, CallError
from node.client.rpc import NodeClient
from runtime.construct import encode_call
from runtime.primitives.hashing import blake2_256
from runtime.primitives.keys import ss58_encode
from tests.clients.main_job import (
    ALICE,
    BOB,
    MANIFEST,
    Market,
    records_blob,
    submission,
)
from tests.e2e.bad_world import goes_on, pieces, signed, unharmed
from tests.e2e.conftest import Attacked
from tests.patience import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

INTERNAL = -32603


async def put(client: NodeClient, blob_hash: str, offset: object, chunk: object) -> str:
    """Send a chunk that must not be taken; returns the reason's name, or the code as text."""
    data = base64.b64encode(chunk).decode() if isinstance(chunk, bytes) else chunk
    with pytest.raises(CallError) as caught:
        await client.request("openledger_blob_put", blob_hash, offset, data)
    error = caught.value
    return str(error.data).split(":")[0] if error.code == 7001 else str(error.code)


async def test_blobs_that_are_not_what_was_declared_are_refused(
    client: NodeClient, market: Market, tmp_path: Path
) -> None:
    await client.submit(submission(market.datanet, "late"), BOB)
    blob = records_blob("late")
    name = "0x" + blake2_256(blob).hex()
    wrong = bytes(len(blob))
    async with unharmed(client):
        assert await put(client, "0x" + bytes(32).hex(), 0, b"x") == "UNDECLARED"
        assert await client.request("openledger_blob_status", "0x" + bytes(32).hex()) is None
        with pytest.raises(BlobError, match="no transaction declares"):
            await client.put_blob(b"nobody declared this")
        assert await put(client, name, 0, wrong) == "WRONG_HASH"
        assert await put(client, name, 0, blob[:-1] + b"\x00") == "WRONG_HASH"
        assert await put(client, name, 0, blob + b"x") == "TOO_LONG"
        assert await put(client, name, len(blob), b"x") == "TOO_LONG"
        assert await put(client, name, 2**63, b"x") == "TOO_LONG"
        assert await put(client, name, 5, blob[5:]) == "WRONG_OFFSET"
        for offset, chunk in (
            (0, b""),
            (0, "not base64"),
            (0, 7),
            (-1, b"x"),
            (0.5, b"x"),
            (None, b"x"),
            (hex(2**64), b"x"),
            (0, bytes((1 << 20) + 1)),
        ):
            assert await put(client, name, offset, chunk) == "-32602", (offset, chunk)
        for short in ("0x", "0x00", name + "00", name[:-1], "zz" * 32):
            assert await put(client, short, 0, b"x") == "-32602", short
        status = await client.request("openledger_blob_status", name)
        assert status == {"size": len(blob), "received": 0, "complete": False}
        with pytest.raises(CallError, match="NO_PEERS"):
            await client.request("openledger_blob_get", name, 0, 10)
        with pytest.raises(CallError, match="RANGE"):
            known = "0x" + blake2_256(MANIFEST).hex()
            await client.request("openledger_blob_get", known, len(MANIFEST) + 1, 10)
    await client.put_blob(blob)
    target = await client.get_blob(blake2_256(blob), tmp_path / "blob")
    assert target.read_bytes() == blob


BODIES: list[tuple[bytes, int]] = [
    (b"", -32700),
    (b"{", -32700),
    (b"\xff\xfe\x00", -32700),
    (b"[" * 100_000, -32700),
    (b'{"jsonrpc":"2.0","id":1,"method":"system_name","params":' + b"[" * 5000, -32700),
    (b"[]", -32600),
    (b"7", -32600),
    (b'"system_name"', -32600),
    (b'{"id":1,"method":"system_name"}', -32600),
    (b'{"jsonrpc":"2.0","id":{},"method":"system_name"}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":"no_such"}', -32601),
    (b'{"jsonrpc":"2.0","id":1,"method":"system_name","params":[1]}', -32602),
    (b'{"jsonrpc":"2.0","id":1,"method":"author_submitExtrinsic"}', -32602),
    (b'{"jsonrpc":"2.0","id":1,"method":"author_submitExtrinsic","params":["0x0"]}', -32602),
    (b'{"jsonrpc":"2.0","id":1,"method":"author_submitExtrinsic","params":[[]]}', -32602),
    (b'{"jsonrpc":"2.0","id":1,"method":"chain_subscribeNewHeads","params":[]}', -32090),
    (b"[" + b"1," * 1000 + b"1]", -32010),
]


async def test_json_that_is_no_request_has_its_code(client: NodeClient, attacked: Attacked) -> None:
    async with unharmed(client), httpx.AsyncClient(timeout=PATIENCE) as web:
        for body, code in BODIES:
            answer = await _post(web, attacked, body)
            assert answer["error"]["code"] == code, body[:99]
        huge = b'{"jsonrpc":"2.0","id":1,"method":"x","params":["' + b"0" * (16 << 20) + b'"]}'
        told = await web.post(attacked.http, content=huge, headers=JSON)
        assert told.status_code == 413 or told.json()["error"]["code"] == -32007


JSON = {"content-type": "application/json"}


async def _post(web: httpx.AsyncClient, attacked: Attacked, body: bytes) -> Any:
    told = await web.post(attacked.http, content=body, headers=JSON)
    return json.loads(told.content)


async def test_no_method_fails_on_any_parameters(client: NodeClient, attacked: Attacked) -> None:
    source = random.Random(3)
    junk: list[Any] = [
        *(None, True, -1, 0, 2**32, 2**64, 2**70, 0.5, "", "0x", "0x0", "zz", [], {}, [[]]),
        *("0x" + source.randbytes(size).hex() for size in (1, 2, 31, 32, 33, 100, 4096)),
        *("Core_version", "Core_execute_block", "Metadata_metadata_at_version"),
        *("TaggedTransactionQueue_validate_transaction", "AccountNonceApi_account_nonce"),
        *(ss58_encode(ALICE.account_id), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQX"),
        *([source.randbytes(32).hex()] * 3, {"data": "0x00"}),
    ]
    methods = (await client.request("rpc_methods"))["methods"]
    assert len(methods) > 50
    async with unharmed(client), httpx.AsyncClient(timeout=PATIENCE) as web:
        for method in methods:
            calls = [
                {
                    "jsonrpc": "2.0",
                    "id": number,
                    "method": method,
                    "params": [source.choice(junk) for _ in range(source.randrange(5))],
                }
                for number in range(25)
            ]
            body = json.dumps(calls).encode()
            for call, told in zip(calls, await _post(web, attacked, body), strict=True):
                assert ("result" in told) != ("error" in told)
                assert told.get("error", {}).get("code") != INTERNAL, call


APIS = (
    "Core_version",
    "Metadata_metadata",
    "Metadata_metadata_at_version",
    "Metadata_metadata_versions",
    "AccountNonceApi_account_nonce",
    "TransactionPaymentApi_query_info",
    "TransactionPaymentApi_query_fee_details",
    "TransactionPaymentApi_query_weight_to_fee",
    "TransactionPaymentApi_query_length_to_fee",
    "TaggedTransactionQueue_validate_transaction",
)


@pytest.mark.parametrize("api", APIS)
async def test_runtime_calls_refuse_arguments_by_name(client: NodeClient, api: str) -> None:
    source = random.Random(5)
    remark = encode_call("System", "remark", remark=b"cut anywhere")
    extrinsic = signed(client, remark, BOB, await client.nonce(BOB.account_id))
    head = await client.finalized_head()
    cases = [
        *pieces(extrinsic + len(extrinsic).to_bytes(4, "little"), 20),
        *pieces(b"\x02" + extrinsic + head, 20),
        *(source.randbytes(size) for size in (0, 1, 2, 4, 16, 32, 33, 1000, 100_000)),
    ]
    for data in cases:
        try:
            await client.call_api(api, data)
        except CallError as error:
            assert error.code in (4003, 1010), (data.hex()[:99], error)
            assert api in error.message or error.code == 1010, error


async def test_bytes_that_are_no_http_leave_the_node_serving(
    client: NodeClient, attacked: Attacked
) -> None:
    host, port = "127.0.0.1", int(attacked.http.rsplit(":", 1)[1])
    source = random.Random(4)
    upgrade = (
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    cases = [
        *(source.randbytes(size) for size in (1, 10, 1000, 100_000)),
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        *(upgrade + source.randbytes(size) for size in (2, 14, 200)),
    ]
    async with unharmed(client):
        for case in cases:
            stranger = socket.create_connection((host, port), timeout=PATIENCE)
            with stranger, suppress(OSError):  # it may be hung up on at once
                stranger.sendall(case)
        assert (await client.request("system_health"))["isSyncing"] is False
    await goes_on(client)
