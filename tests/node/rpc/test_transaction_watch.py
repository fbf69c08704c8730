"""`transactionWatch_v1_*`: the events of an extrinsic's life."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from trio_websocket import WebSocketConnection, open_websocket_url

from node.application import NodeApplication
from node.client.signing import from_uri, sign_extrinsic
from node.service import RunningNode
from runtime.construct import encode_call
from runtime.primitives.extrinsic import Extensions, Immortal
from tests.node.rpc.conftest import ask
from tests.node.rpc.tiny_world import TinyWorld, receive, send, tiny_world
from tests.node.running_node import config, node
from tests.node.tiny_runtime import put

__all__ = ["config", "node"]

METHOD = "transactionWatch_v1_submitAndWatch"


@pytest.fixture
async def socket(node: RunningNode) -> AsyncIterator[WebSocketConnection]:
    host, port = node.rpc_address
    async with open_websocket_url(f"ws://{host}:{port}") as opened:
        yield opened


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[TinyWorld]:
    async with tiny_world(tmp_path) as opened:
        yield opened


def signed(node: RunningNode, nonce: int, tip: int = 0, remark: bytes = b"watched") -> bytes:
    return sign_extrinsic(
        encode_call("System", "remark", remark=remark),
        from_uri("//Alice"),
        Extensions(Immortal(), nonce, tip),
        spec_version=1,
        transaction_version=1,
        genesis_hash=node.chain.genesis_hash,
        birth_hash=node.chain.genesis_hash,
    )


def application(world: TinyWorld) -> NodeApplication:
    return NodeApplication(world.chain, world.backend.pool, world.backend.runtime)


async def watch(socket: WebSocketConnection, extrinsic: bytes) -> str:
    await send(socket, METHOD, "0x" + extrinsic.hex())
    answer = await receive(socket)
    assert isinstance(answer.get("result"), str), answer
    found: str = answer["result"]
    return found


async def event(socket: WebSocketConnection, ident: str) -> dict[str, Any]:
    message = await receive(socket)
    assert message["method"] == "transactionWatch_v1_watchEvent"
    assert message["params"]["subscription"] == ident
    found: dict[str, Any] = message["params"]["result"]
    return found


async def test_a_valid_extrinsic_is_validated_included_and_finalized(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    extrinsic = signed(node, 0)
    ident = await watch(socket, extrinsic)
    assert await event(socket, ident) == {"event": "validated"}
    included = await event(socket, ident)
    assert included["event"] == "bestChainBlockIncluded"
    final = await event(socket, ident)
    assert final == {"event": "finalized", "block": included["block"]}
    block = node.chain.block(bytes.fromhex(final["block"]["hash"][2:]))
    assert block is not None
    assert block.extrinsics[final["block"]["index"]] == extrinsic
    over = await ask(socket, "transactionWatch_v1_unwatch", ident)
    assert over["error"]["code"] == -32602


async def test_a_long_extrinsic_is_checked_first(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    extrinsic = signed(node, 0, remark=bytes(5000))
    ident = await watch(socket, extrinsic)
    assert await event(socket, ident) == {"event": "validated"}
    assert (await event(socket, ident))["event"] == "bestChainBlockIncluded"
    assert (await event(socket, ident))["event"] == "finalized"
    ident = await watch(socket, extrinsic)
    told = await event(socket, ident)
    assert told["event"] == "invalid"
    assert "STALE" in told["error"]


async def test_a_replaced_extrinsic_is_invalid(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    old = await watch(socket, signed(node, 5))
    assert await event(socket, old) == {"event": "validated"}
    await send(socket, METHOD, signed(node, 5, tip=10**12).hex(), ident=2)
    heard = [await receive(socket) for _ in range(3)]
    told = [m["params"]["result"] for m in heard if "params" in m]
    assert [t for t in told if t["event"] == "invalid"] == [
        {"event": "invalid", "error": "USURPED: replaced"}
    ]
    assert {"event": "validated"} in told


async def test_a_retracted_block_is_told_and_the_next_one_too(world: TinyWorld) -> None:
    node = application(world)
    extrinsic = put(b"k", b"v")
    async with world.websocket() as socket:
        ident = await watch(socket, extrinsic)
        assert await event(socket, ident) == {"event": "validated"}
        genesis = world.chain.genesis_hash
        with_it = await world.grow(genesis, extrinsic)
        node.set_best(with_it)
        included = await event(socket, ident)
        assert included["block"] == {"hash": "0x" + with_it.hex(), "index": 1}
        rival = await world.grow(genesis, put(b"other", b"1"))
        above = await world.grow(rival)
        node.set_best(above)
        assert await event(socket, ident) == {"event": "bestChainBlockIncluded", "block": None}
        assert await event(socket, ident) == {"event": "validated"}
        again = await world.grow(above, put(b"x", b""), extrinsic)
        node.set_best(again)
        included = await event(socket, ident)
        assert included["block"] == {"hash": "0x" + again.hex(), "index": 2}
        await node.finalize(again, None)
        assert await event(socket, ident) == {"event": "finalized", "block": included["block"]}


@pytest.mark.parametrize("extrinsic", [b"", b"\x00" * 40, put(b"forbidden", b""), bytes(600_000)])
async def test_an_invalid_extrinsic_is_told_in_an_event(world: TinyWorld, extrinsic: bytes) -> None:
    async with world.websocket() as socket:
        ident = await watch(socket, extrinsic)
        told = await event(socket, ident)
        assert told["event"] == "invalid"
        assert told["error"]
        over = await ask(socket, "transactionWatch_v1_unwatch", ident)
        assert over["error"]["code"] == -32602


async def test_one_that_is_in_the_pool_already_is_watched_again(world: TinyWorld) -> None:
    extrinsic = put(b"k", b"v")
    async with world.websocket() as one, world.websocket() as two:
        idents = [await watch(one, extrinsic), await watch(two, extrinsic)]
        for socket, ident in zip((one, two), idents, strict=True):
            assert await event(socket, ident) == {"event": "validated"}
        block_hash = await world.grow(world.chain.genesis_hash, extrinsic)
        application(world).set_best(block_hash)
        for socket, ident in zip((one, two), idents, strict=True):
            assert (await event(socket, ident))["event"] == "bestChainBlockIncluded"
        late = await watch(one, extrinsic)
        assert (await event(one, late))["event"] == "bestChainBlockIncluded"


async def test_an_unwatched_extrinsic_stays_in_the_pool(world: TinyWorld) -> None:
    extrinsic = put(b"k", b"v")
    async with world.websocket() as socket:
        ident = await watch(socket, extrinsic)
        assert await event(socket, ident) == {"event": "validated"}
        assert (await ask(socket, "transaction_v1_stop", ident))["error"]["code"] == -32602
        assert (await ask(socket, "transactionWatch_v1_unwatch", ident))["result"] is None
        again = await ask(socket, "transactionWatch_v1_unwatch", ident)
        assert again["error"]["code"] == -32602
        assert list(world.backend.pool.ready()) == [extrinsic]


async def test_one_for_which_the_pool_has_no_room_is_dropped(world: TinyWorld) -> None:
    pool = world.backend.pool
    object.__setattr__(pool.limits, "count", 1)
    pool.submit(put(b"a longer one has the higher priority", b"v"))
    async with world.websocket() as socket:
        ident = await watch(socket, put(b"k", b"v"))
        told = await event(socket, ident)
        assert told["event"] == "dropped"
        assert "POOL_FULL" in told["error"]
