"""`author_*`: extrinsics into the pool, and what becomes of them; `openledger_whyDropped`."""

from __future__ import annotations

from functools import partial

import trio

from node.errors import PoolReason, PoolRefusal
from node.pool_types import Source, StatusKind, TxStatus
from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, LengthyMethod, Method, SubscribeMethod
from node.rpc.errors import (
    ALREADY_IMPORTED,
    BAD_FORMAT,
    IMMEDIATELY_DROPPED,
    INVALID_TRANSACTION,
    PRIORITY_TOO_LOW,
    TEMPORARILY_BANNED,
    UNKNOWN_VALIDITY,
    RpcError,
    response_too_big,
    state_discarded,
)
from node.rpc.kinds import Later
from node.rpc.long_extrinsics import LONG_EXTRINSIC, check_aside
from node.rpc.params import (
    MalformedError,
    Param,
    decoder,
    hash32,
    hex_bytes,
    list_of,
    to_hex,
)
from node.rpc.slices import Slice
from node.rpc.subscriptions import Subscription
from node.rpc.work import Work
from runtime.primitives.errors import InvalidTransaction, TransactionReason
from runtime.primitives.hashing import blake2_256
from runtime.state.store import MissingNode

_EXTRINSIC = (Param("extrinsic", hex_bytes, doc="The signed extrinsic, with its length prefix."),)
_MOST_REMOVED = 1000
MOST_PENDING_BYTES = 16 << 20
"""Hexadecimal digits of all extrinsics in one answer."""
_STATUS = schema.shared(
    "ExtrinsicStatus",
    {
        "oneOf": [
            {"enum": ["future", "ready", "dropped", "invalid"]},
            schema.record(inBlock=schema.HASH),
            schema.record(retracted=schema.HASH),
            schema.record(finalized=schema.HASH),
            schema.record(usurped=schema.HASH),
        ]
    },
)
_DROP = schema.nullable(
    schema.record(
        ("block", "index"),
        reason=schema.TEXT,
        detail=schema.TEXT,
        block=schema.HASH,
        index=schema.U32,
    )
)

_REFUSALS = {
    PoolReason.ALREADY_IMPORTED: (ALREADY_IMPORTED, "Transaction Already Imported"),
    PoolReason.TEMPORARILY_BANNED: (TEMPORARILY_BANNED, "Transaction is temporarily banned"),
    PoolReason.PRIORITY_TOO_LOW: (PRIORITY_TOO_LOW, "Priority is too low"),
    PoolReason.UNACTIONABLE: (UNKNOWN_VALIDITY, "Unknown Transaction Validity"),
    PoolReason.INVALID: (INVALID_TRANSACTION, "Invalid Transaction"),
}
_KNOWN_REASONS = {
    TransactionReason.CALL: "Transaction call is not expected",
    TransactionReason.PAYMENT: "Inability to pay some fees (e.g. account balance too low)",
    TransactionReason.FUTURE: "Transaction will be valid in the future",
    TransactionReason.STALE: "Transaction is outdated",
    TransactionReason.BAD_PROOF: "Transaction has a bad signature",
    TransactionReason.ANCIENT_BIRTH_BLOCK: "Transaction has an ancient birth block",
    TransactionReason.EXHAUSTS_RESOURCES: "Transaction would exhaust the block limits",
    TransactionReason.BAD_MANDATORY: "A call was labelled as mandatory, but resulted in an Error.",
    TransactionReason.MANDATORY_VALIDATION: (
        "Transaction dispatch is mandatory; transactions must not be validated."
    ),
    TransactionReason.BAD_SIGNER: "Invalid signing address",
}
"""The ecosystem's words for the reasons: programs look for them among the first of the text."""


def author_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group."""
    pool = backend.pool

    def submit(extrinsic: bytes) -> str | Later:
        """Put a signed extrinsic into the pool and return its hash, or say why it is refused."""
        if len(extrinsic) > LONG_EXTRINSIC:
            return Later(partial(submit_long, extrinsic))
        return to_hex(_submit(backend, extrinsic))

    async def submit_long(extrinsic: bytes) -> str:
        await _check_aside(backend, extrinsic)
        return to_hex(_submit(backend, extrinsic))

    async def submit_and_watch(subscription: Subscription, extrinsic: bytes) -> None:
        """Put a signed extrinsic into the pool and tell what becomes of it, until that is final."""
        if len(extrinsic) > LONG_EXTRINSIC:
            await _check_aside(backend, extrinsic)
        statuses = pool.watch(_submit(backend, extrinsic))

        async def pump() -> None:
            async with statuses:
                async for status in statuses:
                    subscription.notify(status_shape(status))
            await trio.lowlevel.checkpoint()

        subscription.session.feed(subscription, pump)

    async def pending() -> list[str]:
        """List the extrinsics that wait in the pool, those that are ready first."""
        found, size = [], 0
        work = Slice()
        for data in pool.pending():
            size += 2 * len(data) + 5
            if size > MOST_PENDING_BYTES:
                raise response_too_big("the pool holds more than one answer can")
            found.append(to_hex(data))
            await work.pause()
        return found

    def remove(named: list[bytes]) -> list[str]:
        """Take extrinsics out of this node's pool and refuse them for a while.

        Each is named by `{"hash": …}` or `{"extrinsic": …}`; those that were there are returned.
        Other nodes keep theirs.
        """
        return [to_hex(extrinsic_hash) for extrinsic_hash in named if pool.remove(extrinsic_hash)]

    def why_dropped(extrinsic_hash: bytes) -> object:
        """Recall why an extrinsic is not in the pool, or in which final block it is.

        Null where this node never saw it, or has forgotten.
        """
        place = backend.chain.place(extrinsic_hash)
        if place is not None:
            block, index = place
            text = "it is in a finalised block"
            return {"reason": "FINALIZED", "detail": text, "block": to_hex(block), "index": index}
        drop = pool.why_dropped(extrinsic_hash)
        return None if drop is None else {"reason": drop.reason.name, "detail": drop.detail}

    return [
        Method("author_submitExtrinsic", submit, _EXTRINSIC, result=schema.HASH),
        LengthyMethod(
            "author_pendingExtrinsics",
            pending,
            result=schema.array(schema.HEX),
            work=Work.SCAN,
        ),
        Method(
            "author_removeExtrinsic",
            remove,
            (Param("bytesOrHash", list_of(_named, _MOST_REMOVED), doc="Which ones."),),
            result=schema.array(schema.HASH, _MOST_REMOVED),
            unsafe=True,
        ),
        SubscribeMethod(
            "author_submitAndWatchExtrinsic",
            submit_and_watch,
            "author_extrinsicUpdate",
            ("author_unwatchExtrinsic",),
            _EXTRINSIC,
            result=_STATUS,
        ),
        Method(
            "openledger_whyDropped",
            why_dropped,
            (Param("hash", hash32, doc="Hash of the extrinsic."),),
            result=_DROP,
        ),
    ]


@decoder(
    {
        "oneOf": [
            schema.record(hash=schema.HASH),
            schema.record(extrinsic=schema.HEX),
            schema.HEX,
        ]
    }
)
def _named(value: object) -> bytes:
    """Decode the hash of an extrinsic: given itself, or as the extrinsic."""
    if isinstance(value, dict) and len(value) == 1:
        ((form, given),) = value.items()
        if form.lower() == "hash":
            return hash32(given)
        if form.lower() == "extrinsic":
            return blake2_256(hex_bytes(given))
    if isinstance(value, str):
        data = hex_bytes(value)
        return data if len(data) == 32 else blake2_256(data)
    raise MalformedError('expected {"hash": "0x…"} or {"extrinsic": "0x…"}')


async def _check_aside(backend: Backend, extrinsic: bytes) -> None:
    """Check a long extrinsic in a thread before the pool does, since decoding it may take long.

    Raises `RpcError`.
    """
    try:
        await check_aside(backend, extrinsic)
    except InvalidTransaction as refusal:
        raise invalid_transaction(refusal) from None
    except MissingNode:
        raise state_discarded(backend.chain.best().hash) from None


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
    """Tell why the state does not admit an extrinsic: the reason's name, its words, the details."""
    if refusal.reason is TransactionReason.MALFORMED:
        detail = refusal.detail or "the bytes are not an extrinsic of this runtime"
        return RpcError(BAD_FORMAT, f"Extrinsic has invalid format: {detail}")
    name = "".join(word.capitalize() for word in refusal.reason.name.split("_"))
    if refusal.reason is TransactionReason.CUSTOM:
        told = [name, refusal.detail, f"Custom error: {refusal.custom}"]
    else:
        told = [name, _KNOWN_REASONS[refusal.reason], refusal.detail]
    return RpcError(INVALID_TRANSACTION, "Invalid Transaction", ": ".join(filter(None, told)))


def status_shape(status: TxStatus) -> object:
    """Show a status: a bare name, or a name with a block's or a replacement's hash."""
    if status.kind in (StatusKind.IN_BLOCK, StatusKind.FINALIZED, StatusKind.RETRACTED):
        return {status.kind.value: to_hex(status.hash or b"")}
    if status.kind is StatusKind.USURPED and status.hash is not None:
        return {status.kind.value: to_hex(status.hash)}
    return "dropped" if status.kind is StatusKind.USURPED else status.kind.value
