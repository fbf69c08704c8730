"""Nodes that exchange blobs over a network in memory; any of them may lie."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import trio

from node.blob_exchange import BlobExchange
from node.blob_exchange_limits import ExchangeLimits, Keep
from node.blob_exchange_messages import (
    BlobAnswer,
    BlobRequest,
    ChunkRequest,
    decode_blob_answer,
    decode_blob_request,
    encode_blob_answer,
)
from node.blob_exchange_peers import BlobNetwork
from node.blobs import CHUNK_BYTES, BlobLimits, BlobStore
from node.declarations import Declaration, Take
from node.network.interface import (
    Direction,
    FailReason,
    Handler,
    Network,
    Offence,
    PeerInfo,
    RequestFailed,
    RequestKind,
)
from runtime.primitives.hashing import blake2_256

Behaviour = Callable[[BlobRequest, BlobAnswer], BlobAnswer | bytes]
"""What a liar answers, given the request and the honest answer."""


def blob_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def is_enough(network: Network) -> BlobNetwork:
    """Let the type checker see that the real interface has what the exchange needs."""
    return network


class Links:
    """Who can reach whom: everybody who is joined."""

    def __init__(self) -> None:
        self.nodes: dict[str, MemoryNetwork] = {}


class MemoryNetwork:
    """One node's view; `before` runs ahead of each request that it sends."""

    def __init__(self, name: str, links: Links) -> None:
        self.id = name
        self._links = links
        self._handlers: dict[RequestKind, Handler] = {}
        self.asked: list[tuple[str, BlobRequest]] = []
        self.faults: list[tuple[str, Offence]] = []
        self.behaviour: Behaviour | None = None
        self.before: Callable[[str, BlobRequest], Awaitable[None]] | None = None
        links.nodes[name] = self

    def peers(self) -> tuple[PeerInfo, ...]:
        others = (name for name in self._links.nodes if name != self.id)
        if self.id not in self._links.nodes:
            return ()
        return tuple(PeerInfo(name, "", Direction.INBOUND, "", "full", 0.0) for name in others)

    def leave(self) -> None:
        self._links.nodes.pop(self.id, None)

    def join(self) -> None:
        self._links.nodes[self.id] = self

    def set_handler(self, kind: RequestKind, handler: Handler) -> None:
        self._handlers[kind] = handler

    def penalise(self, peer: str, offence: Offence, detail: str) -> None:
        self.faults.append((peer, offence))

    async def request(
        self,
        peer: str,
        kind: RequestKind,
        body: bytes,
        *,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> bytes:
        assert len(body) <= 1024
        request = decode_blob_request(body)
        self.asked.append((peer, request))
        if self.before is not None:
            await self.before(peer, request)
        await trio.sleep(0.01)
        other = self._links.nodes.get(peer)
        if other is None or self.id not in self._links.nodes:
            raise RequestFailed(FailReason.NOT_CONNECTED)
        try:
            with trio.fail_after(timeout or 20):
                answer = await other.serve(self.id, kind, body)
        except trio.TooSlowError:
            raise RequestFailed(FailReason.TIMEOUT) from None
        if self._links.nodes.get(peer) is not other:
            raise RequestFailed(FailReason.DISCONNECTED)
        if answer is None:
            raise RequestFailed(FailReason.REFUSED)
        if limit is not None and len(answer) > limit:
            raise RequestFailed(FailReason.TOO_LARGE)
        return answer

    async def serve(self, peer: str, kind: RequestKind, body: bytes) -> bytes | None:
        handler = self._handlers.get(kind)
        answer = None if handler is None else await handler(peer, body)
        if self.behaviour is None or answer is None:
            return answer
        lie = self.behaviour(decode_blob_request(body), decode_blob_answer(answer))
        if lie == b"silence":
            await trio.sleep_forever()
        return lie if isinstance(lie, bytes) else encode_blob_answer(lie)

    def chunks_asked(self) -> list[int]:
        return [r.index for _, r in self.asked if isinstance(r, ChunkRequest)]


class Announcements:
    """Declared blobs, told to everybody who follows."""

    def __init__(self) -> None:
        self.sizes: dict[bytes, int] = {}
        self._followers: list[trio.MemorySendChannel[Declaration]] = []

    def declare(self, blob: bytes, size: int | None = None) -> bytes:
        name = blake2_256(blob)
        self.sizes[name] = len(blob) if size is None else size
        for follower in self._followers:
            follower.send_nowait(Declaration(name, self.sizes[name]))
        return name

    async def follow(self, take: Take) -> None:
        send, receive = trio.open_memory_channel[Declaration](1000)
        self._followers.append(send)
        await take([Declaration(blob, size) for blob, size in self.sizes.items()])
        async for declaration in receive:
            await take([declaration])


class World:
    """A chain's declarations, and nodes in folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.links = Links()
        self.chain = Announcements()

    def node(
        self,
        name: str,
        *blobs: bytes,
        keep: Keep = Keep.ALL,
        store: BlobLimits | None = None,
        limits: ExchangeLimits | None = None,
    ) -> Node:
        return Node(self, name, blobs, keep, store, limits or ExchangeLimits())


class Node:
    """A node with some blobs; `run` it in a nursery."""

    def __init__(
        self,
        world: World,
        name: str,
        blobs: tuple[bytes, ...],
        keep: Keep,
        store: BlobLimits | None,
        limits: ExchangeLimits,
    ) -> None:
        self.network = MemoryNetwork(name, world.links)
        self.store = BlobStore(world.folder / name, world.chain.sizes.get, store)
        limits = replace(limits, down=1e12, up=1e12, requests=1e9)
        self.exchange = BlobExchange(self.network, self.store, world.chain, keep, limits)
        self.run = self.exchange.run
        for blob in blobs:
            self.upload(blob)

    def upload(self, blob: bytes) -> None:
        for at in range(0, len(blob), CHUNK_BYTES):
            self.store.put(blake2_256(blob), at, blob[at : at + CHUNK_BYTES])

    def holds(self, blob: bytes) -> bool:
        path = self.store.path(blake2_256(blob))
        return path is not None and path.read_bytes() == blob

    async def obtains(self, blob: bytes, seconds: float = 600) -> None:
        with trio.fail_after(seconds):
            while not self.holds(blob):
                await trio.sleep(0.25)
