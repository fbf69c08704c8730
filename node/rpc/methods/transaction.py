"""`transaction_v1_*` and `transactionWatch_v1_*`: extrinsics on their way into the chain."""

from __future__ import annotations

from typing import Any

import trio

from node.errors import PoolReason, PoolRefusal
from node.pool import Pool
from node.pool_types import Source, StatusKind, TxStatus
from node.rpc.backend import Backend
from node.rpc.broadcasts import Broadcasts
from node.rpc.dispatch import AnyMethod, SessionMethod, SubscribeMethod
from node.rpc.errors import RpcError, invalid_params
from node.rpc.heads import Heads
from node.rpc.long_extrinsics import LONG_EXTRINSIC, check_aside
from node.rpc.params import Param, hex_bytes, text, to_hex
from node.rpc.schema import HASH, NULL, TEXT, U32, nullable, record
from node.rpc.subscriptions import Session, Subscription
from runtime.primitives.errors import InvalidTransaction
from runtime.primitives.hashing import blake2_256
from runtime.state.store import MissingNode

_TRANSACTION = (Param("transaction", hex_bytes, doc="SCALE-encoded extrinsic"),)
_WATCH = "transactionWatch_v1_watchEvent"
_PLACE = record(hash=HASH, index=U32)
_EVENT = {
    "oneOf": [
        record(event={"const": "validated"}),
        record(event={"const": "bestChainBlockIncluded"}, block=nullable(_PLACE)),
        record(event={"const": "finalized"}, block=_PLACE),
        record(event={"enum": ["error", "invalid", "dropped"]}, error=TEXT),
    ]
}
_NO_ROOM = (
    PoolReason.SENDER_FULL,
    PoolReason.POOL_FULL,
    PoolReason.PRIORITY_TOO_LOW,
    PoolReason.EVICTED,
)
_Event = dict[str, Any]


def transaction_methods(
    backend: Backend, heads: Heads, broadcasts: Broadcasts | None = None
) -> list[AnyMethod]:
    """List the methods of this group."""
    pool = backend.pool
    if broadcasts is None:
        broadcasts = Broadcasts(backend, heads.best)

    def broadcast(session: Session, transaction: bytes) -> str | None:
        """Try to get an extrinsic into the chain until the operation is stopped.

        What is not valid now is tried again with later blocks; nothing is told of it. Null where
        the connection, or the node, broadcasts as many as it may. The connection's end stops it.
        """
        return broadcasts.start(session, transaction)

    def stop(session: Session, operation: str) -> None:
        """Stop to broadcast an extrinsic; what is in the pool already stays there."""
        if not broadcasts.stop(session, operation):
            raise invalid_params("operationId: no such broadcast of this connection is active")

    async def submit_and_watch(subscription: Subscription, transaction: bytes) -> None:
        """Put an extrinsic into the pool and tell what becomes of it.

        `finalized`, `invalid`, `dropped` and `error` are the last event. The extrinsic stays in
        the pool when the subscription ends.
        """
        extrinsic_hash = blake2_256(transaction)
        refused = await _submit(backend, transaction)

        async def pump() -> None:
            if refused is None:
                await _tell(pool, subscription, extrinsic_hash)
            else:
                subscription.notify(refused)
            await trio.lowlevel.checkpoint()

        subscription.session.feed(subscription, pump)

    def unwatch(session: Session, subscription: str) -> None:
        """Stop to tell about an extrinsic, which stays in the pool."""
        if not session.close(subscription, _WATCH):
            raise invalid_params("subscription: there is no such one, or its last event was sent")

    return [
        SessionMethod("transaction_v1_broadcast", broadcast, _TRANSACTION, result=nullable(TEXT)),
        SessionMethod(
            "transaction_v1_stop",
            stop,
            (Param("operationId", text, doc="what transaction_v1_broadcast returned"),),
            result=NULL,
        ),
        SubscribeMethod(
            "transactionWatch_v1_submitAndWatch",
            submit_and_watch,
            _WATCH,
            (),
            _TRANSACTION,
            result=_EVENT,
        ),
        SessionMethod(
            "transactionWatch_v1_unwatch",
            unwatch,
            (Param("subscription", text, doc="what submitAndWatch returned"),),
            result=NULL,
        ),
    ]


async def _submit(backend: Backend, extrinsic: bytes) -> _Event | None:
    """Submit an extrinsic; return the event of its refusal, None where it can be watched."""
    try:
        if len(extrinsic) > LONG_EXTRINSIC:
            await check_aside(backend, extrinsic)
        backend.pool.submit(extrinsic, Source.EXTERNAL)
    except (MissingNode, RpcError) as fault:
        return {"event": "dropped", "error": f"the node could not check it: {fault}"}
    except InvalidTransaction as refusal:
        return {"event": "invalid", "error": str(refusal)}
    except PoolRefusal as refusal:
        if refusal.reason is PoolReason.ALREADY_IMPORTED:
            return None
        event = "dropped" if refusal.reason in _NO_ROOM else "invalid"
        return {"event": event, "error": str(refusal)}
    return None


async def _tell(pool: Pool, subscription: Subscription, extrinsic_hash: bytes) -> None:
    """Tell what becomes of an extrinsic until the last event; one like the last told is skipped."""
    told: _Event = {}
    async with pool.watch(extrinsic_hash) as statuses:
        async for status in statuses:
            event = _event(pool, extrinsic_hash, status)
            if event != told:
                subscription.notify(event)
                told = event
            if status.kind.final:
                return
    subscription.notify({"event": "dropped", "error": "the node does not follow it any more"})


def _event(pool: Pool, extrinsic_hash: bytes, status: TxStatus) -> _Event:
    match status.kind:
        case StatusKind.FUTURE | StatusKind.READY:
            return {"event": "validated"}
        case StatusKind.IN_BLOCK:
            return {"event": "bestChainBlockIncluded", "block": _place(status)}
        case StatusKind.RETRACTED:
            return {"event": "bestChainBlockIncluded", "block": None}
        case StatusKind.FINALIZED:
            return {"event": "finalized", "block": _place(status)}
        case StatusKind.DROPPED:
            return {"event": "dropped", "error": _reason(pool, extrinsic_hash)}
        case StatusKind.INVALID | StatusKind.USURPED:
            return {"event": "invalid", "error": _reason(pool, extrinsic_hash)}


def _reason(pool: Pool, extrinsic_hash: bytes) -> str:
    drop = pool.why_dropped(extrinsic_hash)
    return "the node has forgotten why" if drop is None else f"{drop.reason.name}: {drop.detail}"


def _place(status: TxStatus) -> _Event:
    return {"hash": to_hex(status.hash or b""), "index": status.index}
