"""One follower of the head: what it was told, the blocks it holds, the operations it began."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import orjson
import trio

from node.rpc.chain_head.blocks import HeadBlock, Runtimes
from node.rpc.chain_head.limits import FollowLimits, Room
from node.rpc.chain_head.operation import Job, Operation
from node.rpc.chain_head.story import Story
from node.rpc.chain_head.told import STOP, Announced, Best, Lost, Retired, Told, best
from node.rpc.params import to_hex
from node.rpc.slices import Slice
from node.rpc.subscriptions import Subscription


class Follower:
    """Tells one subscription the story; runtimes: None where the client does not ask for them.

    `end` is called with the subscription, whoever ends it; then nothing is held any more.
    """

    def __init__(
        self,
        subscription: Subscription,
        story: Story,
        runtimes: Runtimes | None,
        limits: FollowLimits,
        room: Room,
    ) -> None:
        self.subscription = subscription
        self.runtimes = runtimes
        self.room = Room(limits.operations, limits.operation_bytes, room)
        self.at_work = trio.CapacityLimiter(limits.at_work)
        self.pins: dict[bytes, HeadBlock] = {}
        self.operations: dict[str, Operation] = {}
        self.alive = True
        self._limits = limits
        self._story = story
        self._retired: dict[bytes, HeadBlock] = {}
        self._behind: deque[Told] | None = deque()
        self._leave: Callable[[], object] = lambda: None

    async def begin(self) -> None:
        """Tell the story so far, from the last finalised blocks on; news queues up meanwhile."""
        story = self._story
        recent = [block for block in story.recent if (block.retired or 0) >= story.horizon]
        blocks = list(story.blocks.values())
        behind = deque(Announced(block, story.parent(block)) for block in blocks)
        self._behind = deque[Told]((*behind, best(story.best)))
        self._leave = story.follow(self.take)
        self._initialize(recent)
        work = Slice()
        while self.alive and self._behind:
            self._tell(self._behind.popleft())
            await work.pause()
        self._behind = None

    def take(self, told: Told) -> None:
        """Tell a piece of news, behind what is still to be told of the past."""
        if self._behind is None:
            self._tell(told)
        else:
            self._behind.append(told)

    def unpin(self, hashes: list[bytes]) -> None:
        """Let go of blocks, all of which are pinned."""
        for block_hash in hashes:
            self._retired.pop(block_hash, None)
            self._story.unpin(self.pins.pop(block_hash))

    def start(self, block: HeadBlock, count: int, size: int, job: Job) -> Operation:
        """Begin an operation; there is room for it."""
        operation = Operation(self, block, count, size)
        self.operations[operation.ident] = operation
        self.room.take(count, size)
        self.subscription.session.nursery.start_soon(operation.run, job)
        return operation

    def finish(self, operation: Operation) -> None:
        """Forget an operation, after which it tells nothing; stops it where it is not over."""
        if self.operations.pop(operation.ident, None) is not None:
            self.room.take(-operation.count, -operation.size)
            operation.scope.cancel()

    def notify(self, event: dict[str, Any]) -> None:
        """Tell of an operation."""
        self.subscription.notify(event)

    def stop(self) -> None:
        """Say that the story cannot go on for this follower."""
        if self.alive:
            self.subscription.notify_encoded(STOP)
            self.subscription.session.close(self.subscription.ident)
            self.end()

    def end(self) -> None:
        """Let go of everything."""
        if not self.alive:
            return
        self.alive = False
        self._leave()
        for operation in list(self.operations.values()):
            self.finish(operation)
        for block in self.pins.values():
            self._story.unpin(block)
        self.pins.clear()
        self._retired.clear()

    def _tell(self, told: Told) -> None:
        if not self.alive:
            return
        if self.subscription.session.outbox.behind():
            self.stop()
            return
        match told:
            case Announced(block=block, parent=parent):
                self._pin(block)
                runtimes = self.runtimes
                line = block.announcement() if runtimes is None else runtimes.line(block, parent)
                self.subscription.notify_encoded(line)
            case Best(line=line):
                self.subscription.notify_encoded(line)
            case Retired(blocks=blocks, line=line):
                self.subscription.notify_encoded(line)
                self._retire(blocks)
            case Lost():
                self.stop()

    def _initialize(self, recent: list[HeadBlock]) -> None:
        event: dict[str, object] = {
            "event": "initialized",
            "finalizedBlockHashes": [to_hex(block.hash) for block in recent],
        }
        if self.runtimes is not None:
            event["finalizedBlockRuntime"] = orjson.Fragment(self.runtimes.of(recent[-1]))
        self.subscription.notify(event)
        for block in recent:
            self._pin(block)
            self._retired[block.hash] = block

    def _pin(self, block: HeadBlock) -> None:
        self.pins[block.hash] = block
        self._story.pin(block)

    def _retire(self, blocks: tuple[HeadBlock, ...]) -> None:
        """Note which pins now count; too many or too old ones end the subscription."""
        for block in blocks:
            if block.hash in self.pins:
                self._retired[block.hash] = block
        oldest = next(iter(self._retired.values()), None)
        if oldest is None:
            return
        aged = (oldest.retired or 0) < self._story.horizon
        if aged or len(self._retired) > self._limits.retired_pins:
            self.stop()
