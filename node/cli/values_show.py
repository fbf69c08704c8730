"""Typed values of the runtime into text: what `values` reads again, or plain JSON for programs.

For people an amount has its unit and bytes are text where they are; for programs an amount is a
decimal string of planck, integers above 32 bits are decimal strings, and bytes are hex.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from node.cli.amounts import format_open
from node.cli.values_kinds import (
    AccountValue,
    Amount,
    Blob,
    CallValue,
    Choice,
    Flag,
    Integer,
    Many,
    Opaque,
    Optional,
    Record,
    Several,
    Text,
    Union,
    arm_name,
    arm_record,
    kind_of,
    shown_fields,
)
from runtime.frame.calls import Call
from runtime.frame.calls import outer_table as call_table
from runtime.frame.pallet import pascal
from runtime.primitives.keys import ss58_encode
from runtime.primitives.scale import encode
from runtime.primitives.types import Id


@dataclass(frozen=True, slots=True)
class Writer:
    """Turns values into items of JSON."""

    people: bool

    def item(self, type_: Any, value: Any) -> Any:
        """Return a value as an item of JSON."""
        match kind_of(type_):
            case Integer(low, high):
                return str(value) if high - low >= 1 << 32 and not self.people else int(value)
            case Amount():
                return f"{format_open(value)} OPEN" if self.people else str(value)
            case AccountValue(address):
                return self._account(value, address)
            case Blob(length):
                return _blob(value, self.people and length is None)
            case Text() | Flag():
                return value
            case Choice():
                return pascal(value.name)
            case Optional(inner):
                return None if value is None else self.item(inner, value)
            case Many(inner):
                return [self.item(inner, each) for each in value]
            case Several(inners):
                return [self.item(t, v) for t, v in zip(inners, value or (), strict=True)]
            case Record() as record:
                return self._record(record, value)
            case Union():
                return self._union(value)
            case CallValue():
                return self.call(value)
            case Opaque():
                return f"0x{encode(type_, value).hex()}"

    def text(self, type_: Any, value: Any) -> str:
        """Return a value as one argument of a command."""
        item = self.item(type_, value)
        if item is None:
            return "none"
        return item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)

    def call(self, call: Call) -> dict[str, Any]:
        """Return a call by the names of its pallet, itself and its arguments."""
        return {"pallet": call.pallet, "call": call.name, "args": self.arguments(call)}

    def arguments(self, call: Call) -> dict[str, Any]:
        """Return the arguments of a call."""
        types = call_table().entry(call).info.arguments
        return {
            name.rstrip("_"): self.item(type_, value)
            for (name, type_), value in zip(types.items(), call.arguments, strict=True)
        }

    def fields(self, value: Any) -> dict[str, Any]:
        """Return the fields of a record by name."""
        return {
            name: self.item(type_, getattr(value, attribute))
            for name, (attribute, type_) in shown_fields(type(value)).items()
        }

    def _account(self, value: Any, address: Any) -> Any:
        if address is None:
            return ss58_encode(value)
        return ss58_encode(value.account) if isinstance(value, Id) else self._union(value)

    def _record(self, record: Record, value: Any) -> Any:
        found = self.fields(value)
        if not record.positional:
            return found
        return list(found.values()) if len(found) != 1 else next(iter(found.values()))

    def _union(self, value: Any) -> Any:
        arm = type(value)
        if not shown_fields(arm):
            return arm_name(arm)
        return {arm_name(arm): self._record(arm_record(arm), value)}


FOR_PEOPLE = Writer(people=True)
FOR_PROGRAMS = Writer(people=False)


def _blob(value: bytes, people: bool) -> str:
    """Return hex, for people the text where it is one that reads back as the same bytes."""
    try:
        text = value.decode() if people else ""
    except UnicodeDecodeError:
        text = ""
    if text.isprintable() and text and not text.startswith(("0x", "@")) and text != "none":
        return text
    return f"0x{value.hex()}"
