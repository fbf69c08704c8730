"""Clients that vanish without a word, with thousands of subscriptions: nothing of them is kept."""

from __future__ import annotations

import gc
import socket as sockets
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace

import orjson
import pytest
import trio

from benches.rpc_socket import Closed, RpcSocket, request
from node.client.signing import from_uri, sign_extrinsic
from node.pool_watch import WATCHERS_PER_EXTRINSIC
from node.rpc.broadcasts import Broadcasts
from node.rpc.chain_head.follower import Follower
from node.rpc.chain_head.operation import Operation
from node.rpc.chain_head.story import Story
from node.rpc.http import HttpConnection
from node.rpc.limits import RpcConfig, RpcLimits
from node.rpc.methods.chain_head import ChainHead
from node.rpc.outbox import Backlog
from node.rpc.server import RpcServer
from node.rpc.storage_streams import StorageStreams
from node.rpc.subscriptions import Session, Subscription
from node.rpc.topic import Topic
from node.rpc.websocket import WebSocketConnection
from node.rpc.work import Turns
from node.service import NodeConfig, RunningNode, run_node
from runtime.construct import encode_call, storage_key
from runtime.primitives.extrinsic import Extensions, Immortal
from tests.node.running_node import config
from tests.patience import PATIENCE

__all__ = ["config"]

BOB = from_uri("//Bob")
NUMBER = "0x" + storage_key("System", "Number").hex()
EVENTS = "0x" + storage_key("System", "Events").hex()
OF_CLIENTS = (Subscription, Session, Follower, Operation, HttpConnection, WebSocketConnection)
PATIENT = RpcLimits(ping_seconds=1000 * PATIENCE)
"""No ping finds out who has gone."""
IMPATIENT = RpcLimits(idle_seconds=2.0, ping_seconds=0.5)
NARROW = replace(PATIENT, backlog_bytes=1 << 18, high_water_bytes=1 << 16)
CLIENTS = 40

Subscribe = Callable[[RunningNode, RpcSocket, int], Awaitable[None]]


@pytest.fixture
def limits() -> RpcLimits:
    return PATIENT


@pytest.fixture
async def node(config: NodeConfig, limits: RpcLimits, nursery: trio.Nursery) -> RunningNode:
    served = replace(config, rpc=RpcConfig(port=0, limits=limits))
    running: RunningNode = await nursery.start(run_node, served)
    return running


Connect = Callable[[], Awaitable[RpcSocket]]


@pytest.fixture
async def connect(node: RunningNode) -> AsyncIterator[Connect]:
    """Open connections, which are closed at the end."""
    opened: list[RpcSocket] = []

    async def another() -> RpcSocket:
        opened.append(await RpcSocket.connect(node.rpc_address[1]))
        return opened[-1]

    yield another
    for socket in opened:
        socket.stream.socket.close()


def extrinsic(node: RunningNode, nonce: int, remark: bytes = b"") -> str:
    raw = sign_extrinsic(
        encode_call("System", "remark", remark=remark),
        BOB,
        Extensions(Immortal(), nonce, 0),
        spec_version=1,
        transaction_version=1,
        genesis_hash=node.chain.genesis_hash,
        birth_hash=node.chain.genesis_hash,
    )
    return "0x" + raw.hex()


async def answers(socket: RpcSocket, methods: Iterable[tuple[object, ...]]) -> list[object]:
    """Make calls at once and return the results in their order, None for an error."""
    sent = {f"c{next(socket.idents)}": call for call in methods}
    await socket.send(*(request(i, str(method), *params) for i, (method, *params) in sent.items()))
    results: dict[object, object] = {}
    while len(results) < len(sent):
        told = orjson.loads(await socket.receive())
        if told.get("id") in sent:
            results[told["id"]] = told.get("result")
    return [results[ident] for ident in sent]


async def old_subscriptions(node: RunningNode, socket: RpcSocket, number: int) -> None:
    """Heads, storage and versions, the statuses of the node, and extrinsics that are watched."""
    heads = ("NewHeads", "AllHeads", "FinalizedHeads")
    plain = [(f"chain_subscribe{name}",) for name in heads] * 8
    plain += [("state_subscribeRuntimeVersion",), ("openledger_subscribeStatus",)]
    plain += [("openledger_subscribeJustifications",)]
    stored = [("state_subscribeStorage", [NUMBER, EVENTS, f"0x{n:04x}"]) for n in range(16)]
    waiting = extrinsic(node, 1 + number % 8)
    watched = [("transactionWatch_v1_submitAndWatch", waiting)] * 3
    fresh = ("author_submitAndWatchExtrinsic", extrinsic(node, 1, bytes([number])))
    given = await answers(socket, [*plain, *stored, *watched, fresh])
    assert all(given[:-1])


async def follows(node: RunningNode, socket: RpcSocket, number: int) -> None:
    """Followers who unpin nothing, with operations of every kind under way, one that waits."""
    idents = await answers(socket, [("chainHead_v1_follow", n % 2 == 0) for n in range(3)])
    assert all(idents)
    block, last = await first_told(socket)
    idents.append(last)
    everything = [{"key": "0x", "type": "descendantsValues"}]
    operations = [
        call
        for ident in idents
        for call in (
            ("chainHead_v1_body", ident, block),
            ("chainHead_v1_storage", ident, block, everything),
            ("chainHead_v1_storage", ident, block, everything * 50),
        )
    ]
    operations += [("chainHead_v1_call", idents[0], block, "Metadata_metadata", "0x")]
    started = await answers(socket, operations)
    assert any(started)


async def first_told(socket: RpcSocket) -> tuple[str, str]:
    """Follow once more; returns a block that is pinned, since it was told of, and the id."""
    ident = await socket.call("chainHead_v1_follow", True)
    while True:
        told = orjson.loads(await socket.receive()).get("params", {})
        if told.get("subscription") == ident:
            assert told["result"]["event"] == "initialized"
            return told["result"]["finalizedBlockHashes"][-1], ident


async def streams(node: RunningNode, socket: RpcSocket, number: int) -> None:
    """Streams of storage that go on for long, and broadcasts that never get into a block."""
    block, first = "0x" + node.chain.finalized().hash.hex(), "0x" + node.chain.genesis_hash.hex()
    everything = [{"key": "0x", "type": "descendantsValues"}] * 64
    calls = [("archive_v1_storage", block, everything)] * 12
    calls += [("archive_v1_storageDiff", block, [{"returnType": "value"}] * 8, first)] * 4
    calls += [
        ("transaction_v1_broadcast", extrinsic(node, 9, bytes([number, n]))) for n in range(16)
    ]
    given = await answers(socket, calls)
    assert all(given)


def cut(socket: RpcSocket) -> None:
    """Reset the connection, as a host that crashed and came back does."""
    socket.stream.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    socket.stream.socket.close()


async def left(node: RunningNode) -> Counter[str]:
    """Count what the node holds for clients, by what it is."""
    gc.collect()
    found: Counter[str] = Counter()
    for held in gc.get_objects():
        if type(held) in OF_CLIENTS:
            found[type(held).__name__] += 1
        elif type(held) is RpcServer:
            found["connections"] += held.connections
        elif type(held) is Topic:
            found["listeners"] += len(held)
        elif type(held) is Story:
            found["pinned blocks"] += len(held._held) + sum(b.pins for b in held.blocks.values())
        elif type(held) is Broadcasts:
            found["broadcasts"] += len(held)
        elif type(held) is StorageStreams:
            found["bytes of streams"] += held.held
        elif type(held) is Backlog:
            found["bytes of backlog"] += held.queued
        elif type(held) is Turns:
            found["waiting for a turn"] += held.waiting
        elif type(held) is ChainHead:
            found["room taken"] += held._limits.all_operations - held._room.count
    return +found


async def nothing_left(node: RunningNode, tasks: int) -> None:
    """Wait until the node holds nothing for clients, and runs the tasks that it ran before."""
    deadline = trio.current_time() + PATIENCE
    while True:
        found = await left(node)
        running = trio.lowlevel.current_statistics().tasks_living
        if not found and running <= tasks:
            return
        text = f"held: {dict(found)}, {running} tasks instead of {tasks}"
        assert trio.current_time() < deadline, text
        await trio.sleep(0.1)


async def goes_on(node: RunningNode) -> None:
    number = node.chain.finalized().number
    with trio.fail_after(PATIENCE):
        while node.chain.finalized().number < number + 3:
            await trio.sleep(0.02)


async def idle(node: RunningNode) -> int:
    """Let the node come to rest and count its tasks."""
    await goes_on(node)
    await nothing_left(node, 1 << 30)
    return trio.lowlevel.current_statistics().tasks_living


@pytest.mark.parametrize("subscribe", [old_subscriptions, follows, streams])
async def test_cut_connections_leave_nothing_behind(
    node: RunningNode, connect: Connect, subscribe: Subscribe
) -> None:
    tasks = await idle(node)
    for _ in range(2):
        opened = [await connect() for _ in range(CLIENTS)]
        for number, socket in enumerate(opened):
            with trio.fail_after(PATIENCE):
                await subscribe(node, socket, number)
        assert (await left(node))["Session"] == CLIENTS
        for socket in opened:
            cut(socket)
        await nothing_left(node, tasks)
    await goes_on(node)


@pytest.mark.parametrize("subscribe", [old_subscriptions, follows, streams])
async def test_requests_of_connections_that_are_cut_at_once_begin_nothing_that_stays(
    node: RunningNode, connect: Connect, subscribe: Subscribe
) -> None:
    tasks = await idle(node)
    for delay in (0.0, 0.001, 0.003, 0.01, 0.03) * 8:
        socket = await connect()
        with trio.move_on_after(delay):
            await subscribe(node, socket, 0)
        cut(socket)
    await nothing_left(node, tasks)
    await goes_on(node)


@pytest.mark.parametrize("limits", [IMPATIENT])
async def test_clients_that_fall_silent_are_left(node: RunningNode, connect: Connect) -> None:
    tasks = await idle(node)
    opened = []
    for number in range(20):
        socket = await connect()
        opened.append(socket)
        for subscribe in (follows, old_subscriptions, streams):
            await subscribe(node, socket, number)
    for socket in opened[:10]:  # half-open: this side has said all, that one never learns it
        with suppress(trio.BrokenResourceError):  # it was left already
            await socket.stream.send_eof()
    # They do not read, so they answer no ping.
    await nothing_left(node, tasks)
    for socket in opened:
        await trio.aclose_forcefully(socket.stream)
    await goes_on(node)


@pytest.mark.parametrize("limits", [NARROW])
async def test_slow_readers_lose_their_connection_and_the_node_no_memory(
    node: RunningNode, connect: Connect, nursery: trio.Nursery
) -> None:
    tasks = await idle(node)
    opened = [await connect() for _ in range(8)]

    async def read_slowly(socket: RpcSocket) -> None:
        """Read enough to answer pings in time, and far less than is told."""
        try:
            while True:
                await socket.stream.receive_some(64)
                await socket.send(request(next(socket.idents), "system_health"))
                await trio.sleep(0.2)
        except (trio.BrokenResourceError, Closed):
            return
        finally:
            await trio.aclose_forcefully(socket.stream)

    for number, socket in enumerate(opened):
        with suppress(Closed, trio.BrokenResourceError):  # which it was too slow for
            await old_subscriptions(node, socket, number)
            await streams(node, socket, number)
        nursery.start_soon(read_slowly, socket)
    most = 0
    for _ in range(20):
        most = max(most, (await left(node))["bytes of backlog"])
        await trio.sleep(0.05)
    assert most <= len(opened) * 2 * NARROW.backlog_bytes
    await goes_on(node)
    for socket in opened:
        await trio.aclose_forcefully(socket.stream)
    await nothing_left(node, tasks)


async def test_watchers_that_are_gone_take_nobodys_place(
    node: RunningNode, connect: Connect
) -> None:
    waiting = extrinsic(node, 1)
    watch = ("transactionWatch_v1_submitAndWatch", waiting)
    for _ in range(4):
        gone = await connect()
        assert all(await answers(gone, [watch] * (WATCHERS_PER_EXTRINSIC // 4)))
        cut(gone)
    await nothing_left(node, 1 << 30)
    socket = await connect()
    ident = await socket.call(*watch)
    await socket.send(request("first", "author_submitExtrinsic", extrinsic(node, 0)))
    told = []
    with trio.fail_after(PATIENCE):
        while told[-1:] not in (["finalized"], ["dropped"]):
            message = orjson.loads(await socket.receive())
            if message.get("params", {}).get("subscription") == ident:
                told.append(message["params"]["result"]["event"])
    assert told == ["validated", "bestChainBlockIncluded", "finalized"]
    await trio.aclose_forcefully(socket.stream)
