"""Connections with all kinds of subscriptions, cut again and again: the process keeps nothing."""

from __future__ import annotations

import os
import socket as sockets
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from benches.rpc_socket import RpcSocket, request
from runtime.construct import storage_key
from tests.e2e.rpc_node import Fuzzed, fuzzed_node
from tests.patience import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROUNDS = int(os.environ.get("OPENLEDGER_RPC_DROP_ROUNDS", "2"))
CLIENTS = 60
MOST_GROWTH = 24 << 20
"""Bytes of memory more than after as many uncounted connections."""
KEYS = ["0x" + storage_key("System", name).hex() for name in ("Number", "Events")]


def calls(head: str, first: str, follows: Sequence[str]) -> list[tuple[Any, ...]]:
    """List what one connection begins once it follows the head."""
    everything = [{"key": "0x", "type": "descendantsValues"}]
    begun: list[tuple[Any, ...]] = []
    begun += [("chain_subscribeNewHeads",), ("chain_subscribeFinalizedHeads",)] * 5
    begun += [("state_subscribeStorage", KEYS), ("openledger_subscribeStatus",)] * 4
    begun += [("archive_v1_storage", head, everything * 8)] * 3
    begun += [("archive_v1_storageDiff", head, None, first)]
    for follow in follows:
        begun += [
            ("chainHead_v1_storage", follow, head, everything),
            ("chainHead_v1_body", follow, head),
        ]
    return begun


async def strangers(fuzzed: Fuzzed, rounds: int) -> None:
    """Connect, subscribe, read nothing more, and cut."""
    for _ in range(rounds):
        opened = [await RpcSocket.connect(fuzzed.node.port) for _ in range(CLIENTS)]
        for number, socket in enumerate(opened):
            head = await socket.call("chain_getFinalizedHead")
            first = await socket.call("chain_getBlockHash", 1)
            follows = await _follow(socket)
            begun = calls(head, first, follows)
            await socket.send(*(request(f"c{n}", *call) for n, call in enumerate(begun)))
            if number % 3:
                await _answers(socket, len(begun))
        for number, socket in enumerate(opened):
            _cut(socket, reset=number % 2 == 0)


async def _follow(socket: RpcSocket) -> list[str]:
    for ident in ("f0", "f1", "f2"):
        await socket.send(request(ident, "chainHead_v1_follow", ident == "f1"))
    return [told["result"] for told in await _answers(socket, 3)]


async def _answers(socket: RpcSocket, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with trio.fail_after(PATIENCE):
        while len(found) < count:
            told = orjson.loads(await socket.receive())
            if "id" in told:
                assert told.get("error", {}).get("code") in (None, -32801, 4003), told
                found.append(told)
    return found


def _cut(socket: RpcSocket, *, reset: bool) -> None:
    if reset:
        linger = struct.pack("ii", 1, 0)
        socket.stream.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, linger)
    socket.stream.socket.close()


def test_a_node_keeps_nothing_of_connections_that_were_cut(tmp_path: Path) -> None:
    with fuzzed_node(tmp_path) as fuzzed:
        trio.run(strangers, fuzzed, 2)
        before = fuzzed.quiet()
        with fuzzed.on_time():
            trio.run(strangers, fuzzed, ROUNDS)
        fuzzed.settled(before, MOST_GROWTH)
        fuzzed.quiet()
        fuzzed.reaches(max(fuzzed.finalised()) + 3)
        fuzzed.told_no_fault()
