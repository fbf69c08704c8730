"""Ask peers about blobs: few requests at a time, within rates, and judge what comes back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import trio

from node.blob_exchange_limits import ExchangeCounters, ExchangeLimits
from node.blob_exchange_messages import (
    BlobAnswer,
    BlobRequest,
    Chunk,
    ChunkRequest,
    decode_blob_answer,
    encode_blob_request,
)
from node.blob_exchange_pace import Pace
from node.blobs import CHUNK_BYTES
from node.network.interface import (
    FailReason,
    Handler,
    Offence,
    PeerInfo,
    RequestFailed,
    RequestKind,
)
from runtime.primitives.scale import DecodeError

ANSWER_ROOM = 64
"""Bytes of an answer beside its content."""
MOST_LIST = 1 << 20
_REMEMBERED = 512
_BEST, _WORST = 16, -16


class BlobNetwork(Protocol):
    """What the exchange needs of `node.network.interface.Network`."""

    def peers(self) -> tuple[PeerInfo, ...]:
        """Return who is connected and greeted."""

    async def request(
        self,
        peer: str,
        kind: RequestKind,
        body: bytes,
        *,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> bytes:
        """Ask a connected peer; raises RequestFailed."""

    def penalise(self, peer: str, offence: Offence, detail: str) -> None:
        """Count an offence against a peer."""

    def set_handler(self, kind: RequestKind, handler: Handler) -> None:
        """Answer requests of a kind."""


@dataclass(slots=True)
class _Slot:
    """What is known of a peer; merit: good answers less failures, within bounds."""

    room: trio.Semaphore
    pace: Pace
    users: int = 0
    merit: int = 0
    tie: float = field(default_factory=random.random)


class BlobPeers:
    """The peers, as fetches ask them."""

    def __init__(
        self, network: BlobNetwork, limits: ExchangeLimits, counters: ExchangeCounters
    ) -> None:
        self._network = network
        self._limits = limits
        self._counters = counters
        self._pace = Pace(limits.down)
        self._slots: dict[str, _Slot] = {}

    def connected(self) -> list[str]:
        """Name the connected peers, those first that gave most."""
        names = [peer.id for peer in self._network.peers()]
        return sorted(names, key=lambda name: (-self._slot(name).merit, self._slot(name).tie))

    def least_busy(self, names: Sequence[str]) -> str:
        """Choose the one of some peers with the fewest requests under way."""
        return min(names, key=lambda name: (self._slot(name).users, -self._slot(name).merit))

    async def ask(self, peer: str, request: BlobRequest) -> BlobAnswer:
        """Ask one peer; raises RequestFailed."""
        slot = self._slot(peer)
        slot.users += 1
        try:
            async with slot.room:
                return await self._ask(peer, slot, request)
        except RequestFailed as failed:
            if failed.reason is not FailReason.BUSY:
                self._rate(slot, -4)
            raise
        finally:
            slot.users -= 1

    def praise(self, peer: str, count: int) -> None:
        """Remember that a peer gave good bytes."""
        self._counters.bytes_fetched += count
        self._rate(self._slot(peer), 1)

    def blame(self, peer: str, detail: str) -> None:
        """Report a peer that provably lied."""
        self._rate(self._slot(peer), _WORST)
        self._network.penalise(peer, Offence.INVALID, detail)

    async def _ask(self, peer: str, slot: _Slot, request: BlobRequest) -> BlobAnswer:
        is_chunk = isinstance(request, ChunkRequest)
        limits = self._limits
        delay = slot.pace.reserve(1, trio.current_time())
        if is_chunk:
            delay = max(delay, self._pace.reserve(CHUNK_BYTES, trio.current_time()))
        await trio.sleep(delay)
        body = await self._network.request(
            peer,
            RequestKind.BLOB,
            encode_blob_request(request),
            timeout=limits.chunk_seconds if is_chunk else limits.list_seconds,
            limit=(CHUNK_BYTES if is_chunk else MOST_LIST) + ANSWER_ROOM,
        )
        try:
            answer = decode_blob_answer(body)
        except DecodeError as error:
            self._network.penalise(peer, Offence.MALFORMED, f"blob answer: {error}")
            raise RequestFailed(FailReason.MALFORMED, str(error)) from None
        if isinstance(answer, Chunk) and not is_chunk:
            self._network.penalise(peer, Offence.UNWANTED, "a chunk where a list was asked for")
            raise RequestFailed(FailReason.MALFORMED)
        return answer

    def _rate(self, slot: _Slot, by: int) -> None:
        slot.merit = max(_WORST, min(_BEST, slot.merit + by))

    def _slot(self, peer: str) -> _Slot:
        slot = self._slots.get(peer)
        if slot is None:
            if len(self._slots) >= _REMEMBERED:
                self._forget()
            room = trio.Semaphore(self._limits.per_peer)
            slot = self._slots[peer] = _Slot(room, Pace(self._limits.requests))
        return slot

    def _forget(self) -> None:
        names = {peer.id for peer in self._network.peers()}
        kept = {n: slot for n, slot in self._slots.items() if n in names or slot.users}
        self._slots = kept
