"""`transaction_v1_*` on a node that makes blocks: what is tried again, and until when."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from node.client.signing import KeyPair, from_uri, sign_extrinsic
from node.rpc import broadcasts as limits
from node.service import RunningNode
from runtime.construct import encode_call
from runtime.primitives.extrinsic import Extensions, Immortal
from runtime.primitives.hashing import blake2_256
from runtime.primitives.types import Id
from tests.node.rpc.conftest import Served, ask
from tests.node.rpc.tiny_world import TinyWorld, tiny_world
from tests.node.running_node import config, node
from tests.node.tiny_runtime import put
from tests.patience import PATIENCE

__all__ = ["config", "node"]

ALICE, NOBODY = from_uri("//Alice"), from_uri("//Nobody")
INVALID = -32602


@pytest.fixture
async def socket(node: RunningNode) -> AsyncIterator[WebSocketConnection]:
    host, port = node.rpc_address
    async with open_websocket_url(f"ws://{host}:{port}") as opened:
        yield opened


def signed(node: RunningNode, call: bytes, signer: KeyPair = ALICE, nonce: int = 0) -> bytes:
    return sign_extrinsic(
        call,
        signer,
        Extensions(Immortal(), nonce, 0),
        spec_version=1,
        transaction_version=1,
        genesis_hash=node.chain.genesis_hash,
        birth_hash=node.chain.genesis_hash,
    )


def remark(text: bytes) -> bytes:
    return encode_call("System", "remark", remark=text)


async def result(socket: WebSocketConnection, method: str, *params: Any) -> Any:
    answer = await ask(socket, method, *params)
    assert "error" not in answer, answer
    return answer["result"]


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.02)


async def test_a_broadcast_gets_into_the_chain_and_may_be_stopped_after(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    extrinsic = signed(node, remark(b"once"))
    operation = await result(socket, "transaction_v1_broadcast", "0x" + extrinsic.hex())
    assert isinstance(operation, str)
    await until(lambda: node.chain.place(blake2_256(extrinsic)))
    number = node.chain.finalized().number
    await until(lambda: node.chain.finalized().number > number + 3)
    assert await result(socket, "transaction_v1_stop", operation) is None
    again = await ask(socket, "transaction_v1_stop", operation)
    assert again["error"]["code"] == INVALID


async def test_what_cannot_be_paid_yet_is_tried_again_with_later_blocks(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    poor = signed(node, remark(b"poor"), NOBODY)
    await result(socket, "transaction_v1_broadcast", "0x" + poor.hex())
    assert len(node.pool) == 0
    number = node.chain.best().number
    await until(lambda: node.chain.best().number > number + 3)
    assert node.chain.place(blake2_256(poor)) is None
    gift = encode_call("Balances", "transfer_keep_alive", dest=Id(NOBODY.account_id), value=10**19)
    await result(socket, "author_submitExtrinsic", "0x" + signed(node, gift).hex())
    await until(lambda: node.chain.place(blake2_256(poor)))


async def test_a_long_one_is_checked_aside_and_gets_in_when_it_can_be_paid(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    poor = signed(node, remark(bytes(5000)), NOBODY)
    operation = await result(socket, "transaction_v1_broadcast", "0x" + poor.hex())
    malformed = await result(socket, "transaction_v1_broadcast", "0x" + bytes(5000).hex())
    number = node.chain.best().number
    await until(lambda: node.chain.best().number > number + 3)
    assert node.chain.place(blake2_256(poor)) is None
    gift = encode_call("Balances", "transfer_keep_alive", dest=Id(NOBODY.account_id), value=10**20)
    await result(socket, "author_submitExtrinsic", "0x" + signed(node, gift).hex())
    await until(lambda: node.chain.place(blake2_256(poor)))
    for ident in (operation, malformed):
        assert await result(socket, "transaction_v1_stop", ident) is None


async def test_a_future_nonce_waits_for_the_one_before(
    socket: WebSocketConnection, node: RunningNode
) -> None:
    first, second = (signed(node, remark(b"n"), nonce=nonce) for nonce in (0, 1))
    for extrinsic in (second, first):
        await result(socket, "transaction_v1_broadcast", extrinsic.hex())
    await until(lambda: node.chain.place(blake2_256(second)))


async def test_a_stopped_broadcast_is_not_tried_again(tmp_path: Path) -> None:
    async with tiny_world(tmp_path) as world, world.websocket() as socket:
        tried = count_submits(world)
        kept, stopped = put(b"forbidden", b"kept"), put(b"forbidden", b"stopped")
        await result(socket, "transaction_v1_broadcast", kept.hex())
        operation = await result(socket, "transaction_v1_broadcast", stopped.hex())
        await result(socket, "transaction_v1_stop", operation)
        for number in range(1, 4):
            await world.grow_final()
            await until(lambda seen=number: world.broadcasts._blocks == seen)  # type: ignore[misc]
        assert tried == [(kept, 0), (stopped, 0), (kept, 1), (kept, 3)]


def count_submits(world: TinyWorld) -> list[tuple[bytes, int]]:
    """List what is submitted from now on, each with the number of the best block then."""
    tried: list[tuple[bytes, int]] = []
    submit = world.backend.pool.submit

    def counted(extrinsic: bytes, source: int) -> bytes:
        tried.append((extrinsic, world.chain.best().number))
        return submit(extrinsic, source)

    world.backend.pool.submit = counted  # type: ignore[method-assign]
    return tried


async def test_the_end_of_the_connection_stops_its_broadcasts(tmp_path: Path) -> None:
    async with tiny_world(tmp_path) as world:
        for _ in range(3):
            async with world.websocket() as socket:
                for i in range(5):
                    extrinsic = put(b"forbidden", bytes([i]))
                    assert await result(socket, "transaction_v1_broadcast", extrinsic.hex())
                assert len(world.broadcasts) == 5
                assert len(world.broadcasts._best) == 1
            await until(lambda: len(world.broadcasts) == 0)
        assert len(world.broadcasts._best) == 0
        assert world.broadcasts._bytes == world.broadcasts._live == 0


async def test_invalid_extrinsics_are_accepted_silently_and_count(tmp_path: Path) -> None:
    async with tiny_world(tmp_path) as world, world.websocket() as socket:
        invalid = [b"", b"\x00", b"\xff" * 100, put(b"forbidden", b""), bytes(600_000)]
        idents = [
            await result(socket, "transaction_v1_broadcast", "0x" + extrinsic.hex())
            for extrinsic in invalid
        ]
        assert len(set(idents)) == len(invalid)
        assert None not in idents
        room = limits.MOST_OF_ONE - len(invalid)
        for i in range(room):
            assert await result(socket, "transaction_v1_broadcast", f"0x{i:04x}") is not None
        assert await result(socket, "transaction_v1_broadcast", "0x00") is None
        async with world.websocket() as other:
            assert await result(other, "transaction_v1_broadcast", "0x00") is not None
            refused = await ask(other, "transaction_v1_stop", idents[0])
            assert refused["error"]["code"] == INVALID
        assert await result(socket, "transaction_v1_stop", idents[0]) is None
        assert await result(socket, "transaction_v1_broadcast", "0x00") is not None
        assert len(world.backend.pool) == 0


async def test_the_node_broadcasts_no_more_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST", 6)
    monkeypatch.setattr(limits, "MOST_BYTES", 100)
    async with tiny_world(tmp_path) as world, world.websocket() as one:
        method = "transaction_v1_broadcast"
        for _ in range(4):
            assert await result(one, method, put(b"forbidden", b"").hex()) is not None
        async with world.websocket() as two:
            assert await result(two, method, put(b"forbidden", bytes(100)).hex()) is None
            assert await result(two, method, "00") is not None
            assert await result(two, method, "00") is not None
            assert await result(two, method, "00") is None
        await until(lambda: len(world.broadcasts) == 4)
        assert await result(one, method, "00") is not None


@pytest.mark.parametrize("given", [None, 5, "0x0", "zz", ["0x00"]])
async def test_malformed_parameters_are_refused(tmp_path: Path, given: object) -> None:
    async with tiny_world(tmp_path) as world, world.websocket() as socket:
        for method in ("transaction_v1_broadcast", "transactionWatch_v1_submitAndWatch"):
            assert (await ask(socket, method, given))["error"]["code"] == INVALID
        for method in ("transaction_v1_stop", "transactionWatch_v1_unwatch"):
            assert (await ask(socket, method, given))["error"]["code"] == INVALID
            assert (await ask(socket, method, "unknown"))["error"]["code"] == INVALID


async def test_refused_ones_are_tried_more_and_more_seldom(tmp_path: Path) -> None:
    async with tiny_world(tmp_path) as world, world.websocket() as socket:
        tried = count_submits(world)
        extrinsic = put(b"forbidden", b"")
        await result(socket, "transaction_v1_broadcast", extrinsic.hex())
        for number in range(1, 50):
            await world.grow_final()
            await until(lambda seen=number: world.broadcasts._blocks == seen)  # type: ignore[misc]
        assert [number for _, number in tried] == [0, 1, 3, 7, 15, 31, 47]


async def test_with_one_block_only_so_many_are_tried_and_all_get_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_LONGEST_WAIT", 1)
    async with tiny_world(tmp_path) as world, world.websocket() as one, world.websocket() as two:
        for i in range(2 * limits.MOST_OF_ONE):
            extrinsic = put(b"forbidden", bytes([i]))
            await result((one, two)[i % 2], "transaction_v1_broadcast", extrinsic.hex())
        tried = count_submits(world)
        for number in range(1, 9):
            await world.grow_final()
            await until(lambda seen=number: world.broadcasts._blocks == seen)  # type: ignore[misc]
            assert len(tried) == limits._TRIED * number
        found = [extrinsic for extrinsic, _ in tried]
        assert sorted(found) == sorted([*set(found)] * 2)
        assert len(set(found)) == 2 * limits.MOST_OF_ONE


async def test_a_broadcast_needs_a_connection(served: Served, tmp_path: Path) -> None:
    async with tiny_world(tmp_path) as world:
        answer = await Served(world.port, world.server).call("transaction_v1_broadcast", "0x00")
        assert answer["error"]["code"] == -32090
