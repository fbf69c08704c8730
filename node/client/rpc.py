"""The client of a node: what the command line, the worker and the tests see of the chain.

    async with NodeClient.connect("ws://127.0.0.1:9944") as client:
        account = await client.storage("System", "Account", key.account_id)
        done = await client.submit(encode_call("Balances", "transfer_keep_alive", ...), key)

Storage and events are decoded by the runtime's own declarations, so the client has to be of a
version that knows the chain's rules.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import trio

from node.client.blobs import Progress, get_blob, put_blob
from node.client.errors import ConnectionLost, NeedsWebSocket
from node.client.outcome import EVENTS_KEY, Included, decode_events
from node.client.signing import KeyPair
from node.client.submission import ERA_BLOCKS, Signed, Submitter, Told, Wait
from node.client.transport import Subscription, Transport, open_transport
from runtime.construct import storage_item
from runtime.frame.event_records import EventRecord
from runtime.frame.storage import StorageItem
from runtime.primitives.header import Header
from runtime.primitives.scale import compact_encode

_PAGE = 500
_POLL_SECONDS = 1.0


class FinalizedBlock(NamedTuple):
    """A finalised block's header and all its events."""

    header: Header
    events: tuple[EventRecord, ...]


class NodeClient:
    """A connection to one node; see `connect`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._submitter = Submitter(transport, self)
        self.genesis_hash = b""
        self.spec_version = 0
        self.transaction_version = 0

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str) -> AsyncIterator[NodeClient]:
        """Connect by ws://, wss://, http:// or https://; a WebSocket reconnects by itself.

        Raises Unreachable where no node answers within ten seconds.
        """
        async with open_transport(url) as transport:
            client = cls(transport)
            client.genesis_hash = _bytes(await client.request("chain_getBlockHash", 0))
            version = await client.request("state_getRuntimeVersion")
            client.spec_version = version["specVersion"]
            client.transaction_version = version["transactionVersion"]
            yield client

    async def request(self, method: str, *params: Any) -> Any:
        """Make one call of JSON-RPC; raises CallError with the node's code and words."""
        return await self._transport.request(method, params)

    async def subscribe(self, method: str, *params: Any) -> Subscription:
        """Begin a subscription: an async iterator, closed with `async with` or `aclose`."""
        return await self._transport.subscribe(method, params)

    async def call_api(self, method: str, data: bytes = b"", *, at: bytes | None = None) -> bytes:
        """Make a runtime call, SCALE in and out."""
        return _bytes(await self.request("state_call", method, _hex(data), _at(at)))

    async def best(self) -> Header:
        """Read the header of the tip."""
        return _header(await self.request("chain_getHeader"))

    async def finalized_head(self) -> bytes:
        """Read the hash of the last finalised block."""
        return _bytes(await self.request("chain_getFinalizedHead"))

    async def header(self, block_hash: bytes) -> Header | None:
        """Read a header; None for an unknown block."""
        found = await self.request("chain_getHeader", _hex(block_hash))
        return None if found is None else _header(found)

    async def block_hash(self, number: int) -> bytes | None:
        """Read the hash of a block of the best chain; None above it."""
        found = await self.request("chain_getBlockHash", number)
        return None if found is None else _bytes(found)

    async def storage(self, pallet: str, item: str, *keys: Any, at: bytes | None = None) -> Any:
        """Read and decode one entry: its default, else None, where nothing is stored."""
        declared = storage_item(pallet, item)
        raw = await self.request("state_getStorage", _hex(declared.key(*keys)), _at(at))
        if raw is None:
            return declared.default if declared.has_default else None
        return declared.decode_value(_bytes(raw))

    async def storage_items(
        self, pallet: str, item: str, *prefix: Any, at: bytes | None = None
    ) -> AsyncIterator[tuple[tuple[Any, ...], Any]]:
        """Read a map page by page, all pages at one block: yields (keys, value)."""
        declared = storage_item(pallet, item)
        block = _hex(at if at is not None else await self.finalized_head())
        start = _hex(declared.key(*prefix))
        last: str | None = None
        while keys := await self.request("state_getKeysPaged", start, _PAGE, last, block):
            (page,) = await self.request("state_queryStorageAt", keys, block)
            for key, value in page["changes"]:
                yield _entry(declared, key, value)
            last = keys[-1]

    async def events(self, block_hash: bytes) -> tuple[EventRecord, ...]:
        """Read and decode the events of a block."""
        raw = await self.request("state_getStorage", EVENTS_KEY, _hex(block_hash))
        return decode_events(raw)

    async def nonce(self, account: bytes) -> int:
        """Read an account's next nonce, transactions that wait in the pool included."""
        return await self._submitter.next_nonce(account)

    async def fee(self, call: bytes, signer: KeyPair, *, tip: int = 0) -> int:
        """Ask what a transaction would cost, tip included; nothing is submitted."""
        signed = await self._submitter.sign(call, signer, tip=tip)
        told = await self.request("payment_queryInfo", _hex(signed.data))
        return int(told["partialFee"]) + tip

    async def dry_run(self, call: bytes, signer: KeyPair) -> bytes:
        """Let the node check a signed transaction without taking it: its `TransactionValidity`."""
        signed = await self._submitter.sign(call, signer)
        head = _bytes(await self.request("chain_getBlockHash"))
        data = b"\x02" + signed.data + head
        return await self.call_api("TaggedTransactionQueue_validate_transaction", data, at=head)

    async def submit(
        self,
        call: bytes,
        signer: KeyPair,
        *,
        nonce: int | None = None,
        tip: int = 0,
        wait: Wait = "finalized",
    ) -> Included:
        """Sign, send and follow a call; survives a broken connection while it waits.

        Raises Refused(reason) where no block takes it, DispatchError(pallet, error) where it
        failed in its block, ConnectionLost where with `wait="none"` nobody knows.
        """
        return await self._submitter.submit(call, signer, nonce, tip, wait)

    async def sign(
        self,
        call: bytes,
        signer: KeyPair,
        *,
        nonce: int | None = None,
        tip: int = 0,
        period: int | None = ERA_BLOCKS,
    ) -> Signed:
        """Sign a call without sending it, for `period` blocks, for ever where None."""
        return await self._submitter.sign(call, signer, nonce=nonce, tip=tip, period=period)

    async def send(self, signed: Signed, wait: Wait, told: Told) -> Included:
        """Send what is signed, tell each status, wait; the call may have failed in its block.

        Raises Refused(reason) where no block takes it, ConnectionLost as `submit`.
        """
        return await self._submitter.send(signed, wait, told)

    async def finalized_blocks(self, start: int | None = None) -> AsyncIterator[FinalizedBlock]:
        """Follow finality from block `start` (the next one where None): every block, in order.

        Nothing is left out or repeated, whatever happens to the connection. Close the iterator
        with `aclose` (`contextlib.aclosing`) when leaving it early.
        """
        number = await self._finalized_number()
        expected = number + 1 if start is None else start
        while True:
            while expected <= number:
                yield await self._finalized_block(expected)
                expected += 1
            await self._wait_for_finality(expected)
            number = await self._finalized_number()

    async def put_blob(self, data: bytes, progress: Progress | None = None) -> bytes:
        """Upload a blob that a transaction declared; returns its hash."""
        return await put_blob(self._transport, data, progress)

    async def get_blob(self, blob_hash: bytes, to: Path, progress: Progress | None = None) -> Path:
        """Download a blob into a file, checked against its hash."""
        return await get_blob(self._transport, blob_hash, to, progress)

    async def _finalized_number(self) -> int:
        header = await self.header(await self.finalized_head())
        return 0 if header is None else header.number

    async def _finalized_block(self, number: int) -> FinalizedBlock:
        block_hash = _bytes(await self.request("chain_getBlockHash", number))
        header = _header(await self.request("chain_getHeader", _hex(block_hash)))
        return FinalizedBlock(header, await self.events(block_hash))

    async def _wait_for_finality(self, number: int) -> None:
        """Return once block `number` may be final; early returns do no harm."""
        try:
            async with await self.subscribe("chain_subscribeFinalizedHeads") as heads:
                async for header in heads:
                    if int(header["number"], 16) >= number:
                        return
        except ConnectionLost:
            return
        except NeedsWebSocket:
            await trio.sleep(_POLL_SECONDS)


def _entry(declared: StorageItem, key: str, value: str) -> tuple[tuple[Any, ...], Any]:
    return declared.split_key(_bytes(key)), declared.decode_value(_bytes(value))


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _at(block_hash: bytes | None) -> str | None:
    return None if block_hash is None else _hex(block_hash)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def _header(told: dict[str, Any]) -> Header:
    """Build a header from JSON; its hash is recomputed, never believed."""
    logs = [_bytes(log) for log in told["digest"]["logs"]]
    data = (
        _bytes(told["parentHash"])
        + compact_encode(int(told["number"], 16))
        + _bytes(told["stateRoot"])
        + _bytes(told["extrinsicsRoot"])
        + compact_encode(len(logs))
        + b"".join(logs)
    )
    return Header.decode(data)
