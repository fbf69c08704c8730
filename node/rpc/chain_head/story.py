"""The head of the chain as one story, read once from the chain's events for all followers.

The story never contradicts itself: every block is announced once and behind its parent, the best
block is known and stands on the last finalised one, and finalised blocks come without a gap. Where
the chain's events do not continue it (some were lost, or a fetched state took the chain's place),
all who followed are told that it is lost, and it begins anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import chain as joined

import trio

from node.chain import Chain
from node.chain_events import BestChanged, ChainEvent, Finalized, NewBlock
from node.errors import StatePruned, StorageClosed, UnknownBlock
from node.fork_tree import Executed
from node.rpc.chain_head.blocks import HeadBlock
from node.rpc.chain_head.told import Announced, Lost, Retired, Told, best, retired
from node.rpc.topic import Topic
from runtime.primitives.header import Header
from runtime.state.store import State

RECENT = 16
"""Finalised blocks that a new follower is told of, the last one among them."""
MOST_AGE = 256
"""Blocks that were final, or dead, before so many finalised ones cannot stay pinned."""
MOST_BYTES = 64 << 20
"""Held for pinned blocks that the chain itself would have let go of."""

_RESUME = 0.05


class Story:
    """The blocks near the head, the news about them, and the bounds within which they are held."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self.news: Topic[Told] = Topic(Lost())
        self.horizon = 0
        """Pins of blocks that retired before this number end their subscription."""
        self._held: set[HeadBlock] = set()
        self._held_bytes = 0
        self._begin()

    def _begin(self) -> None:
        chain = self._chain
        self._events = chain.subscribe()
        finalized = chain.finalized()
        self.recent: deque[HeadBlock] = deque(self._past(finalized.hash), maxlen=RECENT)
        self.root = self.recent[-1]
        self.blocks = {found.hash: _unfinalised(found) for found in chain.unfinalised()}
        self.best = chain.best().hash

    async def run(self) -> None:
        """Read the chain's events, and tell them in order, until the chain is closed."""
        while True:
            await self._read()
            self._events.close()
            await trio.sleep(_RESUME)
            try:
                self._begin()
            except StorageClosed:
                return
            await self.news.tell(Lost())

    async def _read(self) -> None:
        async for event in self._events:
            told = self._take(event)
            if told is None:
                return
            await self.news.tell(told)

    def parent(self, block: HeadBlock) -> HeadBlock:
        """Return the parent of a block that is not final."""
        return self.blocks.get(block.header.parent_hash, self.root)

    def body(self, block: HeadBlock) -> tuple[bytes, ...] | None:
        """Read the extrinsics of a held block; None where its body was pruned after all."""
        if block.body is not None:
            return block.body
        found = self._chain.block(block.hash)
        return None if found is None else found.extrinsics

    def follow(self, call: Callable[[Told], object]) -> Callable[[], object]:
        """Call `call` with all news from now on, until the returned function is called."""
        return self.news.listen(call)

    def pin(self, block: HeadBlock) -> None:
        """Count one follower more that holds a block."""
        block.pins += 1
        if block.pins == 1 and block.retired is not None:
            self._hold(block)

    def unpin(self, block: HeadBlock) -> None:
        """Count one follower less."""
        block.pins -= 1
        if not block.pins and block in self._held:
            self._held.remove(block)
            self._held_bytes -= block.weight()

    def _take(self, event: ChainEvent) -> Told | None:
        """Continue the story with an event; None where it does not continue it."""
        match event:
            case NewBlock(hash=block_hash, parent=parent):
                return self._announce(block_hash, parent)
            case BestChanged(hash=block_hash):
                if block_hash != self.root.hash and block_hash not in self.blocks:
                    return None
                self.best = block_hash
                return best(block_hash)
            case Finalized(hashes=hashes):
                return self._finalize(hashes)

    def _announce(self, block_hash: bytes, parent_hash: bytes) -> Announced | None:
        known = parent_hash == self.root.hash or parent_hash in self.blocks
        if not known or block_hash == self.root.hash or block_hash in self.blocks:
            return None
        executed = self._chain.unfinalised_block(block_hash)
        if executed is not None:
            block = _unfinalised(executed)
        else:  # this reader is late, and the block is final already or gone
            header, state = self._chain.header(block_hash), self._state(block_hash)
            if header is None or state is None:
                return None
            block = HeadBlock(block_hash, header, state)
        self.blocks[block_hash] = block
        return Announced(block, self.parent(block))

    def _finalize(self, hashes: tuple[bytes, ...]) -> Retired | None:
        final = [self.blocks[block_hash] for block_hash in hashes if block_hash in self.blocks]
        parents = [self.root.hash, *hashes]
        if len(final) < len(hashes) or any(
            block.header.parent_hash != parent
            for block, parent in zip(final, parents, strict=False)
        ):
            return None
        head = final[-1]
        alive, dead = self._divide(head.hash, set(hashes))
        if self.best != head.hash and self.best not in alive:
            return None
        self.root, self.blocks = head, alive
        self.recent.extend(final)
        self._settle(final)
        for block in joined(final, dead):
            block.retired = head.header.number
            if block.pins:
                self._hold(block)
        self._move_horizon(head.header.number)
        return retired(final, dead)

    def _settle(self, final: list[HeadBlock]) -> None:
        """Hold no overlays where the database has, or will keep, the same."""
        for block in joined(final, self.blocks.values()):
            block.state = self._state(block.hash) or block.state
        kept = self._chain.pruning.blocks
        for block in final:
            block.changes = None
            if kept is None or kept > 2 * MOST_AGE:
                block.body = None

    def _divide(
        self, head: bytes, final: set[bytes]
    ) -> tuple[dict[bytes, HeadBlock], list[HeadBlock]]:
        """Part the blocks that are not final: those that stand on `head`, and the dead."""
        alive: dict[bytes, HeadBlock] = {}
        dead: list[HeadBlock] = []
        for block_hash, block in self.blocks.items():
            parent = block.header.parent_hash
            if parent == head or parent in alive:
                alive[block_hash] = block
            elif block_hash not in final:
                dead.append(block)
        return alive, dead

    def _hold(self, block: HeadBlock) -> None:
        self._held.add(block)
        self._held_bytes += block.weight()

    def _move_horizon(self, number: int) -> None:
        """Give up the oldest pins: those beyond the greatest age, and more to hold less."""
        self.horizon = max(self.horizon, number - MOST_AGE)
        surplus = self._held_bytes - MOST_BYTES
        if surplus <= 0:
            return
        for block in sorted(self._held, key=lambda block: block.retired or 0):
            surplus -= block.weight()
            self.horizon = max(self.horizon, min((block.retired or 0) + 1, number))
            if surplus <= 0:
                return

    def _past(self, block_hash: bytes) -> list[HeadBlock]:
        """List the last finalised blocks that can be read, oldest first."""
        past: list[HeadBlock] = []
        while len(past) < RECENT:
            header, state = self._chain.header(block_hash), self._state(block_hash)
            if header is None or (state is None and past):
                break
            past.append(_final(block_hash, header, state))
            if header.number == 0:
                break
            block_hash = header.parent_hash
        return past[::-1]

    def _state(self, block_hash: bytes) -> State | None:
        try:
            return self._chain.state_at(block_hash)
        except (UnknownBlock, StatePruned):
            return None


def _unfinalised(found: Executed) -> HeadBlock:
    return HeadBlock(
        found.hash, found.block.header, found.state, found.block.extrinsics, found.changes
    )


def _final(block_hash: bytes, header: Header, state: State | None) -> HeadBlock:
    return HeadBlock(block_hash, header, state, retired=header.number)
