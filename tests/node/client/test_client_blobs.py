from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from node.blobs import BlobStore
from node.client.blobs import CHUNK, get_blob, put_blob
from node.client.errors import BlobError, CallError
from node.client.transport import Transport, open_transport
from node.rpc.backend import Backend
from node.rpc.dispatch import Dispatcher
from node.rpc.limits import RpcConfig
from node.rpc.methods.blobs import blob_methods
from node.rpc.server import RpcServer
from runtime.primitives.hashing import blake2_256

DATA = random.Random(7).randbytes(2 * CHUNK + 12_345)
HASH = blake2_256(DATA)


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs", {HASH: len(DATA)}.get)


@pytest.fixture(params=["ws", "http"])
async def transport(
    store: BlobStore, request: pytest.FixtureRequest, nursery: trio.Nursery
) -> AsyncIterator[Transport]:
    backend = Backend(*cast("Any", (None, None, None, None, store)))
    dispatcher = Dispatcher(blob_methods(backend), batch_length=10, response_bytes=1 << 24)
    server = RpcServer(dispatcher, RpcConfig(port=0), lambda: (200, b"{}"))
    _, port = await server.listen()
    nursery.start_soon(server.run)
    async with open_transport(f"{request.param}://127.0.0.1:{port}") as opened:
        yield opened


async def test_a_blob_goes_up_and_down_unchanged(transport: Transport, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    assert await put_blob(transport, DATA, lambda *sizes: told.append(sizes)) == HASH
    assert told == [(CHUNK, len(DATA)), (2 * CHUNK, len(DATA)), (len(DATA), len(DATA))]
    target = await get_blob(transport, HASH, tmp_path / "copy")
    assert target.read_bytes() == DATA
    assert list(tmp_path.glob("*.part")) == []


async def test_an_upload_goes_on_where_it_stopped(transport: Transport, store: BlobStore) -> None:
    store.put(HASH, 0, DATA[:CHUNK])
    told: list[int] = []
    await put_blob(transport, DATA, lambda done, _: told.append(done))
    assert told == [2 * CHUNK, len(DATA)]


async def test_a_download_goes_on_where_it_stopped(transport: Transport, tmp_path: Path) -> None:
    await put_blob(transport, DATA)
    (tmp_path / f"copy.{HASH.hex()[:16]}.part").write_bytes(DATA[: CHUNK + 1])
    told: list[int] = []
    await get_blob(transport, HASH, tmp_path / "copy", lambda done, _: told.append(done))
    assert told == [2 * CHUNK + 1, len(DATA)]
    assert (tmp_path / "copy").read_bytes() == DATA


async def test_a_spoilt_download_is_deleted_and_refused(
    transport: Transport, tmp_path: Path
) -> None:
    await put_blob(transport, DATA)
    part = tmp_path / f"copy.{HASH.hex()[:16]}.part"
    part.write_bytes(b"spoilt")
    with pytest.raises(BlobError, match="another node"):
        await get_blob(transport, HASH, tmp_path / "copy")
    assert not part.exists()
    assert not (tmp_path / "copy").exists()


async def test_an_undeclared_blob_is_not_taken(transport: Transport) -> None:
    with pytest.raises(BlobError, match="declare it"):
        await put_blob(transport, b"spam")
    with pytest.raises(CallError, match="UNDECLARED") as caught:
        await transport.request("openledger_blob_put", ("0x" + "00" * 32, 0, "c3BhbQ=="))
    assert caught.value.code == 7001


async def test_an_absent_blob_is_named(transport: Transport, tmp_path: Path) -> None:
    with pytest.raises(BlobError, match="does not hold"):
        await get_blob(transport, HASH, tmp_path / "copy")


@pytest.mark.parametrize(
    "params", [("0x00", 0, "AA=="), ("0x" + "00" * 32, -1, "AA=="), ("0x" + "00" * 32, 0, "?")]
)
async def test_malformed_chunks_are_refused_by_name(
    transport: Transport, params: tuple[Any, ...]
) -> None:
    with pytest.raises(CallError) as caught:
        await transport.request("openledger_blob_put", params)
    assert caught.value.code == -32602
