"""Transactions: signed with a fresh nonce and a mortal era, sent, and followed to their outcome."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import trio

from node.client.errors import CallError, ConnectionLost, NeedsWebSocket, Refused
from node.client.outcome import EVENTS_KEY, Included, decode_events, included
from node.client.signing import KeyPair, sign_extrinsic
from node.client.transport import Transport
from runtime.primitives.extrinsic import Extensions, Immortal, mortal
from runtime.primitives.hashing import blake2_256
from runtime.primitives.keys import ss58_encode

Wait = Literal["finalized", "in_block", "none"]
Told = Callable[[str, str | None], object]
"""Called with each status of a transaction and its block, if it has one, in hex."""

ERA_BLOCKS = 64
_POLL_SECONDS = 0.5
_DROPPED = ("dropped", "invalid")
_ATTEMPTS = 4
_NONCE_TAKEN = ("Stale", "PRIORITY_TOO_LOW")


class Facts(Protocol):
    """What every signature covers besides the call."""

    genesis_hash: bytes
    spec_version: int
    transaction_version: int


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed extrinsic and the last block that may hold it."""

    data: bytes
    hash: bytes
    nonce: int
    dies_at: int


class Submitter:
    """Signs, sends and follows; one transaction of an account at a time until the node has it."""

    def __init__(self, transport: Transport, facts: Facts) -> None:
        self._transport = transport
        self._facts = facts
        self._turns: dict[bytes, trio.Lock] = {}

    async def sign(
        self,
        call: bytes,
        signer: KeyPair,
        *,
        nonce: int | None = None,
        tip: int = 0,
        period: int | None = ERA_BLOCKS,
    ) -> Signed:
        """Sign a call for the next `period` blocks, for ever where None.

        The nonce is the account's next one where None.
        """
        request = self._transport.request
        birth_hash = await request("chain_getFinalizedHead", ())
        header = await request("chain_getHeader", (birth_hash,))
        number = int(header["number"], 16)
        era = Immortal() if period is None else mortal(period, number)
        if nonce is None:
            nonce = await self.next_nonce(signer.account_id)
        if era.birth(number) != number:
            birth_hash = await request("chain_getBlockHash", (era.birth(number),))
        data = sign_extrinsic(
            call,
            signer,
            Extensions(era, nonce, tip),
            spec_version=self._facts.spec_version,
            transaction_version=self._facts.transaction_version,
            genesis_hash=self._facts.genesis_hash,
            birth_hash=bytes.fromhex(birth_hash[2:]),
        )
        return Signed(data, blake2_256(data), nonce, era.death(number))

    async def submit(
        self, call: bytes, signer: KeyPair, nonce: int | None, tip: int, wait: Wait
    ) -> Included:
        """Send a call and wait; raises Refused or DispatchError.

        Where another program used the account's next nonce a moment earlier, it is signed again.
        """
        for _ in range(_ATTEMPTS):
            try:
                return await self._once(call, signer, nonce, tip, wait)
            except Refused as refusal:
                if nonce is not None or refusal.reason not in _NONCE_TAKEN:
                    raise
        return await self._once(call, signer, nonce, tip, wait)

    async def _once(
        self, call: bytes, signer: KeyPair, nonce: int | None, tip: int, wait: Wait
    ) -> Included:
        async with self._turns.setdefault(signer.account_id, trio.Lock()):
            signed = await self.sign(call, signer, nonce=nonce, tip=tip)
            watch = await self._send(signed, wait)
        done = await self._until(signed, watch, wait, _untold)
        failure = done.failure()
        if failure is not None:
            raise failure
        return done

    async def send(self, signed: Signed, wait: Wait, told: Told) -> Included:
        """Send what is signed already and wait; a call that fails in its block is no error here.

        Raises Refused.
        """
        return await self._until(signed, await self._send(signed, wait), wait, told)

    async def _until(self, signed: Signed, watch: Any, wait: Wait, told: Told) -> Included:
        if wait == "none":
            return Included(signed.hash, None, None, ())
        block_hash = None
        if watch is not None:
            async with watch:
                block_hash = await self._follow(watch, wait, told)
        if block_hash is None:
            block_hash = await self._search(signed)
        return await self._outcome(signed.hash, block_hash)

    async def _send(self, signed: Signed, wait: Wait) -> Any:
        """Hand the extrinsic to the node; None where it cannot be watched on this connection."""
        text = "0x" + signed.data.hex()
        try:
            if wait != "none":
                try:
                    return await self._transport.subscribe(
                        "author_submitAndWatchExtrinsic", (text,)
                    )
                except NeedsWebSocket:
                    pass
            await self._transport.request("author_submitExtrinsic", (text,))
        except CallError as error:
            raise _refused(error) from None
        except ConnectionLost:
            if wait == "none":
                raise
        return None

    async def _follow(self, watch: Any, wait: Wait, told: Told) -> str | None:
        """Read statuses up to the wanted one; None when the connection broke first."""
        try:
            async for status in watch:
                told(*_status(status))
                if isinstance(status, dict):
                    found: str | None = status.get("finalized")
                    if wait == "in_block":
                        found = found or status.get("inBlock")
                    if found is not None:
                        return found
                    if "usurped" in status:
                        raise Refused("Usurped", "another transaction took its place")
                if status in _DROPPED:
                    raise Refused(str(status).capitalize(), "ask openledger_whyDropped for more")
        except ConnectionLost:
            pass
        return None

    async def _search(self, signed: Signed) -> str:
        """Find out by asking again and again: over HTTP, and after a connection broke.

        What the node knows nothing of was lost on its way, and is handed in again.
        """
        while True:
            told = await self._transport.request(
                "openledger_whyDropped", ("0x" + signed.hash.hex(),)
            )
            reason = None if told is None else told["reason"]
            if reason == "FINALIZED":
                block: str = told["block"]
                return block
            if reason is None:
                # Why it is refused, and whether it came, is told to the next question.
                with suppress(CallError, ConnectionLost):
                    await self._transport.request(
                        "author_submitExtrinsic", ("0x" + signed.data.hex(),)
                    )
            elif reason != "INCLUDED":
                raise Refused(reason, told["detail"])
            head = await self._transport.request("chain_getFinalizedHead", ())
            header = await self._transport.request("chain_getHeader", (head,))
            if int(header["number"], 16) > signed.dies_at:
                raise Refused("Expired", "its era ended before a block took it; submit it again")
            await trio.sleep(_POLL_SECONDS)

    async def _outcome(self, extrinsic_hash: bytes, block_hash: str) -> Included:
        block = await self._transport.request("chain_getBlock", (block_hash,))
        for index, text in enumerate(block["block"]["extrinsics"]):
            if blake2_256(bytes.fromhex(text[2:])) == extrinsic_hash:
                raw = await self._transport.request("state_getStorage", (EVENTS_KEY, block_hash))
                found = bytes.fromhex(block_hash[2:])
                return included(extrinsic_hash, found, index, decode_events(raw))
        raise Refused("Retracted", "the block that was named does not hold it; submit it again")

    async def next_nonce(self, account: bytes) -> int:
        """Ask for an account's next nonce; the node counts what waits in its pool."""
        address = ss58_encode(account)
        return int(await self._transport.request("system_accountNextIndex", (address,)))


def _untold(status: str, block: str | None) -> None:
    """Keep progress to oneself."""


def _status(status: Any) -> tuple[str, str | None]:
    """Split what a subscription says into the status and the block that it names."""
    if not isinstance(status, dict):
        return str(status), None
    ((name, detail),) = status.items()
    return name, detail if isinstance(detail, str) else None


def _refused(error: CallError) -> Refused | CallError:
    """Turn the pool's errors into `Refused` with the reason's name; leave all others."""
    if not 1001 <= error.code <= 1099:
        return error
    name, _, text = str(error.data or "").partition(": ")
    if not name.isidentifier():
        return Refused(error.message, str(error.data or ""))
    return Refused(name, text)
