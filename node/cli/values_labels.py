"""What to write for a value of a type, said in a word or two."""

from __future__ import annotations

from typing import Any

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
from runtime.frame.pallet import pascal
from runtime.primitives.scale import type_name


def label(type_: Any) -> str:
    """Say in a word or two what to write for a type."""
    match kind_of(type_):
        case Integer():
            return type_name(type_)
        case Amount():
            return "amount"
        case AccountValue():
            return "account"
        case Blob(length):
            return "bytes" if length is None else f"{length} bytes"
        case Text():
            return "text"
        case Flag():
            return "true|false"
        case Choice(enum):
            return "|".join(pascal(member.name) for member in enum)
        case Optional(inner):
            return f"{label(inner)} or none"
        case Many(inner):
            return f"[{label(inner)}, …]"
        case Several(inners):
            return f"[{', '.join(map(label, inners))}]"
        case Record(cls, positional):
            inside = shown_fields(cls).items()
            if positional:
                return f"[{', '.join(label(inner) for _, (_, inner) in inside)}]"
            return "{" + ", ".join(f'"{n}": {label(inner)}' for n, (_, inner) in inside) + "}"
        case Union(choices):
            return "|".join(map(_arm_label, choices))
        case CallValue():
            return "call"
        case Opaque():
            return f"{type_name(type_)} in hex"


def _arm_label(arm: type) -> str:
    types = [inner for _, inner in shown_fields(arm).values()]
    if not types:
        return arm_name(arm)
    content = label(types[0]) if len(types) == 1 and arm_record(arm).positional else label(arm)
    return f'{{"{arm_name(arm)}": {content}}}'
