from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from node.client.signing import from_uri, sign_extrinsic
from node.native_runtime import NativeRuntime
from node.service import RunningNode
from runtime.construct import encode_call
from runtime.primitives.extrinsic import Extensions, Immortal
from runtime.primitives.hashing import blake2_256
from runtime.primitives.types import Id
from tests.node.rpc.conftest import ask
from tests.node.running_node import config, node

__all__ = ["config", "node"]

ALICE = from_uri("//Alice")
BOB = from_uri("//Bob").account_id
OPEN = 10**18


@pytest.fixture
async def socket(node: RunningNode) -> AsyncIterator[WebSocketConnection]:
    host, port = node.rpc_address
    async with open_websocket_url(f"ws://{host}:{port}") as opened:
        yield opened


def transfer(node: RunningNode, value: int, nonce: int = 0) -> str:
    extrinsic = sign_extrinsic(
        encode_call("Balances", "transfer_keep_alive", dest=Id(BOB), value=value),
        ALICE,
        Extensions(Immortal(), nonce, 0),
        spec_version=1,
        transaction_version=1,
        genesis_hash=node.chain.genesis_hash,
        birth_hash=node.chain.genesis_hash,
    )
    return "0x" + extrinsic.hex()


async def dry(socket: WebSocketConnection, *params: Any) -> Any:
    return (await ask(socket, "openledger_dryRun", *params))["result"]


async def test_a_dry_run_of_a_good_extrinsic_tells_its_fee(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    extrinsic = transfer(node, OPEN)
    best = "0x" + node.chain.best().hash.hex()  # the price of weight moves with every block
    found = await dry(socket, extrinsic, best)
    assert (found["valid"], found["success"], found["refusal"], found["error"]) == (
        True,
        True,
        None,
        None,
    )
    info = (await ask(socket, "payment_queryInfo", extrinsic, best))["result"]
    assert found["fee"] == info["partialFee"]
    assert found["weight"]["refTime"] == str(info["weight"]["ref_time"])
    assert all(event.startswith("0x0001000000") for event in found["events"])
    assert (await ask(socket, "system_dryRun", extrinsic))["result"] == "0x0000"
    assert (await ask(socket, "system_dryRunAt", extrinsic, None))["result"] == "0x0000"
    assert len(node.pool) == 0


async def test_a_dry_run_of_a_failing_call_names_pallet_error_and_text(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    extrinsic = transfer(node, 10**30)
    found = await dry(socket, extrinsic)
    assert (found["valid"], found["success"]) == (True, False)
    assert set(found["error"]) == {"pallet", "name", "text"}
    assert all(found["error"].values())
    assert (await ask(socket, "system_dryRun", extrinsic))["result"][:6] == "0x0001"


async def test_a_dry_run_of_a_refused_extrinsic_says_why(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    found = await dry(socket, transfer(node, OPEN, nonce=7))
    assert (found["valid"], found["success"], found["events"]) == (False, False, [])
    assert found["refusal"]["reason"] == "Future"
    assert found["refusal"]["detail"]
    garbage = await dry(socket, "0x1234")
    assert garbage["refusal"]["reason"] == "Malformed"
    far = await ask(socket, "openledger_dryRun", "0x" + "00" * (600 << 10))
    assert "TooLarge" in far["error"]["message"]
    nowhere = await ask(socket, "openledger_dryRun", "0x1234", "0x" + "77" * 32)
    assert nowhere["error"]["code"] == 4003


async def test_many_dry_runs_take_turns_while_the_loop_goes_on(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    extrinsic = transfer(node, OPEN)
    found: list[Any] = []

    async def one() -> None:
        host, port = node.rpc_address
        async with open_websocket_url(f"ws://{host}:{port}") as own:
            found.append(await dry(own, extrinsic))

    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(one)
        assert (await ask(socket, "system_name"))["result"]
    assert [run["success"] for run in found] == [True] * 12


async def test_what_took_long_once_is_called_beside_the_loop_afterwards(
    socket: WebSocketConnection, node: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    plain = NativeRuntime.call_api

    def slow(self: NativeRuntime, *arguments: Any) -> bytes:
        threads.append(threading.current_thread().name)
        if arguments[2] == "AccountNonceApi_account_nonce":
            end = time.thread_time() + 0.06
            while time.thread_time() < end:
                pass
        return plain(self, *arguments)

    monkeypatch.setattr(NativeRuntime, "call_api", slow)
    calls = ("AccountNonceApi_account_nonce", "0x" + ALICE.account_id.hex())
    for _ in range(3):
        assert (await ask(socket, "state_call", *calls))["result"] == "0x00000000"
    mine = [name for name in threads if name]
    assert mine[0] == "MainThread"
    assert [name for name in mine[1:] if name != "MainThread"] != []
    threads.clear()
    assert (await ask(socket, "state_call", "Core_version", "0x"))["result"]
    assert set(threads) == {"MainThread"}


async def test_long_extrinsics_are_checked_beside_the_loop_and_refused_alike(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    padding = "00" * 8192
    long = await ask(socket, "author_submitExtrinsic", "0x" + padding)
    short = await ask(socket, "author_submitExtrinsic", "0x" + "00" * 16)
    assert long["error"]["code"] == short["error"]["code"] == 1001
    good = sign_extrinsic(
        encode_call("System", "remark", remark=bytes(10_000)),
        ALICE,
        Extensions(Immortal(), 0, 0),
        spec_version=1,
        transaction_version=1,
        genesis_hash=node.chain.genesis_hash,
        birth_hash=node.chain.genesis_hash,
    )
    taken = await ask(socket, "author_submitExtrinsic", "0x" + good.hex())
    assert taken["result"] == "0x" + blake2_256(good).hex()
