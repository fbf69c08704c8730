"""Extrinsics that the node keeps trying to get into the chain until their senders say stop.

With every new best block some of those that are neither in the pool nor in a block are submitted
again, each the more seldom the more often it was refused.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import trio

from node.errors import PoolReason, PoolRefusal
from node.pool_types import Source
from node.rpc.backend import Backend
from node.rpc.errors import RpcError
from node.rpc.long_extrinsics import LONG_EXTRINSIC, check_aside
from node.rpc.subscriptions import Session, Subscription
from node.rpc.topic import Topic
from runtime.primitives.errors import InvalidTransaction, TransactionReason
from runtime.primitives.hashing import blake2_256
from runtime.state.store import MissingNode

KIND = "transaction_v1_broadcast"
MOST_OF_ONE = 16
"""Live broadcasts of one connection."""

MOST = 4096
MOST_BYTES = 64 << 20
"""Live broadcasts of the node, and their bytes."""

_LOOKED_AT = 256
_TRIED = 8
"""With one new best block so many are looked at, so many submitted: about 2 ms together."""

_LONGEST_WAIT = 16
"""In best blocks."""

_ENDED_KEPT = 64
"""Of one connection: ids that may still be stopped although the extrinsic is final."""


@dataclass(slots=True, eq=False)
class _Broadcast:
    """One extrinsic, `data` None once nothing more is to be tried; `due` counts best blocks.

    A long one is tried by a task of its own, whenever it is woken.
    """

    subscription: Subscription
    hash: bytes
    data: bytes | None
    refusals: int = 0
    due: int = 0
    ended: bool = False
    wake: trio.Event | None = None


class Broadcasts:
    """All broadcasts of a node; ids are those of subscriptions without notifications."""

    def __init__(self, backend: Backend, best: Topic[bytes]) -> None:
        self._backend = backend
        self._chain = backend.chain
        self._pool = backend.pool
        self._best = best
        self._all: OrderedDict[str, _Broadcast] = OrderedDict()
        self._live = 0
        self._bytes = 0
        self._blocks = 0
        self._deaf: Callable[[], object] | None = None

    def __len__(self) -> int:
        return len(self._all)

    def start(self, session: Session, extrinsic: bytes) -> str | None:
        """Begin to broadcast and return the id; None at the limit, whatever the extrinsic."""
        self._forget_ended(session)
        mine = [b for b in self._of(session) if not b.ended]
        fits = len(extrinsic) <= self._pool.limits.extrinsic_bytes
        held = self._bytes + (len(extrinsic) if fits else 0)
        if len(mine) >= MOST_OF_ONE or self._live >= MOST or held > MOST_BYTES:
            return None
        try:
            subscription = session.open(KIND)
        except RpcError:
            return None
        self._bytes = held
        self._live += 1
        data = extrinsic if fits else None
        broadcast = _Broadcast(subscription, blake2_256(extrinsic), data)
        self._all[subscription.ident] = broadcast
        subscription.on_close(lambda: self._remove(broadcast))
        if self._deaf is None:
            self._deaf = self._best.listen(self._look)
        if data is not None and len(data) > LONG_EXTRINSIC:
            broadcast.wake = trio.Event()
            session.feed(subscription, partial(self._try_long, broadcast))
        self._try(broadcast)
        return subscription.ident

    def stop(self, session: Session, ident: str) -> bool:
        """End a broadcast of this connection; says whether there was one."""
        return session.close(ident, KIND)

    def _of(self, session: Session) -> list[_Broadcast]:
        return [self._all[ident] for ident in session.idents(KIND) if ident in self._all]

    def _forget_ended(self, session: Session) -> None:
        ended = [b for b in self._of(session) if b.ended]
        for broadcast in ended[: max(0, len(ended) - _ENDED_KEPT)]:
            session.close(broadcast.subscription.ident, KIND)

    def _remove(self, broadcast: _Broadcast) -> None:
        self._end(broadcast)
        del self._all[broadcast.subscription.ident]
        if not self._all and self._deaf is not None:
            self._deaf()
            self._deaf = None

    def _end(self, broadcast: _Broadcast) -> None:
        """Let others have its place; only its id is still known."""
        self._release(broadcast)
        self._live -= not broadcast.ended
        broadcast.ended = True

    def _release(self, broadcast: _Broadcast) -> None:
        self._bytes -= len(broadcast.data or b"")
        broadcast.data = None

    def _look(self, _best: bytes) -> None:
        """Submit again what is due and has left the pool, those first that were not looked at."""
        self._blocks += 1
        tried = 0
        for ident in list(self._all)[:_LOOKED_AT]:
            self._all.move_to_end(ident)
            broadcast = self._all[ident]
            if broadcast.data is None or broadcast.due > self._blocks:
                continue
            if self._pool.status(broadcast.hash) is not None:
                continue
            self._try(broadcast)
            tried += 1
            if tried == _TRIED:
                return

    def _try(self, broadcast: _Broadcast) -> None:
        if broadcast.wake is not None:
            broadcast.wake.set()
        elif broadcast.data is not None:
            self._submit(broadcast, broadcast.data)

    async def _try_long(self, broadcast: _Broadcast) -> None:
        while broadcast.wake is not None and broadcast.data is not None:
            await broadcast.wake.wait()
            try:
                if self._chain.place(broadcast.hash) is None:
                    await check_aside(self._backend, broadcast.data)
            except InvalidTransaction as refusal:
                self._refused(broadcast, refusal)
            except (MissingNode, RpcError):
                self._wait(broadcast)
            else:
                self._submit(broadcast, broadcast.data)
            broadcast.wake = trio.Event()
        await trio.sleep_forever()

    def _submit(self, broadcast: _Broadcast, extrinsic: bytes) -> None:
        if self._chain.place(broadcast.hash) is not None:
            self._end(broadcast)
            return
        try:
            self._pool.submit(extrinsic, Source.EXTERNAL)
        except InvalidTransaction as refusal:
            self._refused(broadcast, refusal)
        except PoolRefusal as refusal:
            if refusal.reason is not PoolReason.ALREADY_IMPORTED:
                self._wait(broadcast)
        else:
            broadcast.refusals = 0

    def _refused(self, broadcast: _Broadcast, refusal: InvalidTransaction) -> None:
        if refusal.reason is TransactionReason.MALFORMED:
            self._release(broadcast)
        self._wait(broadcast)

    def _wait(self, broadcast: _Broadcast) -> None:
        wait = min(1 << broadcast.refusals, _LONGEST_WAIT)
        broadcast.refusals = min(broadcast.refusals + 1, _LONGEST_WAIT)
        broadcast.due = self._blocks + wait
