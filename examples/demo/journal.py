"""Everything that happened on the chain since its first block, in order and without gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import trio

from examples.demo.steady import GONE, PAUSE
from node.client.rpc import NodeClient
from runtime.frame.event_records import EventRecord


@dataclass(frozen=True, slots=True)
class Happened:
    """An event and the final block that holds it."""

    block: int
    record: EventRecord


@dataclass(slots=True)
class Journal:
    """Follows finalised blocks; whoever waits for an event sees past ones too.

    authors: the accounts of the validators that made the blocks, by number.
    """

    client: NodeClient
    height: int = field(default=0, init=False)
    happened: list[Happened] = field(default_factory=list, init=False)
    authors: dict[int, bytes] = field(default_factory=dict, init=False)
    _news: trio.Event = field(default_factory=trio.Event, init=False)

    async def follow(self) -> None:
        """Follow the chain until cancelled, through the node's restarts."""
        while True:
            try:
                await self._read_on()
            except GONE:
                await trio.sleep(PAUSE)

    async def _read_on(self) -> None:
        blocks = self.client.finalized_blocks(self.height + 1)
        async for header, events in blocks:
            author = await self.client.storage("Session", "Author", at=header.hash())
            self.authors[header.number] = author
            self.height = header.number
            self.happened += [Happened(header.number, record) for record in events]
            self._news.set()
            self._news = trio.Event()

    def events(self, pallet: str, name: str) -> Iterator[tuple[int, Any]]:
        """Yield the events of a name so far, each with its block."""
        for entry in self.happened:
            if (entry.record.pallet, entry.record.name) == (pallet, name):
                yield entry.block, entry.record.event

    async def until(
        self, pallet: str, name: str, fits: Callable[[Any], bool] = lambda _: True
    ) -> tuple[int, Any]:
        """Wait for an event, or find it in the past; returns it with its block."""
        seen = 0
        while True:
            news = self._news
            for entry in self.happened[seen:]:
                record = entry.record
                if (record.pallet, record.name) == (pallet, name) and fits(record.event):
                    return entry.block, record.event
            seen = len(self.happened)
            await news.wait()

    async def until_block(self, number: int) -> None:
        """Wait until a block is final."""
        while self.height < number:
            await self._news.wait()
