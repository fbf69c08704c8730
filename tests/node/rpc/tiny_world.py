"""A chain of tiny rules behind a real JSON-RPC server: blocks grow where a test wants them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from node.application import BestState
from node.chain import Chain
from node.pool import Pool
from node.rpc.backend import Backend, NodeFacts
from node.rpc.broadcasts import Broadcasts
from node.rpc.dispatch import Dispatcher
from node.rpc.heads import Heads
from node.rpc.limits import RpcConfig, RpcLimits
from node.rpc.methods.archive import archive_methods
from node.rpc.methods.transaction import transaction_methods
from node.rpc.server import RpcServer
from node.rpc.storage_streams import StorageStreams
from node.storage.pruning import Pruning
from tests.node.tiny_runtime import TinyGenesis, TinyRuntime
from tests.patience import PATIENCE


@dataclass
class TinyWorld:
    chain: Chain
    backend: Backend
    streams: StorageStreams
    broadcasts: Broadcasts
    server: RpcServer
    port: int

    def websocket(self) -> Any:
        return open_websocket_url(f"ws://127.0.0.1:{self.port}")

    async def grow(self, parent: bytes, *extrinsics: bytes) -> bytes:
        header = self.chain.header(parent)
        assert header is not None
        built = await self.chain.build(
            parent,
            timestamp=header.number + 1,
            digest=(),
            candidates=extrinsics,
            full=lambda: False,
        )
        return (await self.chain.execute(built.block)).hash

    async def grow_final(self, *extrinsics: bytes) -> bytes:
        block_hash = await self.grow(self.chain.best().hash, *extrinsics)
        self.chain.set_best(block_hash)
        await self.chain.finalize(block_hash, None)
        return block_hash


@asynccontextmanager
async def tiny_world(
    path: Path,
    entries: dict[bytes, bytes] | None = None,
    pruning: Pruning | None = None,
    **limits: Any,
) -> AsyncIterator[TinyWorld]:
    genesis = TinyGenesis() if entries is None else TinyGenesis(tuple(entries.items()))
    runtime = TinyRuntime()
    chain = Chain.open(path, genesis, runtime, pruning)
    facts = NodeFacts("tiny", "Development", "tiny", "0", {})
    backend = Backend(chain, Pool(BestState(chain, runtime)), runtime, facts)
    heads = Heads(chain)
    streams, broadcasts = StorageStreams(), Broadcasts(backend, heads.best)
    config = RpcConfig(port=0, limits=RpcLimits(**limits))
    dispatcher = Dispatcher(
        [
            *archive_methods(backend, streams),
            *transaction_methods(backend, heads, broadcasts),
        ],
        batch_length=config.limits.batch_length,
        response_bytes=config.limits.response_bytes,
    )
    server = RpcServer(dispatcher, config, lambda: (200, b"{}"))
    _, port = await server.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        nursery.start_soon(heads.run)
        try:
            yield TinyWorld(chain, backend, streams, broadcasts, server, port)
        finally:
            nursery.cancel_scope.cancel()
    chain.close()


async def send(socket: WebSocketConnection, method: str, *params: Any, ident: Any = 1) -> None:
    request = {"jsonrpc": "2.0", "id": ident, "method": method, "params": list(params)}
    await socket.send_message(orjson.dumps(request).decode())


async def receive(socket: WebSocketConnection) -> Any:
    with trio.fail_after(PATIENCE):
        return orjson.loads(await socket.get_message())


async def events(socket: WebSocketConnection, method: str, *params: Any) -> list[dict[str, Any]]:
    """Open a stream on an otherwise silent connection and read it to its last event."""
    await send(socket, method, *params)
    answer = await receive(socket)
    assert "result" in answer, answer
    found: list[dict[str, Any]] = []
    while not found or not found[-1]["event"].endswith(("Done", "Error")):
        message = await receive(socket)
        assert message["method"] == f"{method}Event"
        assert message["params"]["subscription"] == answer["result"]
        found.append(message["params"]["result"])
    return found
