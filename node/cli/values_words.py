"""Single words into values: numbers, amounts, bytes, flags, names."""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path
from typing import Any

from node.cli.amounts import MAX_PLANCK, AmountRefusal, parse_open
from node.cli.values_errors import ValueReason, cut, refuse
from node.cli.values_names import pick
from runtime.frame.pallet import pascal
from runtime.primitives.scale import DecodeError, decode

_INTEGER = re.compile(r"-?[0-9]{1,90}", re.ASCII)
_PLANCK = re.compile(r"([0-9]{1,39}) ?planck", re.ASCII)
_HEX = re.compile(r"0x((?:[0-9a-fA-F]{2})*)", re.ASCII)
_FLAGS = {"true": True, "yes": True, "false": False, "no": False}


def integer(where: str, type_: Any, item: Any, low: int, high: int) -> int:
    """Read a whole number between two bounds."""
    if isinstance(item, str) and _INTEGER.fullmatch(item):
        item = int(item)
    if type(item) is not int:
        refuse(ValueReason.NOT_AN_INTEGER, where, type_, f"{_told(item)} is no whole number")
    if not low <= item <= high:
        refuse(ValueReason.OUT_OF_RANGE, where, type_, f"{item} is not from {low} to {high}")
    return item


def amount(where: str, type_: Any, item: Any) -> int:
    """Read an amount in OPEN, or with its unit behind it: OPEN or planck."""
    text = str(item) if type(item) in (int, str) else ""
    in_planck = _PLANCK.fullmatch(text)
    if in_planck:
        return integer(where, type_, in_planck[1], 0, MAX_PLANCK)
    try:
        return parse_open(text.removesuffix("OPEN").removesuffix(" "))
    except AmountRefusal as refusal:
        why = f"{_told(item)} is no amount: {refusal.reason.value}"
        refuse(ValueReason.NOT_AN_AMOUNT, where, type_, why)


def blob(where: str, type_: Any, item: Any, length: int | None) -> bytes:
    """Read bytes: 0x and hex, @ and a file, else the text itself in UTF-8."""
    text = string(where, type_, item)
    if text.startswith("0x"):
        found = _unhex(where, type_, text)
    elif text.startswith("@"):
        found = file(where, type_, text[1:])
    else:
        found = text.encode("utf-8", "surrogateescape")
    if length not in (None, len(found)):
        why = f"{cut(text)!r} has {len(found)} bytes; write 0x and {2 * (length or 0)} hex digits"
        refuse(ValueReason.WRONG_LENGTH, where, type_, why)
    return found


def string(where: str, type_: Any, item: Any) -> str:
    """Return an item that has to be a text."""
    if not isinstance(item, str):
        refuse(ValueReason.NOT_TEXT, where, type_, f"{_told(item)} is no text")
    return item


def flag(where: str, type_: Any, item: Any) -> bool:
    """Read a boolean."""
    found = _FLAGS.get(item.lower()) if isinstance(item, str) else item
    if type(found) is not bool:
        refuse(ValueReason.NOT_A_FLAG, where, type_, f"{_told(item)} is neither true nor false")
    return found


def member(where: str, type_: Any, item: Any, enum: type[IntEnum]) -> IntEnum:
    """Read a member of an enumeration by its name."""
    found = pick({each.name: each for each in enum}, item) if isinstance(item, str) else None
    if found is None:
        names = ", ".join(pascal(each.name) for each in enum)
        refuse(ValueReason.NOT_A_MEMBER, where, type_, f"{_told(item)} is none of {names}")
    return found


def scale(where: str, type_: Any, item: Any) -> Any:
    """Read any value from the hex of its SCALE."""
    raw = _unhex(where, type_, string(where, type_, item))
    try:
        return decode(type_, raw)
    except DecodeError as error:
        refuse(ValueReason.NOT_SCALE, where, type_, str(error))


def file(where: str, type_: Any, name: str) -> bytes:
    """Read the bytes of a file."""
    try:
        return Path(name).read_bytes()
    except (OSError, ValueError) as error:
        refuse(ValueReason.UNREADABLE, where, type_, f"{name}: {error}")


def is_hex(text: str) -> bool:
    """Tell whether a text is 0x and whole bytes."""
    return _HEX.fullmatch(text) is not None


def _unhex(where: str, type_: Any, text: str) -> bytes:
    match = _HEX.fullmatch(text)
    if match is None:
        why = f"{cut(text)!r}: {ValueReason.NOT_HEX.value}"
        refuse(ValueReason.NOT_HEX, where, type_, why)
    return bytes.fromhex(match[1])


def _told(item: Any) -> str:
    return cut(repr(item))
