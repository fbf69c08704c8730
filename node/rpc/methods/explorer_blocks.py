"""`openledger_block`, `_extrinsic`, `_events`, `_decode`: what blocks hold, decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import trio

from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, LengthyMethod
from node.rpc.errors import RpcError, execution_failed, invalid_params, state_discarded
from node.rpc.json_values import CALL, call_json
from node.rpc.methods.explorer_arguments import number_of
from node.rpc.methods.explorer_shapes import (
    BLOCK,
    EXTRINSIC,
    FIELDS,
    event_json,
    extrinsic_json,
    header_json,
)
from node.rpc.params import Decoder, Param, decoder, hash32, hex_bytes, to_hex
from node.rpc.work import Work
from runtime.construct import EVENTS, decode_call, storage_item, storage_key
from runtime.frame.event_records import EventRecord
from runtime.primitives.hashing import blake2_256
from runtime.primitives.header import Block
from runtime.primitives.keys import ss58_encode
from runtime.primitives.scale import DecodeError
from runtime.state.store import MissingNode, State

T = TypeVar("T")
MOST_UNFINALISED = 1024
"""Blocks above the last finalised one that are searched for an extrinsic."""

_PLACED = schema.shared(
    "PlacedExtrinsic",
    schema.record(
        block=schema.nullable({**schema.HASH, "description": "null while it waits in the pool"}),
        number=schema.nullable(schema.U32),
        time=schema.nullable({**schema.DECIMAL, "description": "milliseconds since 1970"}),
        finalized=schema.BOOLEAN,
        extrinsic=EXTRINSIC,
    ),
)
_PLACED_EVENT = schema.record(
    extrinsic=schema.nullable({**schema.U32, "description": "index; null for the block's own"}),
    pallet=schema.TEXT,
    name=schema.TEXT,
    fields=FIELDS,
)
_DECODED = schema.record(
    kind={"enum": ["Extrinsic", "Call"]},
    extrinsic=schema.nullable(EXTRINSIC),
    call=CALL,
)


def _block_id() -> Decoder[bytes | int]:
    number = number_of(32)

    @decoder({"anyOf": [schema.HASH, *number.schema["oneOf"], schema.HEX_NUMBER]})
    def decode(value: object) -> bytes | int:
        if isinstance(value, str) and len(value) >= 64:
            return hash32(value)
        return number(value)

    return decode


BLOCK_ID = Param(
    "block", _block_id(), optional=True, doc="Hash or number; by default the best block."
)


def block_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group."""
    pages = BlockPages(backend)

    async def block(which: bytes | int | None) -> object:
        """Return a block in full: header, author, time, extrinsics with their outcome, events.

        Null for a block that this node does not know.
        """
        return await aside(backend, pages.block, which)

    async def events(which: bytes | int | None) -> object:
        """Return the events of a block in order; null for a block that this node does not know."""
        return await aside(backend, pages.events, which)

    async def extrinsic(extrinsic_hash: bytes) -> object:
        """Find an extrinsic by its hash, in a block or in the pool, and tell what became of it.

        Null where this node does not have it. Of bodies that are pruned nothing is found.
        """
        waiting = backend.pool.extrinsic(extrinsic_hash)  # here: the pool is the loop's
        return await aside(backend, pages.extrinsic, extrinsic_hash, waiting)

    async def decode(data: bytes) -> object:
        """Decode a call, or an extrinsic with its length prefix, as wallets show it for signing.

        `extrinsic` is null where the bytes are a call alone.
        """
        most = backend.pool.limits.extrinsic_bytes
        if len(data) > most:
            raise invalid_params(f"at most {most} bytes are decoded, got {len(data)}")
        return await aside(backend, decoded, data)

    return [
        LengthyMethod(
            "openledger_block",
            block,
            (BLOCK_ID,),
            result=schema.nullable(BLOCK),
        ),
        LengthyMethod(
            "openledger_events",
            events,
            (BLOCK_ID,),
            result=schema.nullable(schema.array(_PLACED_EVENT)),
        ),
        LengthyMethod(
            "openledger_extrinsic",
            extrinsic,
            (Param("hash", hash32, doc="blake2b-256 of the extrinsic."),),
            result=schema.nullable(_PLACED),
        ),
        LengthyMethod(
            "openledger_decode",
            decode,
            (Param("data", hex_bytes, doc="SCALE of a call or of an extrinsic."),),
            result=_DECODED,
        ),
    ]


async def aside(backend: Backend, function: Callable[..., T], *arguments: Any) -> T:
    """Work in a thread beside the event loop, when it is this request's turn."""
    async with backend.turns[Work.RULES].turn():
        try:
            return await trio.to_thread.run_sync(partial(function, *arguments))
        except MissingNode:
            raise execution_failed("a part of the state was pruned meanwhile") from None


class BlockPages:
    """Blocks and extrinsics of this node's chain as JSON; every method may be long."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._chain = backend.chain

    def block(self, which: bytes | int | None) -> dict[str, Any] | None:
        """Show a block."""
        block_hash = self.named(which)
        header = None if block_hash is None else self._chain.header(block_hash)
        if block_hash is None or header is None:
            return None
        block = self._chain.block(block_hash)
        known = self._happened(block_hash)
        return {
            **header_json(block_hash, header),
            "time": None if block is None else self._time(block),
            "author": known and known.author,
            "finalized": self._chain.is_finalized(block_hash),
            "extrinsics": None if block is None else _extrinsics(block, known),
            "events": known and [event_json(record) for record in known.of(None)],
        }

    def events(self, which: bytes | int | None) -> list[dict[str, Any]] | None:
        """Show the events of a block; raises `RpcError` where its state is pruned."""
        block_hash = self.named(which)
        if block_hash is None or self._chain.header(block_hash) is None:
            return None
        known = self._happened(block_hash)
        if known is None:
            raise state_discarded(block_hash)
        return [{"extrinsic": record.extrinsic, **event_json(record)} for record in known.records]

    def extrinsic(self, extrinsic_hash: bytes, waiting: bytes | None) -> dict[str, Any] | None:
        """Show an extrinsic and its place; `waiting` is what the pool has of it."""
        place = self.place(extrinsic_hash)
        if place is None:
            return None if waiting is None else _placed(extrinsic_json(waiting, None, None))
        block_hash, index = place
        block = self._chain.block(block_hash)
        if block is None:
            return None
        known = self._happened(block_hash)
        return _placed(
            extrinsic_json(block.extrinsics[index], index, known.of(index) if known else None),
            block=to_hex(block_hash),
            number=block.header.number,
            time=self._time(block),
            finalized=self._chain.is_finalized(block_hash),
        )

    def named(self, which: bytes | int | None) -> bytes | None:
        """Return the hash of the block that is meant, the best one by default."""
        if isinstance(which, int):
            return self._chain.block_hash(which)
        return self._backend.at(which)

    def place(self, extrinsic_hash: bytes) -> tuple[bytes, int] | None:
        """Find an extrinsic: among the final ones, then in the blocks of the best chain above."""
        found = self._chain.place(extrinsic_hash)
        if found is not None:
            return found
        block_hash, final = self._chain.best().hash, self._chain.finalized().number
        for _ in range(MOST_UNFINALISED):
            block = self._chain.block(block_hash)
            if block is None or block.header.number <= final:
                break
            for index, raw in enumerate(block.extrinsics):
                if blake2_256(raw) == extrinsic_hash:
                    return block_hash, index
            block_hash = block.header.parent_hash
        return None

    def _happened(self, block_hash: bytes) -> Happened | None:
        """Read what a block did; None where its state is pruned."""
        try:
            return happened(self._backend.state(block_hash))
        except (RpcError, MissingNode):
            return None

    def _time(self, block: Block) -> str | None:
        time = self._backend.runtime.block_time(block)
        return None if time is None else str(time)


@dataclass(frozen=True, slots=True)
class Happened:
    """What a block did, read from the state behind it."""

    author: str | None
    records: tuple[EventRecord, ...]
    by_extrinsic: dict[int | None, list[EventRecord]]

    def of(self, extrinsic: int | None) -> list[EventRecord]:
        """Return the events of an extrinsic, or those of the block itself."""
        return self.by_extrinsic.get(extrinsic, [])


def happened(state: State) -> Happened:
    """Read what the block behind a state did; raises MissingNode."""
    events = state.get(storage_key("System", "Events"))
    records = () if events is None else EVENTS.decode(events)
    by_extrinsic: dict[int | None, list[EventRecord]] = {}
    for record in records:
        by_extrinsic.setdefault(record.extrinsic, []).append(record)
    item = storage_item("Session", "Author")
    author = state.get(item.prefix)
    return Happened(
        None if author is None else ss58_encode(item.decode_value(author)), records, by_extrinsic
    )


def decoded(data: bytes) -> dict[str, Any]:
    """Decode an extrinsic or a call; raises `RpcError` where the bytes are neither."""
    try:
        extrinsic = extrinsic_json(data, None, None)
    except DecodeError as not_extrinsic:
        try:
            return {"kind": "Call", "extrinsic": None, "call": call_json(decode_call(data))}
        except DecodeError as not_call:
            raise invalid_params(
                f"neither an extrinsic ({not_extrinsic}) nor a call ({not_call})"
            ) from None
    return {"kind": "Extrinsic", "extrinsic": extrinsic, "call": extrinsic["call"]}


def _placed(extrinsic: dict[str, Any], **place: Any) -> dict[str, Any]:
    nowhere = {"block": None, "number": None, "time": None, "finalized": False}
    return {**nowhere, **place, "extrinsic": extrinsic}


def _extrinsics(block: Block, known: Happened | None) -> list[dict[str, Any]]:
    return [
        extrinsic_json(raw, index, known.of(index) if known else None)
        for index, raw in enumerate(block.extrinsics)
    ]
