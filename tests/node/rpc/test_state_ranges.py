from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from node.rpc.methods import state_ranges
from node.service import RunningNode
from runtime.construct import storage_key
from runtime.state.proof import verify
from tests.node.rpc.conftest import ask
from tests.node.running_node import config, node
from tests.patience import PATIENCE

__all__ = ["config", "node"]

NUMBER = "0x" + storage_key("System", "Number").hex()
SYSTEM = "0x" + storage_key("System", "Number")[:16].hex()
NOBODY = "0x" + "ab" * 40
CHILD = "0x" + b":child_storage:default:trie".hex()


@pytest.fixture
async def socket(node: RunningNode) -> AsyncIterator[WebSocketConnection]:
    host, port = node.rpc_address
    async with open_websocket_url(f"ws://{host}:{port}") as opened:
        yield opened


async def result(socket: WebSocketConnection, method: str, *params: Any) -> Any:
    answer = await ask(socket, method, *params)
    assert "error" not in answer, answer
    return answer["result"]


async def error(socket: WebSocketConnection, method: str, *params: Any) -> Any:
    answer = await ask(socket, method, *params)
    assert "result" not in answer, answer
    return answer["error"]


async def hashes(socket: WebSocketConnection, node: RunningNode, last: int) -> list[str]:
    with trio.fail_after(PATIENCE):
        while node.chain.finalized().number < last:
            await trio.sleep(0.02)
    found: list[str] = await result(socket, "chain_getBlockHash", list(range(last + 1)))
    return found


async def test_keys_and_pairs_are_those_of_the_pages(socket: WebSocketConnection) -> None:
    at = await result(socket, "chain_getFinalizedHead")
    paged = await result(socket, "state_getKeysPaged", SYSTEM, 1000, None, at)
    assert len(paged) > 5
    assert await result(socket, "state_getKeys", SYSTEM, at) == paged
    pairs = await result(socket, "state_getPairs", SYSTEM[2:], at)
    assert [key for key, _ in pairs] == paged
    for key, value in pairs[:5]:
        assert await result(socket, "state_getStorage", key, at) == value


async def test_too_many_keys_are_refused_with_the_way_to_read_them(
    socket: WebSocketConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_ranges, "MOST_ENTRIES", 3)
    refusal = await error(socket, "state_getPairs", "0x")
    assert refusal["code"] == 4002
    assert refusal["message"] == "count exceeds maximum value. value: 4, max: 3"
    assert "state_getKeysPaged" in refusal["data"]
    monkeypatch.setattr(state_ranges, "MOST_READ_BYTES", 10)
    monkeypatch.setattr(state_ranges, "MOST_ENTRIES", 10_000)
    assert (await error(socket, "state_getKeys", None))["code"] == -32008


async def test_a_range_tells_the_first_values_and_then_what_changed(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    blocks = await hashes(socket, node, 4)
    found = await result(socket, "state_queryStorage", [NUMBER, NOBODY], blocks[1], blocks[4])
    assert [change["block"] for change in found] == blocks[1:5]
    assert found[0]["changes"] == [[NUMBER, "0x01000000"], [NOBODY, None]]
    assert found[3]["changes"] == [[NUMBER, "0x04000000"]]
    open_end = await result(socket, "state_queryStorage", [NUMBER], blocks[4])
    assert open_end[0]["changes"] == [[NUMBER, "0x04000000"]]


async def test_a_range_that_is_none_is_refused(
    socket: WebSocketConnection, node: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = await hashes(socket, node, 3)
    backwards = await error(socket, "state_queryStorage", [NUMBER], blocks[3], blocks[1])
    assert backwards["code"] == 4001
    assert backwards["message"].startswith(f"Cannot resolve a block range ['{blocks[3]}'")
    nowhere = await error(socket, "state_queryStorage", [NUMBER], "0x" + "11" * 32)
    assert nowhere["code"] == 4003
    monkeypatch.setattr(state_ranges, "MOST_BLOCKS", 2)
    long = await error(socket, "state_queryStorage", [NUMBER], blocks[0], blocks[2])
    assert (long["code"], long["message"][-16:]) == (4002, "value: 3, max: 2")


async def test_child_tries_are_absent_and_that_is_proven(socket: WebSocketConnection) -> None:
    at = await result(socket, "chain_getFinalizedHead")
    for method in ("Storage", "StorageHash", "StorageSize"):
        assert await result(socket, f"childstate_get{method}", CHILD, "0x01", at) is None
    assert await result(socket, "childstate_getStorageEntries", CHILD, ["0x", "0x01"]) == [
        None,
        None,
    ]
    assert await result(socket, "childstate_getKeys", CHILD, None) == []
    assert await result(socket, "childstate_getKeysPaged", CHILD, "0x", 10, None, at) == []
    proof = await result(socket, "state_getChildReadProof", CHILD, ["0x01"], at)
    header = await result(socket, "chain_getHeader", at)
    nodes = [bytes.fromhex(node[2:]) for node in proof["proof"]]
    key = bytes.fromhex(CHILD[2:])
    assert verify(bytes.fromhex(header["stateRoot"][2:]), nodes, [key]) == {key: None}
    for bad in ("0x", NUMBER, "0x" + b":child_storage:other:x".hex()):
        refusal = await error(socket, "childstate_getStorage", bad, "0x01")
        assert refusal["message"] == "Client error: Invalid child storage key"
    gone = await error(socket, "childstate_getKeys", CHILD, None, "0x" + "11" * 32)
    assert gone["code"] == 4003


async def test_a_read_proof_holds_every_key_asked(socket: WebSocketConnection) -> None:
    at = await result(socket, "chain_getFinalizedHead")
    wanted = (await result(socket, "state_getKeysPaged", "0x", 40, None, at)) + [NOBODY]
    proof = await result(socket, "state_getReadProof", wanted, at)
    header = await result(socket, "chain_getHeader", at)
    nodes = [bytes.fromhex(node[2:]) for node in proof["proof"]]
    shown = verify(
        bytes.fromhex(header["stateRoot"][2:]), nodes, [bytes.fromhex(key[2:]) for key in wanted]
    )
    for key in wanted[:3]:
        value = await result(socket, "state_getStorage", key, at)
        assert "0x" + (shown[bytes.fromhex(key[2:])] or b"").hex() == value
    assert shown[bytes.fromhex(NOBODY[2:])] is None


async def test_a_block_is_traced_on_its_parents_state(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    blocks = await hashes(socket, node, 2)
    trace = (await result(socket, "state_traceBlock", blocks[2]))["blockTrace"]
    assert (trace["blockHash"], trace["parentHash"]) == (blocks[2][2:], blocks[1][2:])
    names = [span["name"] for span in trace["spans"]]
    assert names == ["execute_block", "initialize_block", "apply_extrinsic", "finalize_block"]
    texts = [event["data"]["stringValues"] for event in trace["events"]]
    assert {text["method"] for text in texts} == {"Get", "Put"}
    writes = await result(socket, "state_traceBlock", blocks[2], "state", NUMBER[2:], "Put")
    (event,) = writes["blockTrace"]["events"]
    assert event["data"]["stringValues"] == {
        "method": "Put",
        "key": NUMBER[2:],
        "value": "Some(02000000)",
        "value_encoded": "011002000000",
    }
    assert writes["blockTrace"]["spans"] == []
    assert (await error(socket, "state_traceBlock", blocks[0]))["code"] == 4003
    assert (await error(socket, "state_traceBlock", "0x" + "11" * 32))["code"] == 4003
    assert (await error(socket, "state_traceBlock", blocks[2], None, "0xz"))["code"] == -32602


async def test_a_subscription_to_all_keys_is_refused_with_what_to_do(
    socket: WebSocketConnection,
) -> None:
    for params in ([], [None]):
        refusal = await error(socket, "state_subscribeStorage", *params)
        assert refusal["code"] == -32602
        assert "System.Events" in refusal["data"]
