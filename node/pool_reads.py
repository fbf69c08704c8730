"""What anybody may ask of the pool."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Protocol

import trio

from consensus.interface import BlockRef
from node.pool_graph import PoolGraph
from node.pool_included import InBlocks
from node.pool_order import by_priority
from node.pool_types import Drop, PoolLimits, StatusKind, TxStatus
from node.pool_watch import History, Watchers
from node.runtime_interface import Validity


class Validator(Protocol):
    """The state that the pool follows."""

    def best(self) -> BlockRef:
        """Name the block whose state extrinsics are checked against."""

    def validate(self, extrinsic: bytes, source: int) -> Validity:
        """Check an extrinsic; raises InvalidTransaction."""


class PoolReads:
    """The parts of the pool, and its questions."""

    def __init__(
        self,
        validator: Validator,
        limits: PoolLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits or PoolLimits()
        self._validator = validator
        self._clock = clock
        self._graph = PoolGraph()
        self._watchers = Watchers()
        self._history = History(self.limits.history, self.limits.banned_count)
        self._in_blocks = InBlocks()
        self._expiry: list[tuple[int, bytes]] = []
        self._suspects: OrderedDict[bytes, None] = OrderedDict()
        self._order = 0
        self._work = trio.Event()
        self._listeners: list[trio.MemorySendChannel[bytes]] = []

    def __len__(self) -> int:
        return len(self._graph.entries)

    def __contains__(self, extrinsic_hash: bytes) -> bool:
        return extrinsic_hash in self._graph.entries

    @property
    def ready_count(self) -> int:
        """How many extrinsics could go into the next block."""
        return self._graph.ready_count

    @property
    def future_count(self) -> int:
        """How many wait for another extrinsic."""
        return len(self) - self._graph.ready_count

    @property
    def size_bytes(self) -> int:
        """The size of all extrinsics in it."""
        return self._graph.bytes

    def ready(self) -> Iterator[bytes]:
        """Yield what the next block may take: by priority, dependencies first."""
        entries = [entry for entry in self._graph.entries.values() if entry.ready]
        return (entry.data for entry in by_priority(entries))

    def pending(self) -> list[bytes]:
        """List everything in it, ready first."""
        return list(self.ready()) + [
            entry.data for entry in self._graph.entries.values() if not entry.ready
        ]

    def extrinsic(self, extrinsic_hash: bytes) -> bytes | None:
        """Find the bytes of an extrinsic in it."""
        entry = self._graph.entries.get(extrinsic_hash)
        return None if entry is None else entry.data

    def next_nonce(self, account: bytes, nonce: int) -> int:
        """Count an account's nonce on over its extrinsics in the pool; `nonce` is the state's."""
        waiting = {entry.nonce for entry in self._graph.of_sender(account)}
        while nonce in waiting:
            nonce += 1
        return nonce

    def status(self, extrinsic_hash: bytes) -> TxStatus | None:
        """Tell where an extrinsic is: in the pool or in a block that is not final yet."""
        entry = self._graph.entries.get(extrinsic_hash)
        if entry is not None:
            return TxStatus(StatusKind.READY if entry.ready else StatusKind.FUTURE)
        included = self._in_blocks.get(extrinsic_hash)
        if included is None:
            return None
        return TxStatus(StatusKind.IN_BLOCK, included.block, included.index)

    def why_dropped(self, extrinsic_hash: bytes) -> Drop | None:
        """Recall why an extrinsic left the pool or was not let in."""
        return self._history.why(extrinsic_hash)

    def watch(self, extrinsic_hash: bytes) -> trio.MemoryReceiveChannel[TxStatus]:
        """Open a channel of statuses, the present one first; it ends after a final one."""
        return self._watchers.add(extrinsic_hash, self.status(extrinsic_hash))

    def subscribe_ready(self, buffered: int = 1024) -> trio.MemoryReceiveChannel[bytes]:
        """Open a channel of the hashes that become ready and may be told to peers."""
        send, receive = trio.open_memory_channel[bytes](buffered)
        self._listeners.append(send)
        return receive
