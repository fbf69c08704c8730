"""The schemas of what `chainHead_v1_*` tell and answer."""

from __future__ import annotations

from typing import Any

from node.rpc.schema import HASH, HEX, TEXT, U32, Schema, array, nullable, record, shared
from node.rpc.storage_query import ITEM

_ID = {**TEXT, "description": "what the method that began the operation returned"}


def _event(name: str, _optional: tuple[str, ...] = (), /, **members: Any) -> Schema:
    return record(_optional, event={"const": name}, **members)


_SPEC = record(
    specName=TEXT,
    implName=TEXT,
    specVersion=U32,
    implVersion=U32,
    transactionVersion=U32,
    apis={"type": "object", "additionalProperties": U32},
)
RUNTIME = shared(
    "HeadRuntime",
    {
        "oneOf": [
            record(type={"const": "valid"}, spec=_SPEC),
            record(type={"const": "invalid"}, error=TEXT),
        ]
    },
)
FOLLOW_EVENT: Schema = {
    "oneOf": [
        _event(
            "initialized",
            ("finalizedBlockRuntime",),
            finalizedBlockHashes=array(HASH),
            finalizedBlockRuntime=RUNTIME,
        ),
        _event(
            "newBlock",
            ("newRuntime",),
            blockHash=HASH,
            parentBlockHash=HASH,
            newRuntime=nullable(RUNTIME),
        ),
        _event("bestBlockChanged", bestBlockHash=HASH),
        _event("finalized", finalizedBlockHashes=array(HASH), prunedBlockHashes=array(HASH)),
        _event("stop"),
        _event("operationBodyDone", operationId=_ID, value=array(HEX)),
        _event("operationCallDone", operationId=_ID, output=HEX),
        _event("operationStorageItems", operationId=_ID, items=array(ITEM)),
        _event("operationWaitingForContinue", operationId=_ID),
        _event("operationStorageDone", operationId=_ID),
        _event("operationInaccessible", operationId=_ID),
        _event("operationError", operationId=_ID, error=TEXT),
    ]
}

_LIMIT = record(result={"const": "limitReached"})
STARTED: Schema = {"oneOf": [record(result={"const": "started"}, operationId=TEXT), _LIMIT]}
STORAGE_STARTED: Schema = {
    "oneOf": [
        record(result={"const": "started"}, operationId=TEXT, discardedItems=U32),
        _LIMIT,
    ]
}
