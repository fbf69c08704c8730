"""A chain client that outlives its node: every question is asked, every call made exactly once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import trio

from node.cli.chain import Chain, Progress
from node.client.errors import CallError, ConnectionLost, Refused, Unanswered, Unreachable
from node.client.outcome import Included, outcome
from node.client.signing import KeyPair, sign_extrinsic
from node.errors import NodeError
from runtime.frame.event_records import EventRecord
from runtime.primitives.extrinsic import Extensions, Immortal
from runtime.primitives.hashing import blake2_256

T = TypeVar("T")
GONE = (ConnectionLost, Unanswered, Unreachable)
PAUSE = 0.3
PATIENCE = 90.0
"""Seconds without an answer after which the node is given up."""
FIRST_POOL_ERROR, LAST_POOL_ERROR = 1001, 1099
KNOWN_ALREADY = 1013


async def insist(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until the node answers; raises the last error after `PATIENCE` seconds."""
    deadline = trio.current_time() + PATIENCE
    while True:
        try:
            return await ask()
        except GONE:
            if trio.current_time() > deadline:
                raise
        await trio.sleep(PAUSE)


@dataclass(frozen=True, slots=True)
class SteadyChain(Chain):
    """A `Chain` whose calls are signed once and sent until they are in a final block.

    The same bytes are sent again after a crash, so a call can never be made twice.
    """

    def by(self, signer: KeyPair) -> SteadyChain:
        """Return the same chain with another signer."""
        return replace(self, signer=signer)

    async def height(self) -> int:
        """Read the number of the best block."""
        return (await insist(self.client.best)).number

    async def storage(self, pallet: str, item: str, *keys: Any) -> Any:
        """Read an entry."""
        return await insist(lambda: self.client.storage(pallet, item, *keys))

    async def download(self, blob_hash: bytes, progress: Progress) -> bytes | None:
        """Fetch a blob, checked against its hash."""
        return await insist(lambda: super(SteadyChain, self).download(blob_hash, progress))

    async def upload(self, blob: bytes, progress: Progress) -> None:
        """Hand a declared blob to the node."""
        await insist(lambda: self.client.put_blob(blob, progress))

    async def send(self, call: bytes) -> Included:
        """Sign and send a call; returns once its block is final. Raises Refused, DispatchError."""
        if self.signer is None:
            raise NodeError("this needs a key that signs")
        data = await self._sign(call, self.signer)
        digest = blake2_256(data)
        while True:
            refusal = await self._offer(data)
            try:
                place = await self._place(digest)
            except GONE:  # what was refused may have been taken before
                place, refusal = None, None
            if place is not None:
                block_hash, index = place
                events = await self._events(block_hash)
                return outcome(digest, block_hash, index, events)
            if refusal is not None:
                raise refusal
            await trio.sleep(PAUSE)

    async def _events(self, block_hash: bytes) -> tuple[EventRecord, ...]:
        return await insist(lambda: self.client.events(block_hash))

    async def _sign(self, call: bytes, signer: KeyPair) -> bytes:
        nonce = await insist(lambda: self.client.nonce(signer.account_id))
        return sign_extrinsic(
            call,
            signer,
            Extensions(Immortal(), nonce, self.tip),
            spec_version=self.client.spec_version,
            transaction_version=self.client.transaction_version,
            genesis_hash=self.genesis,
            birth_hash=self.genesis,
        )

    async def _offer(self, data: bytes) -> Refused | None:
        """Send the bytes; returns the node's refusal, None where it has them."""
        try:
            await self.client.request("author_submitExtrinsic", f"0x{data.hex()}")
        except CallError as error:
            if not FIRST_POOL_ERROR <= error.code <= LAST_POOL_ERROR:
                raise
            return None if error.code == KNOWN_ALREADY else Refused(error.message, str(error.data))
        except GONE:
            pass
        return None

    async def _place(self, digest: bytes) -> tuple[bytes, int] | None:
        """Wait while the node has the call; returns its final place, None where it is unknown."""
        while True:
            told = await self.client.request("openledger_whyDropped", f"0x{digest.hex()}")
            pending = await self.client.request("author_pendingExtrinsics")
            if told is not None and told["reason"] == "FINALIZED":
                return bytes.fromhex(told["block"][2:]), told["index"]
            waits = any(blake2_256(bytes.fromhex(item[2:])) == digest for item in pending)
            if not waits and (told is None or told["reason"] != "INCLUDED"):
                return None
            await trio.sleep(PAUSE)
