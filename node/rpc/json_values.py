"""Values of the runtime as JSON: the annotation that codes a value in SCALE also shows it here.

Members are camelCase; accounts are SS58 addresses; integers above 32 bits are decimal strings, the
others numbers; hashes and bytes are hex; an enumeration goes by its name; no value is null; one of
several records is ``{"type": Name, ...fields}``; a call is ``{"pallet", "call", "args"}``.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from enum import IntEnum
from functools import cache
from typing import Any, NamedTuple

from node.rpc import schema
from node.rpc.params import to_hex
from node.rpc.schema import Schema
from runtime.construct import CALLS
from runtime.frame.calls import Call, RuntimeCall
from runtime.frame.documentation import member_docs, own_doc
from runtime.frame.pallet import pascal
from runtime.primitives.extrinsic import Era, Immortal
from runtime.primitives.header import Extrinsics
from runtime.primitives.keys import ss58_encode
from runtime.primitives.scale import (
    Compact,
    Fixed,
    Int,
    Named,
    Raw,
    Uint,
    Variants,
    encode,
    field_types,
    is_option,
    option_inner,
)

WIDEST_NUMBER = 32
"""Bits up to which an integer is a JSON number: JavaScript loses digits not far above."""

CALL = schema.shared(
    "Call",
    {
        **schema.record(
            pallet=schema.TEXT, call=schema.TEXT, args={"type": "object", "description": "by name"}
        ),
        "description": "A decoded call, with the names of the metadata.",
    },
)
ERA = schema.shared(
    "Era",
    {
        "oneOf": [
            schema.record(type={"const": "Immortal"}),
            schema.record(type={"const": "Mortal"}, period=schema.U32, phase=schema.U32),
        ],
        "description": "How long a transaction is valid.",
    },
)
SIGNED_DECIMAL: Schema = {"type": "string", "pattern": "^-?[0-9]+$"}


class Shown(NamedTuple):
    """How values of a type are written, and the schema of what is written."""

    write: Callable[[Any], Any]
    schema: Schema


def json_value(type_: Any, value: Any) -> Any:
    """Return a value as an item of JSON."""
    return shown(type_).write(value)


@cache
def shown(type_: Any) -> Shown:
    """Return how values of an annotation are written."""
    if type_ == RuntimeCall:
        return Shown(call_json, CALL)
    if type_ == Era:
        return Shown(_era, ERA)
    if type_ == Extrinsics:
        return Shown(lambda values: [to_hex(v) for v in values], schema.array(schema.HEX))
    marks = getattr(type_, "__metadata__", ())
    name = next((mark.name for mark in marks if isinstance(mark, Named)), "")
    for mark in marks:
        match mark:
            case Uint(bits) | Compact(bits):
                return _unsigned(bits)
            case Int(bits):
                return _signed(bits)
            case Fixed(length):
                return _bytes(length, is_account=name == "AccountId")
            case Variants():
                return _union(type_)
            case Raw():
                return Shown(lambda value: to_hex(encode(type_, value)), schema.HEX)
            case _:
                pass
    return shown(type_.__origin__) if marks else _plain(type_)


def camel(name: str) -> str:
    """Write a Python name as members of JSON are: ``first_record`` gives ``firstRecord``."""
    first, *rest = name.strip("_").split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def call_json(call: Call) -> dict[str, Any]:
    """Show a call, the calls inside it included."""
    arguments = CALLS.entry(call).info.arguments.items()
    return {
        "pallet": call.pallet,
        "call": call.name,
        "args": {
            camel(name): json_value(type_, value)
            for (name, type_), value in zip(arguments, call.arguments, strict=True)
        },
    }


def fields_json(record: Any) -> dict[str, Any]:
    """Show the fields of a record, of an event for instance."""
    return {
        camel(n): shown(t).write(getattr(record, n)) for n, t in field_types(type(record)).items()
    }


def _unsigned(bits: int) -> Shown:
    if bits > WIDEST_NUMBER:
        return Shown(str, schema.DECIMAL)
    return Shown(int, {"type": "integer", "minimum": 0, "maximum": (1 << bits) - 1})


def _signed(bits: int) -> Shown:
    if bits > WIDEST_NUMBER:
        return Shown(str, SIGNED_DECIMAL)
    most = (1 << bits - 1) - 1
    return Shown(int, {"type": "integer", "minimum": -most - 1, "maximum": most})


def _bytes(length: int, *, is_account: bool) -> Shown:
    if is_account:
        return Shown(ss58_encode, schema.ADDRESS)
    return Shown(to_hex, {"type": "string", "pattern": f"^0x[0-9a-f]{{{2 * length}}}$"})


def _plain(type_: Any) -> Shown:
    simple = {
        bool: Shown(lambda value: value, schema.BOOLEAN),
        str: Shown(lambda value: value, schema.TEXT),
        bytes: Shown(to_hex, schema.HEX),
        None: Shown(lambda value: None, schema.NULL),
        type(None): Shown(lambda value: None, schema.NULL),
    }
    if type_ in simple:
        return simple[type_]
    if is_option(type_):
        inner = shown(option_inner(type_))
        return Shown(
            lambda value: None if value is None else inner.write(value),
            schema.nullable(inner.schema),
        )
    if typing.get_origin(type_) is tuple:
        return _tuple([part for part in typing.get_args(type_) if part != ()])
    if issubclass(type_, IntEnum):
        return _enumeration(type_)
    if isinstance(type_, type) and dataclasses.is_dataclass(type_):
        return _record(type_)
    raise TypeError(f"no JSON for {type_!r}")


def _tuple(parts: list[Any]) -> Shown:
    if len(parts) == 2 and parts[1] is Ellipsis:
        inner = shown(parts[0])
        return Shown(
            lambda values: [inner.write(value) for value in values], schema.array(inner.schema)
        )
    inners = [shown(part) for part in parts]
    return Shown(
        lambda values: [i.write(value) for i, value in zip(inners, values, strict=True)],
        {
            "type": "array",
            "items": [inner.schema for inner in inners],
            "minItems": len(inners),
            "maxItems": len(inners),
        },
    )


def _enumeration(cls: type[IntEnum]) -> Shown:
    docs = member_docs(cls)
    told = [f"{pascal(m.name)}: {_one_line(docs[m.name])}" for m in cls if m.name in docs]
    described = " ".join([_one_line(own_doc(cls)), *told])
    named = {"type": "string", "enum": [pascal(m.name) for m in cls], "description": described}
    return Shown(lambda member: pascal(member.name), schema.shared(shape_name(cls), named))


def _record(cls: type) -> Shown:
    docs = member_docs(cls)
    parts = [(name, camel(name), shown(t)) for name, t in field_types(cls).items()]
    members = {key: _described(part.schema, docs.get(name, "")) for name, key, part in parts}
    writers = [(name, key, part.write) for name, key, part in parts]
    described = {**schema.record((), **members), "description": _one_line(own_doc(cls))}

    def write(value: Any) -> dict[str, Any]:
        return {key: write_field(getattr(value, name)) for name, key, write_field in writers}

    return Shown(write, schema.shared(shape_name(cls), described))


def _union(type_: Any) -> Shown:
    arms: dict[type, tuple[str, list[tuple[str, str, Shown]]]] = {}
    for arm in typing.get_args(typing.get_args(type_)[0]):
        parts = [(name, camel(name), shown(t)) for name, t in field_types(arm).items()]
        arms[arm] = (arm.VARIANT_NAME, parts)

    def write(value: Any) -> dict[str, Any]:
        name, parts = arms[type(value)]
        fields = {key: part.write(getattr(value, attribute)) for attribute, key, part in parts}
        return {"type": name, **fields}

    shapes = [
        schema.record((), type={"const": name}, **{key: part.schema for _, key, part in parts})
        for name, parts in arms.values()
    ]
    return Shown(write, {"oneOf": shapes})


def shape_name(cls: type) -> str:
    """Name the schema of a class; those of a pallet have the pallet's name before their own."""
    parts = cls.__module__.split(".")
    is_pallets = parts[:2] == ["runtime", "pallets"]
    return (pascal(parts[2]) if is_pallets else "") + cls.__name__


def _described(found: Schema, doc: str) -> Schema:
    return {**found, "description": _one_line(doc)} if doc else found


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _era(era: Any) -> dict[str, Any]:
    if isinstance(era, Immortal):
        return {"type": "Immortal"}
    return {"type": "Mortal", "period": era.period, "phase": era.phase}
