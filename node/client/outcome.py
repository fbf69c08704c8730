"""What became of a transaction in its block: its events, or the error that it failed with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from node.client.errors import DispatchError
from runtime.construct import EVENTS, PALLETS, storage_key
from runtime.frame.documentation import member_docs
from runtime.frame.event_records import EventRecord
from runtime.frame.pallet import errors, pascal

EVENTS_KEY = "0x" + storage_key("System", "Events").hex()


@dataclass(frozen=True, slots=True)
class Included:
    """A transaction in a block, and the events of its extrinsic.

    With `wait="none"` nothing but `extrinsic_hash` is known.
    """

    extrinsic_hash: bytes
    block_hash: bytes | None
    index: int | None
    events: tuple[EventRecord, ...]

    def event(self, pallet: str, name: str) -> Any:
        """Return the first event of a name; raises LookupError."""
        for record in self.events:
            if (record.pallet, record.name) == (pallet, name):
                return record.event
        raise LookupError(f"the transaction deposited no event {pallet}.{name}")

    def failure(self) -> DispatchError | None:
        """Return why the call failed, None where it succeeded."""
        for record in self.events:
            if (record.pallet, record.name) == ("System", "ExtrinsicFailed"):
                return named_error(record.event.dispatch_error, self.block_hash or b"")
        return None


def decode_events(raw: str | None) -> tuple[EventRecord, ...]:
    """Decode the value of `System.Events` as JSON-RPC gives it."""
    return () if raw is None else EVENTS.decode(bytes.fromhex(raw[2:]))


def outcome(
    extrinsic_hash: bytes, block_hash: bytes, index: int, records: tuple[EventRecord, ...]
) -> Included:
    """Pick an extrinsic's events; raises DispatchError where it failed."""
    own = included(extrinsic_hash, block_hash, index, records)
    failure = own.failure()
    if failure is not None:
        raise failure
    return own


def included(
    extrinsic_hash: bytes, block_hash: bytes, index: int, records: tuple[EventRecord, ...]
) -> Included:
    """Pick an extrinsic's events, also where it failed."""
    own = tuple(record for record in records if record.extrinsic == index)
    return Included(extrinsic_hash, block_hash, index, own)


def named_error(value: Any, block_hash: bytes) -> DispatchError:
    """Name a `DispatchErrorValue`: pallet, error and its text."""
    kind = type(value).__name__
    inner: Any = getattr(value, "value", None)
    if kind == "Module":
        for pallet in PALLETS:
            if inner.index == pallet.INDEX:
                info = errors(pallet)[inner.error[0]]
                return DispatchError(pallet.NAME, info.name, info.docs, block_hash)
        return DispatchError(f"Pallet{inner.index}", f"Error{inner.error[0]}", "", block_hash)
    if inner is not None:
        text = member_docs(type(inner)).get(inner.name, "")
        return DispatchError(kind, pascal(inner.name), text, block_hash)
    return DispatchError("Runtime", kind, (type(value).__doc__ or "").strip(), block_hash)
