"""Blocks, extrinsics and events in full, decoded with the names of the metadata, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from node.rpc import schema
from node.rpc.json_values import CALL, ERA, call_json, fields_json, json_value, shown
from node.rpc.params import to_hex
from runtime.apis.error_names import NamedError, named_error
from runtime.construct import decode_call
from runtime.frame.event_records import EventRecord
from runtime.primitives.digest import find_claim, find_next_epoch
from runtime.primitives.extrinsic import Era, UncheckedExtrinsic
from runtime.primitives.hashing import blake2_256
from runtime.primitives.header import Header
from runtime.primitives.keys import ss58_encode
from runtime.primitives.types import Id

ERROR = shown(NamedError)
FIELDS: schema.Schema = {"type": "object", "description": "by name"}
EVENT = schema.shared(
    "Event",
    {
        **schema.record(pallet=schema.TEXT, name=schema.TEXT, fields=FIELDS),
        "description": "An event, with the names of the metadata.",
    },
)
EXTRINSIC = schema.shared(
    "Extrinsic",
    {
        **schema.record(
            index=schema.nullable({**schema.U32, "description": "in its block"}),
            hash=schema.HASH,
            call=CALL,
            signer=schema.nullable(schema.ADDRESS),
            nonce=schema.nullable(schema.U32),
            tip=schema.nullable(schema.DECIMAL),
            era=schema.nullable(ERA),
            fee=schema.nullable({**schema.DECIMAL, "description": "paid, with the tip"}),
            success=schema.nullable(schema.BOOLEAN),
            error=schema.nullable(ERROR.schema),
            events=schema.nullable(schema.array(EVENT)),
        ),
        "description": (
            "A decoded extrinsic. What became of it (fee, success, error, events) is null where it "
            "is in no block, or where the state of its block is pruned."
        ),
    },
)
CLAIM = schema.shared(
    "LeaderClaim",
    schema.record(
        epoch=schema.DECIMAL,
        view=schema.DECIMAL,
        parentView=schema.DECIMAL,
        leader={**schema.U32, "description": "position in the epoch's validator set"},
        parentSigners={**schema.HEX, "description": "bitmap of who voted for the parent"},
    ),
)
BLOCK = schema.shared(
    "Block",
    {
        **schema.record(
            hash=schema.HASH,
            number=schema.U32,
            parentHash=schema.HASH,
            stateRoot=schema.HASH,
            extrinsicsRoot=schema.HASH,
            time=schema.nullable({**schema.DECIMAL, "description": "milliseconds since 1970"}),
            author=schema.nullable(schema.ADDRESS),
            claim=schema.nullable(CLAIM),
            nextEpoch=schema.nullable(
                {**schema.DECIMAL, "description": "the epoch that the next block begins"}
            ),
            finalized=schema.BOOLEAN,
            extrinsics=schema.nullable(schema.array(EXTRINSIC)),
            events=schema.nullable(schema.array(EVENT)),
        ),
        "description": (
            "A block. `events` are those of the block itself, each extrinsic has its own. The "
            "extrinsics are null where the body is not kept, author and events where the state is "
            "pruned."
        ),
    },
)


def event_json(record: EventRecord) -> dict[str, Any]:
    """Show an event."""
    return {"pallet": record.pallet, "name": record.name, "fields": fields_json(record.event)}


def extrinsic_json(
    raw: bytes, index: int | None, own: Sequence[EventRecord] | None
) -> dict[str, Any]:
    """Show an extrinsic and, from its own events, what came of it; raises DecodeError."""
    extrinsic = UncheckedExtrinsic.decode(raw)
    signed = extrinsic.signed
    address = signed.address if signed else None
    return {
        "index": index,
        "hash": to_hex(blake2_256(raw)),
        "call": call_json(decode_call(extrinsic.call)),
        "signer": ss58_encode(address.account) if isinstance(address, Id) else None,
        "nonce": signed.extensions.nonce if signed else None,
        "tip": str(signed.extensions.tip) if signed else None,
        "era": json_value(Era, signed.extensions.era) if signed else None,
        **_outcome(own),
    }


def _outcome(own: Sequence[EventRecord] | None) -> dict[str, Any]:
    if own is None:
        return dict.fromkeys(("fee", "success", "error", "events"))
    by_name = {(record.pallet, record.name): record.event for record in own}
    paid = by_name.get(("TransactionPayment", "TransactionFeePaid"))
    failed = by_name.get(("System", "ExtrinsicFailed"))
    return {
        "fee": str(paid.actual_fee) if paid else "0",
        "success": failed is None,
        "error": ERROR.write(named_error(failed.dispatch_error)) if failed else None,
        "events": [event_json(record) for record in own],
    }


def header_json(block_hash: bytes, header: Header) -> dict[str, Any]:
    """Show what a header alone tells."""
    claim, following = find_claim(header.digest), find_next_epoch(header.digest)
    return {
        "hash": to_hex(block_hash),
        "number": header.number,
        "parentHash": to_hex(header.parent_hash),
        "stateRoot": to_hex(header.state_root),
        "extrinsicsRoot": to_hex(header.extrinsics_root),
        "claim": claim
        and {
            "epoch": str(claim.epoch),
            "view": str(claim.view),
            "parentView": str(claim.parent_view),
            "leader": claim.leader,
            "parentSigners": to_hex(claim.parent_signers),
        },
        "nextEpoch": following and str(following.epoch),
    }
