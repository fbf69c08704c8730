"""Why a text is no value of the type that a call or a storage key asks for."""

from __future__ import annotations

from enum import Enum
from typing import Any, NoReturn

from node.cli.values_labels import label
from runtime.primitives.errors import Refusal

_LONGEST = 90


class ValueReason(Enum):
    """What is wrong with a text."""

    NOT_AN_INTEGER = "write a whole number in digits"
    OUT_OF_RANGE = "the number does not fit"
    NOT_AN_AMOUNT = "write OPEN as in 1.5, or the smallest unit as in 1500planck"
    NOT_AN_ACCOUNT = "name an account"
    NOT_HEX = "after 0x come pairs of hex digits"
    WRONG_LENGTH = "the length is fixed"
    NOT_TEXT = "write text"
    NOT_A_FLAG = "write true or false"
    NOT_A_MEMBER = "it is none of the names"
    NOT_JSON = "write JSON, or @ and the name of a file with it"
    WRONG_SHAPE = "the JSON has another shape"
    WRONG_FIELDS = "fields are missing or unknown"
    UNREADABLE = "the file cannot be read"
    NOT_SCALE = "the bytes are no SCALE of this type"


class ValueRefusal(Refusal):
    """A text that is no value of its type; it names the argument and what was expected."""

    def __init__(self, reason: ValueReason, where: str, type_: Any, why: str) -> None:
        super().__init__(reason, f"{where} ({cut(label(type_))}): {why}")
        self.reason: ValueReason = reason


def refuse(reason: ValueReason, where: str, type_: Any, why: str = "") -> NoReturn:
    """Raise ValueRefusal; without a `why` the reason's own words tell what to do."""
    raise ValueRefusal(reason, where, type_, why or reason.value)


def cut(text: str) -> str:
    """Shorten a text for a message."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
