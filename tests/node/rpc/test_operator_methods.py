"""What the operator of a running node asks and changes through JSON-RPC."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from nacl.signing import VerifyKey
from trio_websocket import WebSocketConnection, open_websocket_url

from consensus.session_key import key_bytes
from node import node_keys
from node.client.signing import from_uri, sign_extrinsic
from node.keystore import Keystore, Stretching
from node.network_config import NetworkConfig
from node.node_keys import CONSENSUS
from node.service import NodeConfig, RunningNode, run_node
from node.storage.pruning import Pruning
from runtime.construct import encode_call
from runtime.primitives.extrinsic import Extensions, Immortal
from runtime.primitives.hashing import blake2_256
from runtime.primitives.keys import ss58_encode
from tests.node.rpc.conftest import ask
from tests.node.rpc.test_methods import signed
from tests.node.running_node import config, node
from tests.patience import PATIENCE

__all__ = ["config", "node"]

ALICE = from_uri("//Alice").account_id
PEER = "12D3KooWRX6MvKvcAVnkoE9n2TKmFvVsnPLcmMZwMYXbSa5AzCzw"


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


@pytest.fixture
async def keeper(
    config: NodeConfig, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[WebSocketConnection]:
    """A node that knows its keystore's password."""
    cheap = partial(Keystore, stretching=Stretching.INSECURE)
    monkeypatch.setattr(node_keys, "Keystore", cheap)
    running = await nursery.start(run_node, replace(config, keystore_password="secret"))
    host, port = running.rpc_address
    async with open_websocket_url(f"ws://{host}:{port}") as opened:
        yield opened


async def test_a_rotation_gives_a_key_and_the_proof_to_register_it(
    keeper: WebSocketConnection, config: NodeConfig
) -> None:
    made = await result(keeper, "author_rotateKeysWithOwner", ss58_encode(ALICE))
    public, proof = bytes.fromhex(made["keys"][2:]), bytes.fromhex(made["proof"][2:])
    genesis = bytes.fromhex((await result(keeper, "chain_getBlockHash", 0))[2:])
    VerifyKey(public).verify(key_bytes(genesis, ALICE), proof)
    assert (
        await result(keeper, "openledger_keyProof", made["keys"], ss58_encode(ALICE))
        == (made["proof"])
    )
    assert await result(keeper, "author_hasSessionKeys", made["keys"]) is True
    assert await result(keeper, "author_hasKey", made["keys"], "smpx") is True
    assert await result(keeper, "author_hasKey", "0x" + "11" * 32, "consensus") is False
    in_use = "0x" + from_uri("//Alice", "ed25519").public.hex()
    assert await result(keeper, "author_hasSessionKeys", in_use) is True
    again = await error(keeper, "author_rotateKeys")
    assert (again["code"], again["data"][:8]) == (1040, "WAITING:")
    with Keystore(config.paths.keystore_next, "secret") as keystore:
        assert keystore.load(CONSENSUS).public == public


async def test_a_key_is_inserted_if_it_fits(keeper: WebSocketConnection) -> None:
    public = "0x" + from_uri("//Worker").public.hex()
    assert await result(keeper, "author_insertKey", "worker", "//Worker", public) is None
    assert await result(keeper, "author_hasKey", public, "worker") is True
    refused = await error(keeper, "author_insertKey", "voucher", "//Other", public)
    assert refused["data"].startswith("OTHER_PUBLIC: ")
    bad = await error(keeper, "author_insertKey", "voucher", "no such words", public)
    assert bad["code"] == 1040
    assert "no such words" not in str(bad)


async def test_without_a_password_the_refusal_says_what_to_do(socket: WebSocketConnection) -> None:
    refused = await error(socket, "author_rotateKeys")
    assert refused["data"].startswith("NO_PASSWORD: ")
    assert "--password-filename" in refused["data"]


async def test_an_extrinsic_is_taken_out_and_kept_out(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    waiting = [signed(node, nonce) for nonce in (5, 6)]
    for extrinsic in waiting:
        await result(socket, "author_submitExtrinsic", "0x" + extrinsic.hex())
    named = [{"hash": "0x" + blake2_256(waiting[0]).hex()}, {"extrinsic": "0x" + waiting[1].hex()}]
    removed = await result(socket, "author_removeExtrinsic", named)
    assert removed == ["0x" + blake2_256(extrinsic).hex() for extrinsic in waiting]
    assert await result(socket, "author_pendingExtrinsics") == []
    assert await result(socket, "author_removeExtrinsic", [removed[0]]) == []
    why = await result(socket, "openledger_whyDropped", removed[0])
    assert why["reason"] == "REMOVED"
    banned = await error(socket, "author_submitExtrinsic", "0x" + waiting[0].hex())
    assert banned["code"] == 1012
    assert (await error(socket, "author_removeExtrinsic", [{"nonce": 1}]))["code"] == -32602


async def test_notes_are_kept_on_the_node(socket: WebSocketConnection, config: NodeConfig) -> None:
    where = ("PERSISTENT", "0x6b")
    assert await result(socket, "offchain_localStorageGet", *where) is None
    assert await result(socket, "offchain_localStorageSet", *where, "0x76") is None
    assert await result(socket, "offchain_localStorageGet", *where) == "0x76"
    assert config.paths.notes.read_text() == '{"6b": "76"}'
    assert await result(socket, "offchain_localStorageClear", *where) is None
    assert await result(socket, "offchain_localStorageGet", *where) is None
    local = await error(socket, "offchain_localStorageGet", "LOCAL", "0x6b")
    assert (local["code"], local["message"]) == (5001, "This storage kind is not available yet")
    assert (await error(socket, "offchain_localStorageGet", "OTHER", "0x6b"))["code"] == -32602


async def test_log_levels_change_and_come_back(socket: WebSocketConnection) -> None:
    pool = logging.getLogger("openledger.pool")
    before = pool.level
    assert await result(socket, "system_addLogFilter", "pool=debug") is None
    assert pool.level == logging.DEBUG
    assert await result(socket, "system_addLogFilter", "pool=error") is None
    assert await result(socket, "system_resetLogFilter") is None
    assert pool.level == before
    refused = await error(socket, "system_addLogFilter", "pool=loud")
    assert (refused["code"], "levels are" in refused["data"]) == (-32602, True)


async def test_a_node_without_a_network_reserves_nobody(socket: WebSocketConnection) -> None:
    address = f"/ip4/127.0.0.1/tcp/30333/p2p/{PEER}"
    refused = await error(socket, "system_addReservedPeer", address)
    assert "--no-network" in refused["data"]
    assert await result(socket, "system_reservedPeers") == []
    state = await result(socket, "system_unstable_networkState")
    assert (state["peerId"], state["connectedPeers"]) == ("", {})


async def test_a_reserved_peer_is_called_at_once_and_shown(
    config: NodeConfig, nursery: trio.Nursery, tmp_path: Path
) -> None:
    alone = NetworkConfig(listen=("/ip4/127.0.0.1/tcp/0",), reserved_only=True)
    first = replace(config, network=alone)
    second = replace(config, base_path=tmp_path / "two", key_seed=None, network=alone)
    one: RunningNode = await nursery.start(run_node, first)
    two: RunningNode = await nursery.start(run_node, second)
    async with (
        open_websocket_url("ws://{}:{}".format(*one.rpc_address)) as here,
        open_websocket_url("ws://{}:{}".format(*two.rpc_address)) as there,
    ):
        address = (await result(there, "system_localListenAddresses"))[0]
        its_id = await result(there, "system_localPeerId")
        own_id = await result(here, "system_localPeerId")
        own_address = (await result(here, "system_localListenAddresses"))[0]
        assert await result(there, "system_addReservedPeer", own_address) is None
        assert await result(here, "system_addReservedPeer", address) is None
        assert await result(here, "system_reservedPeers") == [its_id]
        with trio.fail_after(PATIENCE):
            while not await result(here, "system_peers"):
                await trio.sleep(0.05)
        state = await result(here, "system_unstable_networkState")
        with trio.fail_after(PATIENCE):  # of two connections made at once one is given up
            while its_id not in state["connectedPeers"]:
                await trio.sleep(0.05)
                state = await result(here, "system_unstable_networkState")
        assert state["connectedPeers"][its_id]["reserved"] is True
        assert state["totalBytesOutbound"] > 0
        assert await result(here, "system_removeReservedPeer", its_id) is None
        assert await result(here, "system_reservedPeers") == []
        gone = await error(here, "system_removeReservedPeer", own_id)
        assert gone["code"] == -32602
        bad = await error(here, "system_addReservedPeer", "/ip4/127.0.0.1/tcp/1")
        assert "peer id" in bad["data"]


async def test_metrics_count_calls_failures_and_connections(
    config: NodeConfig, nursery: trio.Nursery
) -> None:
    running: RunningNode = await nursery.start(
        run_node, replace(config, prometheus=("127.0.0.1", 0))
    )
    assert running.prometheus_address is not None
    async with open_websocket_url("ws://{}:{}".format(*running.rpc_address)) as socket:
        await result(socket, "chain_subscribeNewHeads")
        for _ in range(3):
            await socket.get_message()
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            where = "http://{}:{}".format(*running.rpc_address)
            for method in ("system_name", "no_such_method", "state_getStorage"):
                body = {"jsonrpc": "2.0", "id": 1, "method": method}
                await client.post(where, json=body)
            figures = "http://{}:{}/metrics".format(*running.prometheus_address)
            told = (await client.get(figures)).text.splitlines()
    calls = 'substrate_rpc_calls_finished_total{{is_error="{}",method="{}"}} 1.0'.format
    assert calls("false", "system_name") in told
    assert calls("true", "unknown") in told
    assert calls("true", "state_getStorage") in told
    assert "openledger_rpc_subscriptions 1.0" in told
    assert "substrate_rpc_connections 2.0" in told
    assert 'openledger_rpc_waiting{work="rules"} 0.0' in told


async def test_what_a_rotation_gives_is_what_the_chain_takes(
    keeper: WebSocketConnection,
) -> None:
    made = await result(keeper, "author_rotateKeysWithOwner", ss58_encode(ALICE))
    genesis = bytes.fromhex((await result(keeper, "chain_getBlockHash", 0))[2:])
    key, proof = (bytes.fromhex(made[name][2:]) for name in ("keys", "proof"))
    extrinsic = sign_extrinsic(
        encode_call("Session", "set_keys", key=key, proof=proof),
        from_uri("//Alice"),
        Extensions(Immortal(), 0, 0),
        spec_version=1,
        transaction_version=1,
        genesis_hash=genesis,
        birth_hash=genesis,
    )
    run = await result(keeper, "openledger_dryRun", "0x" + extrinsic.hex())
    assert (run["success"], run["error"]) == (True, None)


async def test_pruned_states_are_told_in_the_words_that_clients_know(
    config: NodeConfig, nursery: trio.Nursery
) -> None:
    running: RunningNode = await nursery.start(run_node, replace(config, pruning=Pruning(window=2)))
    with trio.fail_after(PATIENCE):
        while running.chain.kept.states < 2:
            await trio.sleep(0.02)
    async with open_websocket_url("ws://{}:{}".format(*running.rpc_address)) as socket:
        old = await result(socket, "chain_getBlockHash", 1)
        read = await error(socket, "state_getStorage", "0x00", old)
        assert read["message"] == f"Client error: UnknownBlock: State already discarded for {old}"
        for method, *params in (
            ("state_getRuntimeVersion",),
            ("state_call", "Core_version", "0x"),
            ("state_getMetadata",),
            ("openledger_dryRun", "0x00"),
        ):
            called = await error(socket, method, *params, old)
            text = "Client error: Api called for an unknown Block: State already discarded for "
            assert called["message"] == text + old
        traced = await error(socket, "state_traceBlock", old)
        assert traced["message"].startswith("Client error: UnknownBlock: State already discarded")
