"""Transactions between nodes: what becomes ready here is told in batches; peers' are checked."""

from __future__ import annotations

import msgpack
import trio

from node.errors import PoolRefusal
from node.log import Log
from node.network.interface import Channel, Network, Offence
from node.pool import Pool
from node.pool_types import Source
from runtime.primitives.errors import InvalidTransaction, TransactionReason

_log = Log("pool")
BATCH_BYTES = 192 << 10
BATCH_SECONDS = 0.1
SLICE = 8
"""So many transactions are checked before others get a turn."""
OFFENCES = (
    TransactionReason.MALFORMED,
    TransactionReason.BAD_PROOF,
    TransactionReason.BAD_MANDATORY,
    TransactionReason.MANDATORY_VALIDATION,
)
"""What is wrong whatever the state; all else may have been right at the sender."""


class TransactionGossip:
    """Tells peers what became ready here first; the network passes on what came from peers."""

    def __init__(self, pool: Pool, network: Network) -> None:
        self._pool = pool
        self._network = network
        self._heard: dict[bytes, None] = {}

    async def run(self) -> None:
        """Tell the peers, in batches, until cancelled."""
        while True:
            ready = self._pool.subscribe_ready(8192)
            async for first in ready:
                await trio.sleep(BATCH_SECONDS)
                hashes = [first]
                while len(hashes) < 8192:
                    try:
                        hashes.append(ready.receive_nowait())
                    except (trio.WouldBlock, trio.EndOfChannel):
                        break
                self._tell(hashes)

    def _tell(self, hashes: list[bytes]) -> None:
        batch: list[bytes] = []
        size = 0
        for extrinsic_hash in hashes:
            if extrinsic_hash in self._heard:
                del self._heard[extrinsic_hash]
                continue
            extrinsic = self._pool.extrinsic(extrinsic_hash)
            if extrinsic is None:
                continue
            if batch and size + len(extrinsic) > BATCH_BYTES:
                self._send(batch)
                batch, size = [], 0
            batch.append(extrinsic)
            size += len(extrinsic)
        if batch:
            self._send(batch)

    def _send(self, batch: list[bytes]) -> None:
        self._network.broadcast(Channel.TRANSACTIONS, msgpack.packb(batch))

    async def take(self, peer: str, data: bytes) -> None:
        """Check a peer's batch, and take in what is valid here."""
        try:
            batch = msgpack.unpackb(data, max_array_len=1 << 14, max_ext_len=0, max_map_len=0)
        except (ValueError, msgpack.UnpackException):
            batch = None
        if not isinstance(batch, list) or not all(isinstance(item, bytes) for item in batch):
            self._network.penalise(peer, Offence.MALFORMED, "a batch of transactions")
            return
        for start in range(0, len(batch), SLICE):
            for extrinsic in batch[start : start + SLICE]:
                self._submit(peer, extrinsic)
            await trio.lowlevel.checkpoint()

    def _submit(self, peer: str, extrinsic: bytes) -> None:
        try:
            extrinsic_hash = self._pool.submit(extrinsic, Source.EXTERNAL)
        except PoolRefusal:
            return
        except InvalidTransaction as refusal:
            if refusal.reason in OFFENCES:
                self._network.penalise(peer, Offence.INVALID, f"a transaction: {refusal}")
            return
        self._heard[extrinsic_hash] = None
        while len(self._heard) > self._pool.limits.count:
            self._heard.pop(next(iter(self._heard)))
