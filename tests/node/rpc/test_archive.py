"""`archive_v1_*` about blocks: what is known, what is pruned, what several forks hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio_websocket import open_websocket_url

from node.errors import StatePruned
from node.service import RunningNode
from node.storage.layout import NODE
from node.storage.pruning import Pruning
from runtime.construct import storage_key
from runtime.primitives.header import Header
from runtime.primitives.scale import decode
from tests.node.rpc.conftest import ask
from tests.node.rpc.tiny_world import TinyWorld, events, tiny_world
from tests.node.running_node import config, node
from tests.node.tiny_runtime import put
from tests.patience import PATIENCE

__all__ = ["config", "node"]

NOWHERE = "0x" + "77" * 32


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


async def result(socket: Any, method: str, *params: Any) -> Any:
    answer = await ask(socket, method, *params)
    assert "error" not in answer, answer
    return answer["result"]


async def test_forks_share_a_height_until_one_of_them_is_final(tmp_path: Path) -> None:
    async with tiny_world(tmp_path) as world, world.websocket() as socket:
        genesis = world.chain.genesis_hash
        left = await world.grow(genesis, put(b"k", b"left"))
        right = await world.grow(genesis, put(b"k", b"right"))
        above = await world.grow(right)
        world.chain.set_best(above)
        assert await result(socket, "archive_v1_hashByHeight", 0) == [hexed(genesis)]
        both = [hexed(right), hexed(left)]
        assert await result(socket, "archive_v1_hashByHeight", 1) == both
        assert await result(socket, "archive_v1_hashByHeight", 2) == [hexed(above)]
        assert await result(socket, "archive_v1_finalizedHeight") == 0
        for height in (3, 1 << 40, (1 << 64) - 1):
            assert await result(socket, "archive_v1_hashByHeight", height) == []
        await world.chain.finalize(left, None)
        assert await result(socket, "archive_v1_hashByHeight", 1) == [hexed(left)]
        assert await result(socket, "archive_v1_hashByHeight", 2) == []
        assert await result(socket, "archive_v1_finalizedHeight") == 1
        assert await result(socket, "archive_v1_header", hexed(above)) is None
        assert await result(socket, "archive_v1_body", hexed(above)) is None
        (last,) = await events(socket, "archive_v1_storage", hexed(above), [], None)
        assert last["event"] == "storageError"
        assert "is not known" in last["error"]


@pytest.mark.parametrize("final", [False, True])
async def test_a_block_is_read_whether_final_or_not(tmp_path: Path, final: bool) -> None:
    async with tiny_world(tmp_path) as world, world.websocket() as socket:
        extrinsics = put(b"k", b"v"), put(b"a", None)
        if final:
            block_hash = await world.grow_final(*extrinsics)
        else:
            block_hash = await world.grow(world.chain.genesis_hash, *extrinsics)
        header = await result(socket, "archive_v1_header", hexed(block_hash))
        assert decode(Header, bytes.fromhex(header[2:])).hash() == block_hash
        body = await result(socket, "archive_v1_body", hexed(block_hash))
        assert body[1:] == [hexed(extrinsic) for extrinsic in extrinsics]
        genesis = hexed(world.chain.genesis_hash)
        assert await result(socket, "archive_v1_genesisHash") == genesis
        assert await result(socket, "archive_v1_body", genesis) == []


async def test_unknown_blocks_are_null_and_malformed_parameters_refused(tmp_path: Path) -> None:
    async with tiny_world(tmp_path) as world, world.websocket() as socket:
        for method, *more in (
            ("archive_v1_header",),
            ("archive_v1_body",),
            ("archive_v1_call", "Core_version", ""),
        ):
            assert await result(socket, method, NOWHERE, *more) is None
        for method, *params in (
            ("archive_v1_header", "0x00"),
            ("archive_v1_header",),
            ("archive_v1_hashByHeight", -1),
            ("archive_v1_hashByHeight", "x"),
            ("archive_v1_call", NOWHERE, 7, "0x"),
            ("archive_v1_call", NOWHERE, "Core_version", "0xz"),
            ("archive_v1_stopStorage", 5),
            ("archive_v1_stopStorageDiff",),
        ):
            assert (await ask(socket, method, *params))["error"]["code"] == -32602, method
        assert len(world.chain.blocks_at(0)) == 1


async def test_calls_are_made_with_the_state_of_the_block(node: RunningNode) -> None:
    host, port = node.rpc_address
    with trio.fail_after(PATIENCE):
        while node.chain.finalized().number < 3:
            await trio.sleep(0.05)
    async with open_websocket_url(f"ws://{host}:{port}") as socket:
        block_hash = node.chain.block_hash(2)
        assert block_hash is not None
        method = "archive_v1_call"
        version = await result(socket, method, hexed(block_hash), "Core_version", "")
        assert version["success"] is True
        legacy = await result(socket, "state_call", "Core_version", "0x", hexed(block_hash))
        assert version["value"] == legacy
        unknown = await result(socket, method, hexed(block_hash), "Core_nothing", "0x")
        assert unknown["success"] is False
        assert "Core_nothing" in unknown["error"]
        name = "AccountNonceApi_account_nonce"
        malformed = await result(socket, method, hexed(block_hash), name, "0x00")
        assert malformed["success"] is False
        number = hexed(storage_key("System", "Number"))
        items = [{"key": number, "type": "value"}]
        found = await events(socket, "archive_v1_storage", hexed(block_hash), items, None)
        assert found == [
            {"event": "storage", "key": number, "value": "0x02000000"},
            {"event": "storageDone"},
        ]


async def test_a_pruned_state_says_which_node_to_ask(tmp_path: Path) -> None:
    async with tiny_world(tmp_path, pruning=Pruning(2)) as world, world.websocket() as socket:
        blocks = [await world.grow_final(put(b"k", bytes([i]) * 40)) for i in range(6)]
        with pytest.raises(StatePruned):
            world.chain.state_at(blocks[1])
        old = hexed(blocks[1])
        assert await result(socket, "archive_v1_header", old) is not None
        failed = await result(socket, "archive_v1_call", old, "Core_version", "0x")
        assert failed["success"] is False
        assert "--state-pruning archive" in failed["error"]
        items = [{"key": "0x", "type": "descendantsValues"}]
        (last,) = await events(socket, "archive_v1_storage", old, items, None)
        assert last["event"] == "storageError"
        assert "--state-pruning archive" in last["error"]
        (last,) = await events(socket, "archive_v1_storageDiff", old)
        assert last["event"] == "storageDiffError"
        assert "--state-pruning archive" in last["error"]
        found = await events(socket, "archive_v1_storageDiff", hexed(blocks[5]))
        assert [event["event"] for event in found] == ["storageDiff"] * 2 + ["storageDiffDone"]


async def test_a_pruned_body_is_null_and_its_header_is_not(tmp_path: Path) -> None:
    pruning = Pruning(None, blocks=2)
    async with tiny_world(tmp_path, pruning=pruning) as world, world.websocket() as socket:
        blocks = [await world.grow_final(put(b"k", bytes([i]))) for i in range(6)]
        assert await result(socket, "archive_v1_header", hexed(blocks[1])) is not None
        assert await result(socket, "archive_v1_body", hexed(blocks[1])) is None
        assert await result(socket, "archive_v1_body", hexed(blocks[5])) is not None
        assert await result(socket, "archive_v1_hashByHeight", 2) == [hexed(blocks[1])]


async def test_a_state_pruned_under_a_stream_is_an_error_event(tmp_path: Path) -> None:
    async with tiny_world(tmp_path) as world, world.websocket() as socket:
        block_hash = await world.grow_final(put(b"k", b"v"))
        await lose_nodes(world)
        await world.grow_final()
        queries = [{"key": hexed(b"k"), "type": "value"}]
        (last,) = await events(socket, "archive_v1_storage", hexed(block_hash), queries, None)
        assert last["event"] == "storageError"
        assert "--state-pruning archive" in last["error"]


async def lose_nodes(world: TinyWorld) -> None:
    """Delete all trie nodes, as a pruning would that the chain's figures do not know of."""
    found = [key for key, _ in world.chain._db.iterate(NODE)]
    world.chain._db.write((key, None) for key in found)
