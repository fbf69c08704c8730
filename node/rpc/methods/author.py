"""`author_*`: extrinsics into the pool, and what becomes of them; `openledger_whyDropped`."""

from __future__ import annotations

import trio

from node.errors import PoolReason, PoolRefusal
from node.pool_types import Source, StatusKind, TxStatus
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, Method, SubscribeMethod
from node.rpc.errors import (
    ALREADY_IMPORTED,
    BAD_FORMAT,
    IMMEDIATELY_DROPPED,
    INVALID_TRANSACTION,
    PRIORITY_TOO_LOW,
    TEMPORARILY_BANNED,
    UNKNOWN_VALIDITY,
    RpcError,
)
from node.rpc.params import Param, hash32, hex_bytes, to_hex
from node.rpc.subscriptions import Subscription
from runtime.primitives.errors import InvalidTransaction, TransactionReason
from runtime.primitives.hashing import blake2_256

_EXTRINSIC = (Param("extrinsic", hex_bytes),)

_REFUSALS = {
    PoolReason.ALREADY_IMPORTED: (ALREADY_IMPORTED, "Transaction Already Imported"),
    PoolReason.TEMPORARILY_BANNED: (TEMPORARILY_BANNED, "Transaction is temporarily banned"),
    PoolReason.PRIORITY_TOO_LOW: (PRIORITY_TOO_LOW, "Priority is too low"),
    PoolReason.UNACTIONABLE: (UNKNOWN_VALIDITY, "Unknown Transaction Validity"),
    PoolReason.INVALID: (INVALID_TRANSACTION, "Invalid Transaction"),
}


def author_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group."""
    pool = backend.pool

    def submit(extrinsic: bytes) -> str:
        return to_hex(_submit(backend, extrinsic))

    async def submit_and_watch(subscription: Subscription, extrinsic: bytes) -> None:
        statuses = pool.watch(_submit(backend, extrinsic))

        async def pump() -> None:
            async with statuses:
                async for status in statuses:
                    subscription.notify(status_shape(status))
            await trio.lowlevel.checkpoint()

        subscription.session.feed(subscription, pump)

    def why_dropped(extrinsic_hash: bytes) -> object:
        place = backend.chain.place(extrinsic_hash)
        if place is not None:
            block, index = place
            text = "it is in a finalised block"
            return {"reason": "FINALIZED", "detail": text, "block": to_hex(block), "index": index}
        drop = pool.why_dropped(extrinsic_hash)
        return None if drop is None else {"reason": drop.reason.name, "detail": drop.detail}

    return [
        Method("author_submitExtrinsic", submit, _EXTRINSIC),
        Method("author_pendingExtrinsics", lambda: [to_hex(data) for data in pool.pending()]),
        SubscribeMethod(
            "author_submitAndWatchExtrinsic",
            submit_and_watch,
            "author_extrinsicUpdate",
            ("author_unwatchExtrinsic",),
            _EXTRINSIC,
        ),
        Method("openledger_whyDropped", why_dropped, (Param("hash", hash32),)),
    ]


def _submit(backend: Backend, extrinsic: bytes) -> bytes:
    """Put an extrinsic into the pool; raises `RpcError` with the ecosystem's codes."""
    try:
        return backend.pool.submit(extrinsic, Source.EXTERNAL)
    except InvalidTransaction as refusal:
        raise invalid_transaction(refusal) from None
    except PoolRefusal as refusal:
        known = _REFUSALS.get(refusal.reason, (IMMEDIATELY_DROPPED, "Immediately Dropped"))
        detail = f"{refusal.reason.name}: {refusal.detail or refusal.reason.value}"
        if refusal.reason is PoolReason.ALREADY_IMPORTED:
            detail = f"{detail} ({to_hex(blake2_256(extrinsic))})"
        raise RpcError(*known, detail) from None


def invalid_transaction(refusal: InvalidTransaction) -> RpcError:
    """Tell why the state does not admit an extrinsic: the reason's name, then what to do."""
    if refusal.reason is TransactionReason.MALFORMED:
        detail = refusal.detail or "the bytes are not an extrinsic of this runtime"
        return RpcError(BAD_FORMAT, f"Extrinsic has invalid format: {detail}")
    name = "".join(word.capitalize() for word in refusal.reason.name.split("_"))
    detail = f"{name}: {refusal.detail}" if refusal.detail else name
    return RpcError(INVALID_TRANSACTION, "Invalid Transaction", detail)


def status_shape(status: TxStatus) -> object:
    """Show a status: a bare name, or a name with a block's or a replacement's hash."""
    if status.kind in (StatusKind.IN_BLOCK, StatusKind.FINALIZED, StatusKind.RETRACTED):
        return {status.kind.value: to_hex(status.hash or b"")}
    if status.kind is StatusKind.USURPED and status.hash is not None:
        return {status.kind.value: to_hex(status.hash)}
    return "dropped" if status.kind is StatusKind.USURPED else status.kind.value
