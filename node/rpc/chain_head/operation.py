"""A piece of work for a follower, with an id: it ends with one event, or silently when stopped."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from node.errors import StatePruned, StorageError, UnknownBlock
from node.rpc.chain_head.blocks import HeadBlock
from node.rpc.errors import SERVER_BUSY, RpcError
from runtime.state.store import MissingNode

if TYPE_CHECKING:
    from node.rpc.chain_head.follower import Follower

_log = logging.getLogger("openledger.rpc")
_INACCESSIBLE = {"event": "operationInaccessible"}

Job: TypeAlias = "Callable[[Operation], Awaitable[dict[str, Any]]]"
"""Does the work; returns the members of the last event."""


class Inaccessible(Exception):
    """What an operation needs cannot be had now."""


class Operation:
    """One operation; count, size: what of the follower's room it takes."""

    def __init__(self, follower: Follower, block: HeadBlock, count: int, size: int) -> None:
        self.ident = secrets.token_urlsafe(9)
        self.follower = follower
        self.block = block
        self.count = count
        self.size = size
        self.scope = trio.CancelScope()
        self._go_on: trio.Event | None = None

    @property
    def waits(self) -> bool:
        """Whether it told the client to ask for more."""
        return self._go_on is not None

    async def run(self, job: Job) -> None:
        """Work when the turn has come, and tell the end."""
        with self.scope:
            try:
                await self.follower.subscription.session.answered()
                last = await job(self)
            except (Inaccessible, UnknownBlock, StatePruned, MissingNode, StorageError):
                last = _INACCESSIBLE
            except RpcError as refusal:
                busy = refusal.code == SERVER_BUSY  # what may succeed later is no error
                last = _INACCESSIBLE if busy else _error(refusal.message)
            except Exception:
                _log.exception("an operation on a block near the head failed")
                last = _error("internal error: the node's log holds the details")
            self.notify(last)
        self.follower.finish(self)

    def notify(self, event: dict[str, Any]) -> None:
        """Tell of this operation, unless it was stopped."""
        if self.ident in self.follower.operations:
            self.follower.notify({"event": event["event"], "operationId": self.ident, **event})

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn among the follower's operations, and for room in the client's outbox."""
        async with self.follower.at_work:
            await self.follower.subscription.room()
            yield

    async def wait_for_continue(self, patience: float) -> None:
        """Ask the client to ask for more; raises Inaccessible after `patience` seconds."""
        self._go_on = go_on = trio.Event()
        self.notify({"event": "operationWaitingForContinue"})
        with trio.move_on_after(patience):
            await go_on.wait()
            return
        raise Inaccessible

    def go_on(self) -> None:
        """Go on after `wait_for_continue`."""
        if self._go_on is not None:
            self._go_on.set()
            self._go_on = None


def _error(text: str) -> dict[str, Any]:
    return {"event": "operationError", "error": text}
