"""Streams of storage items: as fast as the client reads, and never long on the event loop.

Of one connection a few streams are at work and the others wait in line, so a client that does not
read holds up nobody but itself. Their slices of time come in turn with those of all other clients.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from weakref import WeakKeyDictionary

import trio

from node.errors import StatePruned, UnknownBlock
from node.rpc.errors import server_busy
from node.rpc.slices import Slice
from node.rpc.subscriptions import Session, Subscription
from runtime.state.store import MissingNode

AT_WORK = 4
"""Streams of one connection that read at the same time."""

MOST_HELD = 64 << 20
MOST_HELD_OF_ONE = 4 << 20
"""Bytes of the questions of all open streams: of the node, of one connection."""

PRUNED_MEANWHILE = "the state was pruned meanwhile; ask a node with --state-pruning archive"

PIECE = 64 << 10
"""After so many characters of items the client's outbox is looked at again."""

_log = logging.getLogger("openledger.rpc")

Item = dict[str, str]
Items = Generator[Item | None, None, None]
"""Items, and None where there is nothing to tell yet."""


class NoAnswer(ValueError):
    """The question has no answer; the text says why, to a developer."""


class _Share:
    """What the streams of one connection hold."""

    def __init__(self) -> None:
        self.at_work = trio.CapacityLimiter(AT_WORK)
        self.turn = trio.Lock()
        self.held = 0


class StorageStreams:
    """All streams of a node."""

    def __init__(self) -> None:
        self._shares: WeakKeyDictionary[Session, _Share] = WeakKeyDictionary()
        self.held = 0

    def start(
        self, subscription: Subscription, name: str, weight: int, begin: Callable[[], Items]
    ) -> None:
        """Answer a subscription with events `name`, and at the end `nameDone` or `nameError`.

        weight: bytes that the question holds until then. `begin` is called when the stream's turn
        has come; it and its items may raise UnknownBlock, StatePruned, MissingNode and NoAnswer.
        Raises `RpcError` (busy) where too many questions are open.
        """
        share = self._shares.setdefault(subscription.session, _Share())
        if share.held + weight > MOST_HELD_OF_ONE or self.held + weight > MOST_HELD:
            raise server_busy("too many storage items are asked for at the same time")
        share.held += weight
        self.held += weight

        def release() -> None:
            share.held -= weight
            self.held -= weight

        subscription.on_close(release)
        pump = partial(self._pump, subscription, name, share, begin)
        subscription.session.feed(subscription, pump)

    async def _pump(
        self,
        subscription: Subscription,
        name: str,
        share: _Share,
        begin: Callable[[], Items],
    ) -> None:
        async with share.at_work:
            try:
                with closing(begin()) as items:
                    await self._send(subscription, name, share.turn, items)
            except (UnknownBlock, StatePruned, NoAnswer) as gone:
                last = {"event": f"{name}Error", "error": str(gone)}
            except MissingNode:
                last = {"event": f"{name}Error", "error": PRUNED_MEANWHILE}
            except Exception:
                _log.exception("a storage stream failed")
                text = "internal error: the node's log holds the details"
                last = {"event": f"{name}Error", "error": text}
            else:
                last = {"event": f"{name}Done"}
            subscription.notify(last)

    async def _send(
        self, subscription: Subscription, name: str, turn: trio.Lock, items: Items
    ) -> None:
        """Send pieces, of a connection one at a time and only when there is room for it."""
        work = Slice()
        more = True
        while more:
            async with turn:
                await subscription.room()
                await work.begin()
                more = _send_piece(subscription, name, items, work)
                work.end()


def _send_piece(subscription: Subscription, name: str, items: Items, work: Slice) -> bool:
    """Send items until the slice is over or the piece is full; False when there are no more."""
    size = 0
    for item in items:
        if item is not None:
            subscription.notify({"event": name, **item})
            size += sum(map(len, item.values()))
        if work.over or size > PIECE:
            return True
    return False
