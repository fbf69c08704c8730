"""Chain events, read once and handed to every subscription that follows the chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import orjson
import trio

from node.chain import Chain
from node.chain_events import BestChanged, ChainEvent, Finalized, NewBlock
from node.rpc.shapes import header_shape
from node.rpc.subscriptions import Subscription

T = TypeVar("T")

_SLICE = 0.002
_RESUME = 0.05
_ENCODED_HEADERS = 256


class Topic(Generic[T]):
    """The listeners of one kind of news; they must not wait."""

    def __init__(self) -> None:
        self._listeners: dict[int, Callable[[T], object]] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._listeners)

    def listen(self, call: Callable[[T], object]) -> Callable[[], object]:
        """Call `call` with all news from now on, until the returned function is called."""
        key = self._next
        self._next += 1
        self._listeners[key] = call

        def stop() -> None:
            self._listeners.pop(key, None)

        return stop

    async def tell(self, news: T) -> None:
        """Call every listener, giving the loop to others every 2 ms."""
        pause = trio.current_time() + _SLICE
        for key in list(self._listeners):
            call = self._listeners.get(key)
            if call is not None:
                call(news)
                if trio.current_time() > pause:
                    await trio.lowlevel.checkpoint()
                    pause = trio.current_time() + _SLICE


class Heads:
    """The heads of the chain as news: hashes of new, best and finalised blocks, in order.

    Finalised blocks are told without gaps, even when the node's own events were lost because this
    reader was slow.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self.new: Topic[bytes] = Topic()
        self.best: Topic[bytes] = Topic()
        self.finalized: Topic[bytes] = Topic()
        self._last_finalized = chain.finalized().number
        self._finalized_at = trio.current_time()
        self._encoded: dict[bytes, bytes] = {}
        self._events = chain.subscribe()

    async def run(self) -> None:
        """Follow the chain, resuming when events were lost, until it is closed."""
        while True:
            await self._catch_up()
            async for event in self._events:
                await self._handle(event)
            await trio.sleep(_RESUME)
            self._events = self._chain.subscribe()
            await self.best.tell(self._chain.best().hash)

    def finalized_age(self) -> float:
        """Return the seconds since a block was finalised, or since the start."""
        return trio.current_time() - self._finalized_at

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
        """Send the header of every block of a topic to a subscription."""

        def send(block_hash: bytes) -> None:
            header = self.encoded(block_hash)
            if header is not None:
                subscription.notify_encoded(header)

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
            self._finalized_at = trio.current_time()
            await self.finalized.tell(block_hash)

    def _newly_final(self) -> Iterator[tuple[int, bytes]]:
        while self._last_finalized < self._chain.finalized().number:
            number = self._last_finalized + 1
            block_hash = self._chain.block_hash(number)
            if block_hash is None:
                return
            yield number, block_hash
