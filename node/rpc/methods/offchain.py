"""`offchain_localStorage*`: small notes that programs keep on this node."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import trio

from node.offchain import Notes, NotesRefusal
from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, LengthyMethod
from node.rpc.errors import OFFCHAIN_ERROR, RpcError
from node.rpc.params import MalformedError, Param, decoder, hex_bytes, to_hex
from node.rpc.work import Work

T = TypeVar("T")
KINDS = ("PERSISTENT", "LOCAL")


@decoder({"enum": list(KINDS)})
def _kind(value: object) -> str:
    if not isinstance(value, str) or value.upper() not in KINDS:
        raise MalformedError('expected "PERSISTENT"')
    return value.upper()


_KEY = Param("key", hex_bytes, doc="Under which it is kept.")
_KIND = Param("kind", _kind, doc="`PERSISTENT`; `LOCAL`, which follows forks, is not kept.")


def offchain_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group; none on a node that keeps no notes."""
    notes = backend.notes
    if notes is None:
        return []
    kept: Notes = notes

    async def run(kind: str, job: Callable[[], T]) -> T:
        if kind != "PERSISTENT":
            detail = "UNAVAILABLE: use PERSISTENT"
            raise RpcError(OFFCHAIN_ERROR, "This storage kind is not available yet", detail)
        try:
            return await trio.to_thread.run_sync(job)
        except NotesRefusal as refusal:
            detail = f"{refusal.reason.name}: {refusal.detail}"
            raise RpcError(OFFCHAIN_ERROR, "Local storage refused", detail) from None

    async def set_note(kind: str, key: bytes, value: bytes) -> None:
        """Keep bytes under a key on this node's disk; the chain knows nothing of them."""
        await run(kind, partial(kept.set, key, value))

    async def get_note(kind: str, key: bytes) -> str | None:
        """Return the bytes that this node keeps under a key; null where there are none."""
        found = await run(kind, partial(kept.get, key))
        return None if found is None else to_hex(found)

    async def clear_note(kind: str, key: bytes) -> None:
        """Forget what this node keeps under a key."""
        await run(kind, partial(kept.clear, key))

    value = Param("value", hex_bytes, doc="What is kept.")
    name = "offchain_localStorage{}".format
    return [
        LengthyMethod(
            name("Set"),
            set_note,
            (_KIND, _KEY, value),
            result=schema.NULL,
            unsafe=True,
            work=Work.NOTES,
        ),
        LengthyMethod(
            name("Get"),
            get_note,
            (_KIND, _KEY),
            result=schema.nullable(schema.HEX),
            unsafe=True,
            work=Work.NOTES,
        ),
        LengthyMethod(
            name("Clear"),
            clear_note,
            (_KIND, _KEY),
            result=schema.NULL,
            unsafe=True,
            work=Work.NOTES,
        ),
    ]
