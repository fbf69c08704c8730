"""`state_traceBlock`: what a block read and wrote, in the ecosystem's shape of a block's trace."""

from __future__ import annotations

from functools import partial

import trio

from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, LengthyMethod
from node.rpc.errors import (
    body_discarded,
    execution_failed,
    state_discarded,
    unknown_block,
)
from node.rpc.params import MalformedError, Param, decoder, hash32, text
from node.rpc.work import Work
from runtime.primitives.errors import InvalidBlock
from runtime.primitives.scale import encode
from runtime.state.store import MissingNode
from runtime.trace import READ, WRITE, Trace, TraceTooLong, Wanted, trace_block

TARGETS = "pallet,frame,state"
STATE, FRAME = "state", "frame"
_MOST_PREFIXES = 64
_DIGITS = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
"""A hash without `0x`: in a trace, clients read `0x…` as the bytes of a text."""
_TEXTS = {"type": "object", "additionalProperties": schema.TEXT}
_SPAN = schema.record(
    id=schema.U64,
    parentId=schema.nullable(schema.U64),
    name=schema.TEXT,
    target=schema.TEXT,
    wasm=schema.BOOLEAN,
)
_EVENT = schema.record(
    target=schema.TEXT,
    data=schema.record(stringValues=_TEXTS),
    parentId=schema.nullable(schema.U64),
)
_RESULT = {
    "oneOf": [
        schema.record(
            blockTrace=schema.record(
                blockHash=_DIGITS,
                parentHash=_DIGITS,
                tracingTargets=schema.TEXT,
                storageKeys=schema.TEXT,
                methods=schema.TEXT,
                spans=schema.array(_SPAN),
                events=schema.array(_EVENT),
            )
        ),
        schema.record(traceError=schema.record(error=schema.TEXT)),
    ]
}


@decoder({"type": "string", "description": "hexadecimal beginnings of keys, by commas"})
def prefixes(value: object) -> tuple[bytes, ...]:
    """Decode beginnings of keys."""
    parts = [part for part in text(value).split(",") if part]
    if len(parts) > _MOST_PREFIXES:
        raise MalformedError(f"at most {_MOST_PREFIXES} beginnings are taken, got {len(parts)}")
    try:
        return tuple(bytes.fromhex(part.removeprefix("0x")) for part in parts)
    except ValueError:
        raise MalformedError("expected hexadecimal beginnings of keys, by commas") from None


def trace_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group."""

    async def trace(
        block_hash: bytes,
        targets: str | None,
        keys: tuple[bytes, ...] | None,
        methods: str | None,
    ) -> object:
        """Execute a block again on its parent's state; tell what it read and wrote, in order.

        Reads are events with the method `Get`, writes with `Put`; what was rolled back is told
        too. Hashes, keys and values are hexadecimal without `0x`. Parts of the execution are
        spans. A trace that is too long is answered with a `traceError`: ask for fewer keys.
        """
        chosen = TARGETS if targets is None else targets
        methods = methods or ""
        wanted = Wanted(keys or (), _methods(methods) if _covers(chosen, STATE) else ())
        try:
            found = await _trace(backend, block_hash, wanted)
        except TraceTooLong:
            told = f"more than {wanted.most_accesses} events or {wanted.most_bytes} bytes"
            return {"traceError": {"error": f"the trace is too long ({told}): name fewer keys"}}
        header = backend.header(block_hash)
        return {
            "blockTrace": {
                "blockHash": block_hash.hex(),
                "parentHash": header.parent_hash.hex(),
                "tracingTargets": chosen,
                "storageKeys": ",".join(key.hex() for key in keys or ()),
                "methods": methods,
                "spans": _spans(found) if _covers(chosen, FRAME) else [],
                "events": _events(found),
            }
        }

    return [
        LengthyMethod(
            "state_traceBlock",
            trace,
            (
                Param("block", hash32, doc="Hash of the block; its parent's state must be kept."),
                Param("targets", text, optional=True, doc=f"What to tell, by commas ({TARGETS})."),
                Param("storageKeys", prefixes, optional=True, doc="Beginnings of keys; all."),
                Param("methods", text, optional=True, doc="`Get`, `Put`, by commas; both."),
            ),
            result=_RESULT,
            unsafe=True,
            work=Work.RULES,
        )
    ]


async def _trace(backend: Backend, block_hash: bytes, wanted: Wanted) -> Trace:
    header = backend.header(block_hash)
    block = backend.chain.block(block_hash)
    if block is None:
        raise body_discarded(block_hash)
    if not header.number:
        raise unknown_block(header.parent_hash)
    parent, state = backend.header(header.parent_hash), backend.state(header.parent_hash)
    try:
        return await trio.to_thread.run_sync(partial(trace_block, parent, state, block, wanted))
    except MissingNode:
        raise state_discarded(header.parent_hash) from None
    except InvalidBlock as refusal:  # of a release before or after this one
        raise execution_failed(str(refusal)) from None


def _methods(names: str) -> tuple[str, ...]:
    chosen = {name.strip() for name in names.split(",")} - {""}
    return tuple(m for m in (READ, WRITE) if not chosen or m in chosen)


def _covers(targets: str, target: str) -> bool:
    return any(part and target.startswith(part) for part in targets.split(","))


def _spans(trace: Trace) -> list[object]:
    return [
        {
            "id": span.number,
            "parentId": span.parent,
            "name": span.name,
            "target": FRAME,
            "wasm": False,
        }
        for span in trace.spans
    ]


def _events(trace: Trace) -> list[object]:
    found: list[object] = []
    for access in trace.accesses:
        name = "result" if access.method == READ else "value"
        value = None if access.value is None else access.value.hex()
        found.append(
            {
                "target": STATE,
                "data": {
                    "stringValues": {
                        "method": access.method,
                        "key": access.key.hex(),
                        name: "None" if value is None else f"Some({value})",
                        f"{name}_encoded": encode(bytes | None, access.value).hex(),
                    }
                },
                "parentId": access.span,
            }
        )
    return found
