"""Values of every type that the runtime declares, for properties of what reads and writes them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

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
    arms,
    kind_of,
)
from runtime.construct import PALLETS
from runtime.frame.calls import Call
from runtime.frame.pallet import calls
from runtime.primitives.scale import field_types

CALLS = [(pallet, info) for pallet in PALLETS for info in calls(pallet).values()]
PLAIN_CALLS = [
    (pallet, info)
    for pallet, info in CALLS
    if not any("RuntimeCall" in repr(type_) for type_ in info.arguments.values())
]


def values(type_: Any) -> st.SearchStrategy[Any]:
    """Draw values of an annotation."""
    match kind_of(type_):
        case Integer(low, high):
            return st.integers(low, high)
        case Amount():
            return st.integers(0, 2**128 - 1)
        case AccountValue(address):
            return accounts() if address is None else st.one_of(*map(values, arms(address)))
        case Blob(length):
            short = st.text(max_size=8).map(str.encode)
            if length is None:
                return st.one_of(st.binary(max_size=9), short, st.sampled_from(TRAPS))
            return st.binary(min_size=length, max_size=length)
        case Text():
            return st.text(max_size=8)
        case Flag():
            return st.booleans()
        case Choice(enum):
            return st.sampled_from(list(enum))
        case Optional(inner):
            return st.none() | values(inner)
        case Many(inner):
            return st.lists(values(inner), max_size=2).map(tuple)
        case Several(()):
            return st.none()
        case Several(inners):
            return st.tuples(*map(values, inners))
        case Record(cls):
            return st.builds(cls, **{n: values(t) for n, t in field_types(cls).items()})
        case Union(choices):
            return st.one_of(*map(values, choices))
        case CallValue():
            return st.sampled_from(PLAIN_CALLS).flatmap(lambda found: made(*found))
        case Opaque():
            raise AssertionError(f"no values of {type_}")


TRAPS = [b"none", b"0x", b"@file", b"-1", b"--yes", b"[]", b"1.5", b" ", b"null", b"'", b"a b"]
"""Texts that could be taken for something else."""


def accounts() -> st.SearchStrategy[bytes]:
    return st.binary(min_size=32, max_size=32)


def made(pallet: Any, info: Any) -> st.SearchStrategy[Call]:
    """Draw a call with its arguments."""
    drawn = st.tuples(*map(values, info.arguments.values()))
    return drawn.map(lambda arguments: Call(pallet.NAME, info.name, arguments))
