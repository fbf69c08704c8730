"""Calls of a runtime: decoded from bytes, weighed, dispatched to their pallet."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from runtime.frame import pallet as declared
from runtime.primitives.errors import InvariantViolation
from runtime.primitives.scale import Codec, DecodeError, EncodeError, Raw, codec
from runtime.primitives.types import Weight

if TYPE_CHECKING:
    from runtime.frame.origin import Origin
    from runtime.frame.pallet import CallInfo, Pallet

MAX_CALL_DEPTH = 8
"""Calls inside calls (batches, sudo) nest no deeper, so decoding is bounded the same everywhere."""
MAX_INNER_CALLS = 4096
"""Calls inside one call, at all depths: an extrinsic's bytes would hold 170,000 empty remarks."""


@dataclass(frozen=True, slots=True)
class Call:
    """A decoded call: ``Balances.transfer_allow_death(...)`` with its arguments in order."""

    pallet: str
    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class CallEntry:
    """How one call is coded and what it costs."""

    pallet: type[Pallet]
    info: CallInfo
    prefix: bytes
    argument_names: tuple[str, ...]
    codecs: tuple[Codec, ...]


class CallTable:
    """All calls of a runtime, by index and by name."""

    def __init__(self, pallets: Sequence[type[Pallet]]) -> None:
        self._by_index: dict[tuple[int, int], CallEntry] = {}
        self._by_name: dict[tuple[str, str], CallEntry] = {}
        self._within = threading.local()
        for cls in pallets:
            for info in declared.calls(cls).values():
                entry = CallEntry(
                    cls,
                    info,
                    bytes((cls.INDEX, info.index)),
                    tuple(info.arguments),
                    tuple(codec(t) for t in info.arguments.values()),
                )
                self._by_index[cls.INDEX, info.index] = entry
                self._by_name[cls.NAME, info.name] = entry

    def entry(self, call: Call) -> CallEntry:
        """Return the declaration of a call."""
        try:
            return self._by_name[call.pallet, call.name]
        except KeyError:
            raise EncodeError(f"there is no call {call.pallet}.{call.name}") from None

    def make(self, pallet: str, name: str, /, **arguments: Any) -> Call:
        """Build a call from named arguments; raises EncodeError naming what is missing or extra."""
        entry = self.entry(Call(pallet, name, ()))
        if set(arguments) != set(entry.argument_names):
            wanted = ", ".join(entry.argument_names)
            raise EncodeError(f"{pallet}.{name} takes ({wanted}), not ({', '.join(arguments)})")
        return Call(pallet, name, tuple(arguments[n] for n in entry.argument_names))

    def encode(self, call: Call) -> bytes:
        """Encode a call."""
        entry = self.entry(call)
        parts = [c.encode(v) for c, v in zip(entry.codecs, call.arguments, strict=True)]
        return entry.prefix + b"".join(parts)

    def decode_at(self, data: bytes, offset: int) -> tuple[Call, int]:
        """Decode a call; raises DecodeError."""
        entry = self._by_index.get((data[offset], data[offset + 1]))
        if entry is None:
            raise DecodeError(f"there is no call with index {data[offset]}.{data[offset + 1]}")
        offset += 2
        within = self._within
        depth = getattr(within, "depth", 0)
        if depth >= MAX_CALL_DEPTH:
            raise DecodeError(f"calls are nested deeper than {MAX_CALL_DEPTH}")
        within.count = within.count + 1 if depth else 0
        if within.count > MAX_INNER_CALLS:
            raise DecodeError(f"more than {MAX_INNER_CALLS} calls inside one")
        within.depth = depth + 1
        try:
            values = []
            for one in entry.codecs:
                value, offset = one.decode_at(data, offset)
                values.append(value)
        finally:
            within.depth = depth
        return Call(entry.pallet.NAME, entry.info.name, tuple(values)), offset

    def weight(self, call: Call) -> Weight:
        """Return what a call may cost at most."""
        weight = self.entry(call).info.weight
        return weight(*call.arguments) if callable(weight) else weight


class Dispatcher:
    """Sends calls to the pallets of one runtime instance."""

    def __init__(self, table: CallTable, pallets: dict[str, Pallet]) -> None:
        self.table = table
        self._pallets = pallets

    def dispatch(self, call: Call, origin: Origin) -> None:
        """Make the call; raises DispatchFailure. The caller opens the transaction around it."""
        getattr(self._pallets[call.pallet], call.name)(origin, *call.arguments)

    def admit_duty(self, call: Call, signer: bytes) -> tuple[bytes, ...] | None:
        """Return the tags of a feeless duty, None for other calls; raises InvalidTransaction."""
        duty = self.table.entry(call).info.duty
        if not duty:
            return None
        admit = getattr(self._pallets[call.pallet], duty)
        tags: tuple[bytes, ...] | None = admit(signer, *call.arguments)
        return tags


_OUTER: list[CallTable] = []


def set_outer_table(table: CallTable) -> None:
    """Name the table by which calls inside calls are coded; done once, where pallets are wired."""
    _OUTER[:] = [table]


def outer_table() -> CallTable:
    """Return the table of the wired runtime."""
    if not _OUTER:
        raise InvariantViolation("the runtime's calls are not wired yet")
    return _OUTER[0]


RuntimeCall = Annotated[
    Call,
    Raw(
        Codec(
            lambda call: outer_table().encode(call),
            lambda data, offset: outer_table().decode_at(data, offset),
        ),
        "openledger_runtime::RuntimeCall",
    ),
]
"""A call as an argument of another call."""
