"""Amounts of OPEN as people write them, to the last planck: 1 OPEN is 10**18 planck."""

from __future__ import annotations

import argparse
import re
from enum import Enum

from runtime.primitives.errors import Refusal

DECIMALS = 18
UNIT = 10**18
MAX_PLANCK = 2**128 - 1
_AMOUNT = re.compile(r"([0-9]{1,40})(?:\.([0-9]{1,60}))?", re.ASCII)


class AmountReason(Enum):
    """Why a text is not an amount."""

    MALFORMED = "write an amount of OPEN as digits with at most one point, such as 12.5"
    TOO_FINE = "an amount has at most 18 digits after the point"
    TOO_LARGE = "no amount exceeds 2**128 - 1 planck"


class AmountRefusal(Refusal):
    """A text that names no amount."""

    def __init__(self, reason: AmountReason, text: str) -> None:
        super().__init__(reason, f"{text!r}: {reason.value}")
        self.reason: AmountReason = reason


def parse_open(text: str) -> int:
    """Return the planck of an amount in OPEN, exactly; raises AmountRefusal."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise AmountRefusal(AmountReason.MALFORMED, text)
    whole, fraction = match[1], (match[2] or "").rstrip("0")
    if len(fraction) > DECIMALS:
        raise AmountRefusal(AmountReason.TOO_FINE, text)
    planck = int(whole) * UNIT + int(fraction.ljust(DECIMALS, "0"))
    if planck > MAX_PLANCK:
        raise AmountRefusal(AmountReason.TOO_LARGE, text)
    return planck


def format_open(planck: int) -> str:
    """Write planck as OPEN with as many decimals as it needs; negative ones with a minus sign."""
    whole, fraction = divmod(abs(planck), UNIT)
    sign = "-" if planck < 0 else ""
    decimals = f"{fraction:018d}".rstrip("0")
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"


def amount_argument(text: str) -> int:
    """Parse an amount for argparse, which tells the refusal as a wrong use of the command."""
    try:
        return parse_open(text)
    except AmountRefusal as refusal:
        raise argparse.ArgumentTypeError(refusal.detail) from refusal
