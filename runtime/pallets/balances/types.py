"""What wallets read about balances beside the account itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

from runtime.frame.currency import HoldReason
from runtime.primitives.scale import Bytes8
from runtime.primitives.types import Balance


@dataclass(frozen=True, slots=True)
class HeldAmount:
    """A part of a balance held for a reason."""

    SCALE_PATH: ClassVar[str] = "frame_support::traits::tokens::misc::IdAmount"
    SCALE_PARAMS: ClassVar[dict[str, Any]] = {"Id": HoldReason, "Balance": Balance}
    id: HoldReason
    amount: Balance


class Reasons(IntEnum):
    """What a lock forbids."""

    FEE = 0
    MISC = 1
    ALL = 2


@dataclass(frozen=True, slots=True)
class BalanceLock:
    """A part of a balance that may not be spent."""

    SCALE_PATH: ClassVar[str] = "pallet_balances::types::BalanceLock"
    SCALE_PARAMS: ClassVar[dict[str, Any]] = {"Balance": Balance}
    id: Bytes8
    amount: Balance
    reasons: Reasons


@dataclass(frozen=True, slots=True)
class ReserveData:
    """A named reserve; this chain uses holds instead."""

    SCALE_PATH: ClassVar[str] = "pallet_balances::types::ReserveData"
    SCALE_PARAMS: ClassVar[dict[str, Any]] = {"ReserveIdentifier": Bytes8, "Balance": Balance}
    id: Bytes8
    amount: Balance
