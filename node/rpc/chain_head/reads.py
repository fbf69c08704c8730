"""What operations do: the body of a block, a runtime call on its state, its storage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import orjson

from node.rpc.backend import Backend
from node.rpc.chain_head.blocks import HeadBlock
from node.rpc.chain_head.limits import FollowLimits
from node.rpc.chain_head.operation import Inaccessible, Job, Operation
from node.rpc.chain_head.story import Story
from node.rpc.params import to_hex
from node.rpc.slices import Slice
from node.rpc.storage_query import Query, results
from runtime.state.store import State


class Reads:
    """Makes the jobs."""

    def __init__(self, backend: Backend, story: Story, limits: FollowLimits) -> None:
        self._backend = backend
        self._story = story
        self._limits = limits

    def body(self) -> Job:
        """Read the extrinsics of the block."""
        return self._body

    def call(self, function: str, arguments: bytes) -> Job:
        """Make a runtime call on the state behind the block."""
        return partial(self._call, function, arguments)

    def storage(self, queries: Sequence[Query]) -> Job:
        """Answer questions about the state behind the block."""
        return partial(self._storage, queries)

    async def _body(self, operation: Operation) -> dict[str, Any]:
        async with operation.turn():
            work = Slice()
            await work.begin()
            extrinsics = self._story.body(operation.block)
            if extrinsics is None:
                raise Inaccessible
            told = []
            for extrinsic in extrinsics:
                told.append(b'"0x%b"' % extrinsic.hex().encode())
                await work.pause()
            value = orjson.Fragment(b"[%b]" % b",".join(told))
            work.end()
        return {"event": "operationBodyDone", "value": value}

    async def _call(self, function: str, arguments: bytes, operation: Operation) -> dict[str, Any]:
        block = operation.block
        async with operation.turn():
            output = await self._backend.run_on(_state(block), block.header, function, arguments)
        return {"event": "operationCallDone", "output": to_hex(output)}

    async def _storage(self, queries: Sequence[Query], operation: Operation) -> dict[str, Any]:
        pages = any(query.kind.descends for query in queries)
        reading = _Reading(operation, results(_state(operation.block), queries), self._limits.piece)
        while not await self._page(reading, self._limits.page if pages else None):
            await operation.wait_for_continue(self._limits.patience)
        return {"event": "operationStorageDone"}

    async def _page(self, reading: _Reading, size: int | None) -> bool:
        """Tell one page of items, None for one without end; says whether they were the last."""
        begun = reading.told
        work = Slice()
        async with reading.operation.turn():
            while size is None or reading.told - begun < size:
                await work.begin()
                over = reading.take(work)
                work.end()
                if over:
                    return True
                await reading.operation.follower.subscription.room()
        return False


class _Reading:
    """Items on their way to the client."""

    def __init__(
        self, operation: Operation, items: Iterator[dict[str, str] | None], piece: int
    ) -> None:
        self.operation = operation
        self.told = 0
        self._items = items
        self._piece = piece
        self._found: list[dict[str, str]] = []
        self._size = 0

    def take(self, work: Slice) -> bool:
        """Read for a slice of time or until a piece is full; True when there is no more."""
        for item in self._items:
            if item is not None:
                self._found.append(item)
                self._size += sum(map(len, item.values()))
            if self._size >= self._piece:
                self._tell()
                return False
            if work.over:
                return False
        self._tell()
        return True

    def _tell(self) -> None:
        if self._found:
            self.operation.notify({"event": "operationStorageItems", "items": self._found})
        self.told += self._size
        self._found, self._size = [], 0


def _state(block: HeadBlock) -> State:
    if block.state is None:
        raise Inaccessible
    return block.state
