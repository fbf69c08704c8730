from __future__ import annotations

import random
from collections.abc import AsyncIterator
from importlib import import_module
from itertools import pairwise
from typing import Any

import httpx
import orjson
import pytest
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from node.client.signing import from_uri, sign_extrinsic
from node.rpc.methods import state
from node.service import RunningNode
from runtime.construct import encode_call, storage_key
from runtime.primitives.extrinsic import Extensions, Immortal
from runtime.primitives.hashing import blake2_256
from runtime.primitives.header import Header
from runtime.primitives.keys import ss58_encode
from runtime.state.proof import verify
from tests.node.rpc.conftest import ask
from tests.node.running_node import config, node
from tests.patience import PATIENCE

__all__ = ["config", "node"]

ALICE = from_uri("//Alice")
NUMBER = "0x" + storage_key("System", "Number").hex()
ACCOUNTS = "0x" + storage_key("System", "Account").hex()
NOWHERE = "0x" + "77" * 32


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


async def blocks(node: RunningNode, number: int) -> None:
    with trio.fail_after(PATIENCE):
        while node.chain.finalized().number < number:
            await trio.sleep(0.02)


def signed(node: RunningNode, nonce: int, tip: int = 0, remark: bytes = b"") -> bytes:
    return sign_extrinsic(
        encode_call("System", "remark", remark=remark),
        ALICE,
        Extensions(Immortal(), nonce, tip),
        spec_version=1,
        transaction_version=1,
        genesis_hash=node.chain.genesis_hash,
        birth_hash=node.chain.genesis_hash,
    )


async def test_every_method_that_clients_need_is_listed(socket: WebSocketConnection) -> None:
    listed = set((await result(socket, "rpc_methods"))["methods"])
    needed = """
        account_nextIndex author_pendingExtrinsics author_submitAndWatchExtrinsic
        author_submitExtrinsic author_unwatchExtrinsic chain_getBlock chain_getBlockHash
        chain_getFinalizedHead chain_getHead chain_getHeader chain_subscribeAllHeads
        chain_subscribeFinalizedHeads chain_subscribeNewHead chain_subscribeNewHeads
        chain_unsubscribeAllHeads chain_unsubscribeFinalizedHeads chain_unsubscribeNewHead
        chain_unsubscribeNewHeads openledger_blob_get openledger_blob_put openledger_blob_status
        openledger_proveFinality openledger_whyDropped payment_queryFeeDetails payment_queryInfo
        rpc_methods state_call state_getKeysPaged state_getMetadata state_getReadProof
        state_getRuntimeVersion state_getStorage state_getStorageAt state_getStorageHash
        state_getStorageSize state_queryStorageAt state_subscribeRuntimeVersion
        state_subscribeStorage state_unsubscribeRuntimeVersion state_unsubscribeStorage
        system_accountNextIndex system_chain system_chainType system_health
        system_localListenAddresses system_localPeerId system_name system_nodeRoles system_peers
        system_properties system_version
    """
    assert set(needed.split()) - listed == set()


async def test_a_header_hashes_to_the_blocks_hash(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    await blocks(node, 2)
    block_hash = await result(socket, "chain_getBlockHash", "0x2")
    block = await result(socket, "chain_getBlock", block_hash)
    header = node.chain.header(bytes.fromhex(block_hash[2:]))
    assert header is not None
    assert "0x" + header.hash().hex() == block_hash
    assert block["block"]["header"] == await result(socket, "chain_getHeader", block_hash)
    assert block["block"]["header"]["number"] == "0x2"
    assert await result(socket, "chain_getBlockHash", [0, 2]) == [
        "0x" + node.chain.genesis_hash.hex(),
        block_hash,
    ]


async def test_unknown_blocks_are_null_for_headers_and_errors_for_state(
    socket: WebSocketConnection,
) -> None:
    assert await result(socket, "chain_getHeader", NOWHERE) is None
    assert await result(socket, "chain_getBlock", NOWHERE) is None
    assert await result(socket, "chain_getBlockHash", 4_000_000_000) is None
    for method, params in (
        ("state_getStorage", [NUMBER, NOWHERE]),
        ("state_getKeysPaged", ["0x", 1, None, NOWHERE]),
        ("state_call", ["Core_version", "0x", NOWHERE]),
        ("state_getReadProof", [[NUMBER], NOWHERE]),
    ):
        refusal = await error(socket, method, *params)
        assert refusal["code"] == 4003
        assert "UnknownBlock" in refusal["message"]


async def test_old_states_stay_readable(socket: WebSocketConnection, node: RunningNode) -> None:
    await blocks(node, 5)
    for number in (1, 3, 5):
        block_hash = await result(socket, "chain_getBlockHash", number)
        raw = await result(socket, "state_getStorageAt", NUMBER, block_hash)
        assert int.from_bytes(bytes.fromhex(raw[2:]), "little") == number
        assert await result(socket, "state_getStorageSize", NUMBER, block_hash) == 4
        assert await result(socket, "state_getStorageHash", NUMBER, block_hash) == (
            "0x" + blake2_256(bytes.fromhex(raw[2:])).hex()
        )


async def test_keys_are_paged_in_order_at_one_block(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    await blocks(node, 2)
    at = await result(socket, "chain_getBlockHash", 1)
    everything = await result(socket, "state_getKeysPaged", ACCOUNTS, 1000, None, at)
    assert everything == sorted(everything)
    paged: list[str] = []
    while page := await result(
        socket, "state_getKeysPaged", ACCOUNTS, 4, paged[-1] if paged else None, at
    ):
        paged += page
    assert paged == everything
    (told,) = await result(socket, "state_queryStorageAt", [*everything, "0xdead"], at)
    assert told["block"] == at
    assert told["changes"][-1] == ["0xdead", None]
    assert all(value for _, value in told["changes"][:-1])
    assert (await error(socket, "state_getKeysPaged", ACCOUNTS, 1001))["code"] == -32602


async def test_a_read_proof_proves_the_value(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    await blocks(node, 2)
    at = await result(socket, "chain_getBlockHash", 2)
    told = await result(socket, "state_getReadProof", [NUMBER], at)
    header = node.chain.header(bytes.fromhex(at[2:]))
    assert header is not None
    key = bytes.fromhex(NUMBER[2:])
    proof = [bytes.fromhex(part[2:]) for part in told["proof"]]
    assert verify(header.state_root, proof, [key]) == {key: (2).to_bytes(4, "little")}


async def test_runtime_calls_answer_and_unknown_ones_have_the_text_that_clients_compare(
    socket: WebSocketConnection,
) -> None:
    nonce = await result(
        socket, "state_call", "AccountNonceApi_account_nonce", ALICE.account_id.hex(), None
    )
    assert nonce == "0x00000000"
    assert (await result(socket, "state_call", "Metadata_metadata", "")).startswith("0x")
    assert (await result(socket, "state_getMetadata")).startswith("0x6d6574610e")
    assert (await error(socket, "state_call", "Nothing_here", "0x"))["message"] == (
        "Client error: Execution failed: Other: Exported method Nothing_here is not found"
    )
    refusal = await error(socket, "state_call", "AccountNonceApi_account_nonce", "0x00")
    assert refusal["code"] == 4003
    assert "cannot decode" in refusal["message"]
    assert refusal["message"].count("AccountNonceApi_account_nonce") == 1


async def test_a_transaction_is_told_of_from_the_pool_to_finality(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    data = signed(node, 0)
    ident = await result(socket, "author_submitAndWatchExtrinsic", "0x" + data.hex())
    seen = []
    with trio.fail_after(PATIENCE):
        while True:
            params = orjson.loads(await socket.get_message())["params"]
            assert params["subscription"] == ident
            status = params["result"]
            seen.append(status if isinstance(status, str) else next(iter(status)))
            if seen[-1] == "finalized":
                break
    assert seen == ["ready", "inBlock", "finalized"]
    why = await result(socket, "openledger_whyDropped", "0x" + blake2_256(data).hex())
    assert why["reason"] == "FINALIZED"
    assert why["block"] == status["finalized"]


async def test_every_refusal_of_the_pool_has_its_code(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    async def refusal(data: bytes) -> tuple[int, str, str]:
        told = await error(socket, "author_submitExtrinsic", data.hex())
        return told["code"], told["message"], told.get("data", "")

    future = signed(node, 5)
    await result(socket, "author_submitExtrinsic", future.hex())
    assert ("0x" + future.hex()) in await result(socket, "author_pendingExtrinsics")
    assert (await refusal(future))[:2] == (1013, "Transaction Already Imported")
    assert (await refusal(signed(node, 5, remark=b"other")))[:2] == (1014, "Priority is too low")
    spoilt = bytearray(signed(node, 0))
    spoilt[-1] ^= 1
    assert (await refusal(bytes(spoilt) + b"\0"))[0] == 1001
    code, message, text = await refusal(bytes(spoilt[:-3]) + b"\0\4x")
    assert (code, message) in ((1010, "Invalid Transaction"), (1001, message)), text
    await result(socket, "author_submitExtrinsic", signed(node, 0).hex())
    await blocks(node, node.chain.best().number + 3)
    code, message, text = await refusal(signed(node, 0, remark=b"again"))
    assert (code, message) == (1010, "Invalid Transaction")
    assert text.startswith("Stale")


async def test_the_next_nonce_counts_what_waits_in_the_pool(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    address = ss58_encode(ALICE.account_id)
    assert await result(socket, "system_accountNextIndex", address) == 0
    for nonce in range(3):
        await result(socket, "author_submitExtrinsic", signed(node, nonce).hex())
    assert await result(socket, "account_nextIndex", address) == 3
    assert (await error(socket, "account_nextIndex", "5Nonsense"))["code"] == -32602


async def test_fees_are_told_for_a_transaction_that_is_not_submitted(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    data = signed(node, 0, tip=7).hex()
    best = await result(socket, "chain_getBlockHash")
    info = await result(socket, "payment_queryInfo", data, best)
    fee = (await result(socket, "payment_queryFeeDetails", data, best))["inclusionFee"]
    assert int(info["partialFee"]) == sum(int(part, 16) for part in fee.values())
    assert info["weight"]["ref_time"] > 0


async def test_watched_storage_is_told_first_at_once_then_on_change_only(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    sudo = "0x" + storage_key("Sudo", "Key").hex()
    ident = await result(socket, "state_subscribeStorage", [NUMBER, sudo])
    first = orjson.loads(await socket.get_message())["params"]["result"]
    assert [key for key, _ in first["changes"]] == [NUMBER, sudo]
    for _ in range(3):
        later = orjson.loads(await socket.get_message())["params"]["result"]
        assert [key for key, _ in later["changes"]] == [NUMBER]
    await socket.send_message(
        orjson.dumps(
            {"jsonrpc": "2.0", "id": 9, "method": "state_unsubscribeStorage", "params": [ident]}
        ).decode()
    )
    while True:
        answer = orjson.loads(await socket.get_message())
        if answer.get("id") == 9:
            break
    assert answer["result"] is True


async def test_finality_is_proven_for_any_final_block(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    await blocks(node, 3)
    told = await result(socket, "openledger_proveFinality", 2)
    headers = [Header.decode(bytes.fromhex(text[2:])) for text in told["headers"]]
    assert headers[-1].number == 2
    assert "0x" + headers[0].hash().hex() == told["block"]
    for child, parent in pairwise(headers):
        assert child.parent_hash == parent.hash()
    assert len(told["proof"]) > 130
    assert await result(socket, "openledger_proveFinality", 4_000_000) is None


async def test_the_ends_of_epochs_and_evidence_are_told(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    assert await result(socket, "openledger_proveEpochs", 0) == []
    assert await result(socket, "openledger_evidence") == []
    await socket.send_message(
        '{"jsonrpc":"2.0","id":5,"method":"openledger_subscribeJustifications","params":[]}'
    )
    told = None
    while told is None:
        told = orjson.loads(await socket.get_message()).get("params")
    block = bytes.fromhex(told["result"]["block"][2:])
    proof = node.chain.justification(block)
    assert proof is not None
    assert told["result"]["proof"] == "0x" + proof.hex()


async def test_no_method_fails_on_random_parameters(
    socket: WebSocketConnection, node: RunningNode, caplog: pytest.LogCaptureFixture
) -> None:
    source = random.Random(3)
    pieces: list[Any] = [
        None, True, 0, -1, 1, 2**32, 2**64 - 1, 1.5, "", "0x", "0x0", "zz", NUMBER, ACCOUNTS,
        NOWHERE, "0x" + node.chain.genesis_hash.hex(), ss58_encode(ALICE.account_id), [],
        [NUMBER], [[]], {}, {"a": 1}, "0x" + signed(node, 0).hex(), "Core_version",
        "BlockBuilder_apply_extrinsic",
        "TaggedTransactionQueue_validate_transaction", "TransactionPaymentApi_query_info", "é",
    ]  # fmt: skip
    methods = (await result(socket, "rpc_methods"))["methods"]
    bodies = []
    for ident, method in enumerate(method for method in methods for _ in range(12)):
        params = [source.choice(pieces) for _ in range(source.randrange(5))]
        bodies.append({"jsonrpc": "2.0", "id": ident, "method": method, "params": params})

    async def ask_all() -> None:
        for body in bodies:
            await socket.send_message(orjson.dumps(body).decode())

    answered = set()
    async with trio.open_nursery() as asking:  # who does not read is not listened to
        asking.start_soon(ask_all)
        while len(answered) < len(bodies):
            with trio.fail_after(PATIENCE):
                answer = orjson.loads(await socket.get_message())
            if "id" in answer:
                answered.add(answer["id"])
                assert answer.get("error", {}).get("code") != -32603, methods[answer["id"] // 12]
    assert "failed on a request" not in caplog.text


@pytest.mark.parametrize("kind", ["New", "Finalized", "All"])
async def test_every_subscriber_sees_each_head_once_whenever_it_comes(
    socket: WebSocketConnection, node: RunningNode, kind: str
) -> None:
    seen: dict[str, list[int]] = {}
    with trio.fail_after(PATIENCE):
        while len(seen) < 25 or min(map(len, seen.values())) < 3:
            if len(seen) < 25:
                body = {"jsonrpc": "2.0", "id": 1, "method": f"chain_subscribe{kind}Heads"}
                await socket.send_message(orjson.dumps(body).decode())
            message = orjson.loads(await socket.get_message())
            if "result" in message:
                seen[message["result"]] = []
            else:
                params = message["params"]
                seen[params["subscription"]].append(int(params["result"]["number"], 16))
    for numbers in seen.values():
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_health_tells_the_age_of_finality(node: RunningNode) -> None:
    host, port = node.rpc_address
    await blocks(node, 1)
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        response = await client.get(f"http://{host}:{port}/health")
    assert response.status_code == 200
    assert response.json()["finalized"] >= 1


async def test_values_too_long_together_are_refused(
    socket: WebSocketConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "MOST_READ_BYTES", 100)
    assert len((await result(socket, "state_queryStorageAt", [NUMBER]))[0]["changes"]) == 1
    for method in ("state_queryStorageAt", "state_subscribeStorage"):
        assert (await error(socket, method, [NUMBER] * 9))["code"] == -32008


async def test_the_keys_watched_by_all_are_bounded(
    node: RunningNode, socket: WebSocketConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscriptions = import_module("node.rpc.methods.state_subscriptions")
    monkeypatch.setattr(subscriptions, "_MOST_WATCHED_BY_ALL", 2)
    host, port = node.rpc_address
    async with open_websocket_url(f"ws://{host}:{port}") as other:
        await result(other, "state_subscribeStorage", [NUMBER, ACCOUNTS])
        assert (await error(socket, "state_subscribeStorage", [NUMBER]))["code"] == -32009
    with trio.fail_after(PATIENCE):
        while "error" in await ask(socket, "state_subscribeStorage", [NUMBER]):
            await trio.sleep(0.02)


async def test_arguments_longer_than_any_extrinsic_are_not_decoded(
    node: RunningNode, socket: WebSocketConnection
) -> None:
    most = node.pool.limits.extrinsic_bytes
    for size, told in ((most, "is not found"), (most + 100, "too many")):
        refused = await error(socket, "state_call", "NoSuchApi_call", "00" * size)
        assert (refused["code"], told in refused["message"]) == (4003, True)
