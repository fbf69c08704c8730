"""The chain through a node's public JSON-RPC."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar, cast

import trio

from inference.log import Log
from inference.worker.chain_view import ChainError, ChainReason, Head
from node.client.errors import BlobError, ClientError, DispatchError, Refused
from node.client.rpc import FinalizedBlock, NodeClient
from node.client.signing import KeyPair
from runtime.frame.event_records import EventRecord

_LOG = Log("chain")
_LEAST_WAIT, _MOST_WAIT = 0.5, 15.0
T = TypeVar("T")


class NodeView:
    """A `ChainView` on one node."""

    def __init__(self, client: NodeClient) -> None:
        self._client = client
        self._height = 0
        self._head: bytes | None = None

    @property
    def genesis(self) -> bytes:
        """The chain's genesis hash."""
        return self._client.genesis_hash

    @property
    def height(self) -> int:
        """Number of the last finalised block that was seen."""
        return self._height

    async def storage(self, pallet: str, item: str, *keys: Any) -> Any:
        """Return a value of the finalised state, its default or None where there is none."""
        at = await self._at()
        return await answer_of(self._client.storage(pallet, item, *keys, at=at))

    async def items(
        self, pallet: str, item: str, *prefix: Any
    ) -> Sequence[tuple[tuple[Any, ...], Any]]:
        """Return the entries of a map in the finalised state."""
        at = await self._at()

        async def collect() -> list[tuple[tuple[Any, ...], Any]]:
            pages = self._client.storage_items(pallet, item, *prefix, at=at)
            return [entry async for entry in pages]

        return await answer_of(collect())

    async def blob(self, content_hash: bytes) -> bytes:
        """Download a blob; the client checks its hash."""
        with tempfile.TemporaryDirectory(prefix="openledger-") as folder:
            target = Path(folder) / "blob"
            await answer_of(self._client.get_blob(content_hash, target))
            return await trio.Path(target).read_bytes()

    async def put_blob(self, data: bytes) -> None:
        """Upload a declared blob."""
        await answer_of(self._client.put_blob(data))

    async def submit(self, call: bytes, signer: KeyPair) -> tuple[EventRecord, ...]:
        """Submit a call and wait until it is finalised; raises ChainError."""
        included = await answer_of(self._client.submit(call, signer, wait="finalized"))
        return included.events

    async def heads(self) -> AsyncGenerator[Head, None]:
        """Yield finalised blocks from the next one on; broken connections are waited through."""
        expected = self._height + 1 if self._head is not None else None
        wait = _LEAST_WAIT
        while True:
            try:
                async with aclosing(self._blocks(expected)) as blocks:
                    async for head in blocks:
                        self._height, self._head = head.number, head.hash
                        expected, wait = head.number + 1, _LEAST_WAIT
                        yield head
            except ClientError as error:
                _LOG.warning("node unreachable", retry_seconds=wait, cause=error)
            await trio.sleep(wait)
            wait = min(_MOST_WAIT, 2 * wait)

    async def _blocks(self, start: int | None) -> AsyncGenerator[Head, None]:
        found = cast(AsyncGenerator[FinalizedBlock, None], self._client.finalized_blocks(start))
        async with aclosing(found) as blocks:
            async for header, events in blocks:
                yield Head(header.number, header.hash(), events)

    async def _at(self) -> bytes:
        if self._head is None:
            head = await answer_of(self._client.finalized_head())
            header = await answer_of(self._client.header(head))
            self._head, self._height = head, 0 if header is None else header.number
        return self._head


async def answer_of(question: Awaitable[T]) -> T:
    """Give the client's errors the worker's names."""
    try:
        return await question
    except Refused as error:
        raise ChainError(ChainReason.REFUSED, str(error), error.reason) from error
    except DispatchError as error:
        name = f"{error.pallet}.{error.error}"
        raise ChainError(ChainReason.FAILED, str(error), name) from error
    except BlobError as error:
        raise ChainError(ChainReason.NO_BLOB, str(error)) from error
    except ClientError as error:
        raise ChainError(ChainReason.UNREACHABLE, str(error)) from error
