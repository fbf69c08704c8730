"""Clients of a node in a process of their own: what they subscribe to, read, and when they hear."""

from __future__ import annotations

import time
from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import orjson
import trio

from benches.rpc_socket import RpcSocket, request

Receipts = dict[Any, "array[float]"]
"""Unix seconds at which clients heard of a block, by its number or hash."""
_READ_EVERY = 2.0
_PATIENCE = 60.0
"""Seconds that clients have to subscribe, and to hear of what is final already."""
_FEEDS = 3
"""Subscriptions of a client."""
_READS = ("state_getRuntimeVersion", "chain_getBlock", "system_health", "state_getStorage")


def _times() -> array[float]:
    return array("d")


def _arrays() -> Receipts:
    return defaultdict(_times)


@dataclass
class Heard:
    """What the clients of one process heard."""

    new: Receipts = field(default_factory=_arrays)
    final: Receipts = field(default_factory=_arrays)
    followed: Receipts = field(default_factory=_arrays)
    """By the hash of a block that a follower is told is final."""
    stored: int = 0
    """Notifications of storage."""
    reads: array[float] = field(default_factory=_times)
    """Seconds that each read took."""
    failures: list[str] = field(default_factory=list)

    def by_all(self, clients: int, number: int, block_hash: str) -> bool:
        """Tell whether all clients heard that a block is final, and one half as followers."""
        followed = len(self.followed[block_hash]) if block_hash in self.followed else 0
        final = len(self.final[number]) if number in self.final else 0
        return final >= clients and followed >= (clients + 1) // 2


@dataclass(frozen=True, slots=True)
class Load:
    """What a process of clients is to do; keys: watched, the first of them read, too."""

    port: int
    clients: int
    keys: tuple[str, ...]
    transfers: Sequence[bytes] = ()
    """Submitted over one connection, evenly over the time."""
    seconds: float = 0.0


def serve(load: Load, orders: Connection) -> None:
    """Connect, say `connected`, wait for an order, subscribe, say so, wait, return `Heard`.

    The last order names a final block, number and hash: it is waited for until all have heard of
    it, however long they had no time to listen.
    """
    trio.run(_serve, load, orders)


async def _serve(load: Load, orders: Connection) -> None:
    heard = Heard()
    sockets = [await RpcSocket.connect(load.port) for _ in range(load.clients)]
    async with trio.open_nursery() as idle:
        for socket in sockets:
            idle.start_soon(_hold, socket)
        orders.send("connected")
        await trio.to_thread.run_sync(orders.recv)
        idle.cancel_scope.cancel()
    clients = [_Client(socket, number, load, heard) for number, socket in enumerate(sockets)]
    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(_guarded, client.run, heard)
        if load.transfers:
            nursery.start_soon(_guarded, partial(_submit, load), heard)
        with trio.move_on_after(_PATIENCE):
            for client in clients:
                await client.subscribed.wait()
        orders.send("subscribed")
        last = await trio.to_thread.run_sync(orders.recv)
        with trio.move_on_after(_PATIENCE):
            while not heard.by_all(load.clients, *last):
                await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    orders.send(heard)


async def _hold(socket: RpcSocket) -> None:
    """Answer pings."""
    await socket.receive()


async def _guarded(run: Any, heard: Heard) -> None:
    try:
        await run()
    except* Exception as faults:  # one client's end is counted, and no other's
        heard.failures.append(repr(faults.exceptions[0]))


async def _submit(load: Load) -> None:
    socket = await RpcSocket.connect(load.port)
    pause = load.seconds / len(load.transfers)
    for transfer in load.transfers:
        await socket.call("author_submitExtrinsic", "0x" + transfer.hex())
        await trio.sleep(pause)


class _Client:
    """One connection: heads for all, storage or a follower, and reads for every tenth."""

    def __init__(self, socket: RpcSocket, number: int, load: Load, heard: Heard) -> None:
        self._socket = socket
        self._number = number
        self._load = load
        self._heard = heard
        self._handlers: dict[str, Any] = {}
        self._asked: dict[int, Any] = {}
        self._follow = ""
        self._pinned: list[str] = []
        self.subscribed = trio.Event()

    async def run(self) -> None:
        """Subscribe and listen."""
        async with trio.open_nursery() as nursery:
            await self._subscribe("chain_subscribeNewHeads", self._new)
            await self._subscribe("chain_subscribeFinalizedHeads", self._final)
            if self._number % 2:
                await self._subscribe("state_subscribeStorage", self._stored, self._load.keys)
            else:
                runtimes = self._number % 4 == 0
                await self._subscribe("chainHead_v1_follow", self._followed, runtimes)
            if self._number % 10 == 0:
                nursery.start_soon(self._read)
            while True:
                await self._take(orjson.loads(await self._socket.receive()))

    async def _subscribe(self, method: str, handler: Any, *params: Any) -> None:
        ident = await self._ask(method, *params)

        async def begun(answer: dict[str, Any]) -> None:
            if "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']}")
            self._handlers[answer["result"]] = handler
            if len(self._handlers) == _FEEDS:
                self.subscribed.set()
            if handler == self._followed:
                self._follow = answer["result"]

        self._asked[ident] = begun

    async def _ask(self, method: str, *params: Any) -> int:
        ident = next(self._socket.idents)
        await self._socket.send(request(ident, method, *params))
        return ident

    async def _take(self, message: dict[str, Any]) -> None:
        if "id" not in message:
            params = message["params"]
            await self._handlers[params["subscription"]](params["result"])
            return
        if (answered := self._asked.pop(message["id"], None)) is not None:
            await answered(message)
        elif "error" in message:
            raise RuntimeError(str(message["error"]))

    async def _new(self, header: dict[str, Any]) -> None:
        self._heard.new[int(header["number"], 16)].append(time.time())

    async def _final(self, header: dict[str, Any]) -> None:
        self._heard.final[int(header["number"], 16)].append(time.time())

    async def _stored(self, _changes: dict[str, Any]) -> None:
        self._heard.stored += 1

    async def _followed(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "initialized":
            self._pinned = event["finalizedBlockHashes"]
        elif kind == "newBlock":
            await self._ask("chainHead_v1_header", self._follow, event["blockHash"])
        elif kind == "finalized":
            final = event["finalizedBlockHashes"]
            self._heard.followed[final[-1]].append(time.time())
            query = [{"key": self._load.keys[0], "type": "value"}]
            await self._ask("chainHead_v1_storage", self._follow, final[-1], query)
            gone, self._pinned = self._pinned + event["prunedBlockHashes"], final
            await self._ask("chainHead_v1_unpin", self._follow, gone)
        elif kind in ("stop", "operationError", "operationInaccessible"):
            raise RuntimeError(f"a follower was told {event}")

    async def _read(self) -> None:
        """Read something every two seconds, at another moment than the other clients."""
        await trio.sleep(self._number % 37 / 37 * _READ_EVERY)
        count = 0
        while True:
            method = _READS[count % len(_READS)]
            params = (self._load.keys[0],) if method == "state_getStorage" else ()
            begun = time.perf_counter()

            async def answered(answer: dict[str, Any], begun: float = begun) -> None:
                self._heard.reads.append(time.perf_counter() - begun)
                if "error" in answer:
                    raise RuntimeError(str(answer["error"]))

            self._asked[await self._ask(method, *params)] = answered
            count += 1
            await trio.sleep(_READ_EVERY)
