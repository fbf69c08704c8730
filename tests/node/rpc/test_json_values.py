from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any

import pytest
from jsonschema import Draft7Validator

from node.rpc import schema
from node.rpc.json_values import camel, json_value, shown
from runtime.construct import decode_call, encode_call
from runtime.frame.calls import RuntimeCall
from runtime.primitives.extrinsic import Era, Immortal, Mortal
from runtime.primitives.keys import ss58_encode
from runtime.primitives.scale import (
    H256,
    I16,
    I64,
    U8,
    U32,
    U64,
    U128,
    CompactU32,
    CompactU128,
    Variants,
    variant,
)
from runtime.primitives.types import AccountId, Balance, Id, MultiAddress

WHO = bytes(range(32))


class Colour(IntEnum):
    """A colour."""

    DEEP_RED = 0
    """As wine."""
    BLUE = 1


@dataclass(frozen=True, slots=True)
class Shade:
    """A shade
    of a colour."""

    first_name: Colour
    """What it is called."""
    from_: U8


@variant(index=0)
@dataclass(frozen=True, slots=True)
class Round:
    """A circle."""

    radius_mm: U64


@variant(index=1, name="Nothing")
@dataclass(frozen=True, slots=True)
class Empty:
    """No form."""


Form = Annotated[Round | Empty, Variants("test::Form")]


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        (U8, 255, 255),
        (U32, 2**32 - 1, 2**32 - 1),
        (CompactU32, 5, 5),
        (U64, 0, "0"),
        (U128, 2**128 - 1, str(2**128 - 1)),
        (CompactU128, 7, "7"),
        (Balance, 10**18, "1000000000000000000"),
        (I16, -5, -5),
        (I64, -(2**63), str(-(2**63))),
        (bool, True, True),
        (str, "é", "é"),
        (bytes, b"\x01\xff", "0x01ff"),
        (H256, WHO, "0x" + WHO.hex()),
        (AccountId, WHO, ss58_encode(WHO)),
        (U64 | None, None, None),
        (U64 | None, 3, "3"),
        (tuple[U64, ...], (1, 2), ["1", "2"]),
        (tuple[U8, AccountId], (1, WHO), [1, ss58_encode(WHO)]),
        (Colour, Colour.DEEP_RED, "DeepRed"),
        (Shade, Shade(Colour.BLUE, 3), {"firstName": "Blue", "from": 3}),
        (Form, Round(9), {"type": "Round", "radiusMm": "9"}),
        (Form, Empty(), {"type": "Nothing"}),
        (MultiAddress, Id(WHO), {"type": "Id", "account": ss58_encode(WHO)}),
        (Era, Immortal(), {"type": "Immortal"}),
        (Era, Mortal(64, 3), {"type": "Mortal", "period": 64, "phase": 3}),
    ],
)
def test_a_value_is_shown_as_its_schema_says(type_: Any, value: Any, expected: Any) -> None:
    assert json_value(type_, value) == expected
    whole = {"components": {"schemas": schema.SHARED}, "allOf": [shown(type_).schema]}
    Draft7Validator(whole).validate(expected)


def test_calls_inside_calls_are_shown_by_name() -> None:
    inner = decode_call(encode_call("System", "remark", remark=b"\x07"))
    call = decode_call(encode_call("Utility", "batch", calls=(inner, inner)))
    remark = {"pallet": "System", "call": "remark", "args": {"remark": "0x07"}}
    assert json_value(RuntimeCall, call) == {
        "pallet": "Utility",
        "call": "batch",
        "args": {"calls": [remark, remark]},
    }


def test_the_schema_of_a_record_carries_its_documentation() -> None:
    assert shown(Shade).schema == {"$ref": "#/components/schemas/Shade"}
    shape = schema.SHARED["Shade"]
    assert shape["description"] == "A shade of a colour."
    assert shape["properties"]["firstName"]["description"] == "What it is called."
    assert shape["required"] == ["firstName", "from"]
    assert schema.SHARED["Colour"] == {
        "type": "string",
        "enum": ["DeepRed", "Blue"],
        "description": "A colour. DeepRed: As wine.",
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [("datanet", "datanet"), ("why_not_paid", "whyNotPaid"), ("bytes_", "bytes")],
)
def test_names_become_camel_case(name: str, expected: str) -> None:
    assert camel(name) == expected
