"""Text of a command line into typed values of the runtime.

Words are read by `values_words`; lists, records and calls are JSON of such words. Everywhere an
amount without a unit is OPEN, and bytes are text unless they begin with 0x or @.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from node.cli import values_words as words
from node.cli.values_errors import ValueReason, cut, refuse
from node.cli.values_kinds import (
    AccountValue,
    Amount,
    Blob,
    CallValue,
    Choice,
    Flag,
    Integer,
    Kind,
    Many,
    Opaque,
    Optional,
    Record,
    Several,
    Text,
    Union,
    arm_name,
    arm_record,
    arms,
    is_structured,
    kind_of,
    shown_fields,
)
from node.cli.values_names import NameRefusal, find_call, find_pallet, pick
from runtime.frame.calls import Call, CallEntry
from runtime.primitives.errors import Refusal
from runtime.primitives.types import Id

NONE = "none"
CALL_FORM = '{"pallet": …, "call": …, "args": {…}}, or 0x and its SCALE'


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads values; `account` finds an account by address or name, raising Refusal."""

    account: Callable[[str], bytes]

    def read(self, where: str, type_: Any, text: str) -> Any:
        """Read one argument of a command; raises ValueRefusal with `where` in its text."""
        kind = kind_of(type_)
        if isinstance(kind, Optional):
            return None if text == NONE else self.read(where, kind.inner, text)
        if _is_word(type_, kind, text):
            return self.build(where, type_, text)
        if words.is_hex(text):
            return words.scale(where, type_, text)
        if text.startswith("@"):
            text = words.file(where, type_, text[1:]).decode("utf-8", "replace")
        try:
            # Numbers with a point stay text: amounts are exact.
            item = json.loads(text, parse_float=str)
        except (ValueError, RecursionError) as error:
            refuse(ValueReason.NOT_JSON, where, type_, f"{cut(text)!r} is no JSON: {error}")
        return self.build(where, type_, item)

    def build(self, where: str, type_: Any, item: Any) -> Any:
        """Make a value of a word or an item of JSON; raises ValueRefusal."""
        match kind_of(type_):
            case Integer(low, high):
                return words.integer(where, type_, item, low, high)
            case Amount():
                return words.amount(where, type_, item)
            case AccountValue(address):
                return self._account(where, type_, item, address)
            case Blob(length):
                return words.blob(where, type_, item, length)
            case Text():
                return words.string(where, type_, item)
            case Flag():
                return words.flag(where, type_, item)
            case Choice(enum):
                return words.member(where, type_, item, enum)
            case Optional(inner):
                return None if item is None else self.build(where, inner, item)
            case Many(inner):
                items = _items(where, type_, item)
                return self._each(where, (inner,) * len(items), items)
            case Several(inners):
                return self._each(where, inners, _items(where, type_, item, len(inners))) or None
            case Record() as record:
                return self._record(where, type_, item, record)
            case Union(choices):
                return self._union(where, type_, item, choices)
            case CallValue():
                return self._call(where, type_, item)
            case Opaque():
                return words.scale(where, type_, item)

    def make_call(self, where: str, entry: CallEntry, given: Any) -> Call:
        """Make a call of JSON arguments, by name; raises ValueRefusal."""
        types = {name.rstrip("_"): type_ for name, type_ in entry.info.arguments.items()}
        built = self._fields(where, Call, given, types)
        return Call(entry.pallet.NAME, entry.info.name, tuple(built.values()))

    def _account(self, where: str, type_: Any, item: Any, address: Any) -> Any:
        if address is not None and isinstance(item, dict):
            return self._union(where, type_, item, arms(address))
        try:
            account = self.account(words.string(where, type_, item))
        except Refusal as refusal:
            refuse(ValueReason.NOT_AN_ACCOUNT, where, type_, refusal.detail)
        return account if address is None else Id(account)

    def _each(self, where: str, types: tuple[Any, ...], items: list[Any]) -> tuple[Any, ...]:
        pairs = enumerate(zip(types, items, strict=True))
        return tuple(self.build(f"{where}[{n}]", type_, item) for n, (type_, item) in pairs)

    def _record(self, where: str, type_: Any, item: Any, record: Record) -> Any:
        fields = shown_fields(record.cls)
        if record.positional:
            items = _items(where, type_, item, len(fields)) if len(fields) != 1 else [item]
            item = dict(zip(fields, items, strict=True))
        types = {name: inner for name, (_, inner) in fields.items()}
        built = self._fields(where, type_, item, types)
        return record.cls(**{fields[name][0]: value for name, value in built.items()})

    def _fields(
        self, where: str, type_: Any, item: Any, types: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Build named values in the order of `types`; what is optional may be left out."""
        if not isinstance(item, dict):
            refuse(ValueReason.WRONG_SHAPE, where, type_, "write a JSON object")
        given: dict[str, Any] = {}
        for name, inner in item.items():
            found = pick({shown: shown for shown in types}, name)
            if found is None or found in given:
                known = ", ".join(types) or "nothing"
                why = f"unknown or repeated {name!r}; it has {known}"
                refuse(ValueReason.WRONG_FIELDS, where, type_, why)
            given[found] = inner
        for name, inner_type in types.items():
            if name not in given and not isinstance(kind_of(inner_type), Optional):
                refuse(ValueReason.WRONG_FIELDS, where, type_, f"{name} is missing")
        return {n: self.build(f"{where}.{n}", inner, given.get(n)) for n, inner in types.items()}

    def _union(self, where: str, type_: Any, item: Any, choices: tuple[type, ...]) -> Any:
        if isinstance(item, str):
            item = {item: {}}
        if not isinstance(item, dict) or len(item) != 1:
            refuse(ValueReason.WRONG_SHAPE, where, type_, 'write {"Name": value}')
        ((name, content),) = item.items()
        arm = pick({arm_name(choice): choice for choice in choices}, name)
        if arm is None:
            names = ", ".join(map(arm_name, choices))
            refuse(ValueReason.NOT_A_MEMBER, where, type_, f"{name!r} is none of {names}")
        if not shown_fields(arm):
            return arm()
        return self._record(f"{where}.{arm_name(arm)}", arm, content, arm_record(arm))

    def _call(self, where: str, type_: Any, item: Any) -> Call:
        if isinstance(item, str):
            found: Call = words.scale(where, type_, item)
            return found
        if not isinstance(item, dict) or not set(item) <= {"pallet", "call", "args"}:
            refuse(ValueReason.WRONG_SHAPE, where, type_, f"write {CALL_FORM}")
        try:
            pallet = find_pallet(str(item.get("pallet", "")))
            entry = find_call(pallet, str(item.get("call", "")))
        except NameRefusal as refusal:
            refuse(ValueReason.NOT_A_MEMBER, where, type_, refusal.detail)
        return self.make_call(f"{where}.{entry.info.name}", entry, item.get("args", {}))


def _is_word(type_: Any, kind: Kind, text: str) -> bool:
    """Tell whether a text is the value itself, not JSON, hex or the name of a file with it."""
    match kind:
        case AccountValue(address):
            return address is None or not text.startswith("{")
        case Union():
            return text.isidentifier()
        case _:
            return not is_structured(type_)


def _items(where: str, type_: Any, item: Any, length: int | None = None) -> list[Any]:
    if not isinstance(item, list) or length not in (None, len(item)):
        size = "" if length is None else f" of {length}"
        refuse(ValueReason.WRONG_SHAPE, where, type_, f"write a JSON list{size}")
    return item
