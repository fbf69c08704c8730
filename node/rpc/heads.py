"""Chain events, read once and handed to every subscription that follows the chain."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import trio

from node.chain import Chain
from node.chain_events import BestChanged, ChainEvent, Finalized, NewBlock
from node.rpc.chain_head.story import Story
from node.rpc.shapes import header_shape
from node.rpc.subscriptions import Subscription
from node.rpc.topic import Topic

_RESUME = 0.05
_ENCODED_HEADERS = 256


class Heads:
    """The heads of the chain as news: hashes of new, best and finalised blocks, in order.

    Finalised blocks are told without gaps, but for those below a fetched state, even when the
    node's own events were lost because this reader was slow. `story` tells all three together.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        finalized = chain.finalized()
        self.new: Topic[bytes] = Topic(chain.best().hash)
        self.best: Topic[bytes] = Topic(chain.best().hash)
        self.finalized: Topic[bytes] = Topic(finalized.hash)
        self._last_finalized = finalized.number
        self._encoded: dict[bytes, bytes] = {}
        self._events = chain.subscribe()
        self.story = Story(chain)

    async def run(self) -> None:
        """Follow the chain, resuming when events were lost, until it is closed."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.story.run)
            await self._run()

    async def _run(self) -> None:
        while True:
            await self._catch_up()
            async for event in self._events:
                await self._handle(event)
            await trio.sleep(_RESUME)
            self._events = self._chain.subscribe()
            await self.best.tell(self._chain.best().hash)

    def encoded(self, block_hash: bytes) -> bytes | None:
        """Return a header as JSON, made once however many subscriptions want it."""
        found = self._encoded.get(block_hash)
        if found is None:
            header = self._chain.header(block_hash)
            if header is None:
                return None
            if len(self._encoded) >= _ENCODED_HEADERS:
                self._encoded.clear()
            found = self._encoded[block_hash] = orjson.dumps(header_shape(header))
        return found

    def follow(self, topic: Topic[bytes], subscription: Subscription) -> None:
        """Send the headers of a topic's latest block and of all that follow to a subscription."""

        def send(block_hash: bytes) -> None:
            header = self.encoded(block_hash)
            if header is not None:
                subscription.notify_encoded(header)

        send(topic.latest)
        subscription.on_close(topic.listen(send))

    async def _handle(self, event: ChainEvent) -> None:
        match event:
            case NewBlock(hash=block_hash):
                await self.new.tell(block_hash)
            case BestChanged(hash=block_hash):
                await self.best.tell(block_hash)
            case Finalized():
                await self._catch_up()

    async def _catch_up(self) -> None:
        for number, block_hash in self._newly_final():
            self._last_finalized = number
            await self.finalized.tell(block_hash)

    def _newly_final(self) -> Iterator[tuple[int, bytes]]:
        while self._last_finalized < self._chain.finalized().number:
            number = max(self._last_finalized + 1, self._chain.kept.headers)
            block_hash = self._chain.block_hash(number)
            if block_hash is None:
                return
            yield number, block_hash
