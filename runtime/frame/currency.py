"""What pallets ask of money, so that none imports the one that keeps it."""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol


class HoldReason(IntEnum):
    """Why a part of a balance is held; each reason has one pallet whose ledger it equals."""

    DATANET_DEPOSIT = 0
    DATANET_BOND = 1
    DATANET_FLAG = 2
    MODEL_DEPOSIT = 3
    MODEL_STAKE = 4
    SESSION_ESCROW = 5
    WORKER_DEPOSIT = 6


class Currency(Protocol):
    """Moves OPEN. Every method raises DispatchFailure and then has written nothing."""

    def free(self, who: bytes) -> int:
        """Return what an account may spend, the existential deposit included."""

    def held(self, reason: HoldReason, who: bytes) -> int:
        """Return what is held of an account for one reason."""

    def transfer(self, source: bytes, dest: bytes, amount: int, *, keep_alive: bool = True) -> None:
        """Move free balance; `keep_alive` refuses to leave less than the existential deposit."""

    def hold(self, reason: HoldReason, who: bytes, amount: int) -> None:
        """Set free balance aside; the account keeps the existential deposit free."""

    def release(self, reason: HoldReason, who: bytes, amount: int) -> None:
        """Give held balance back to its owner."""

    def transfer_held(self, reason: HoldReason, source: bytes, dest: bytes, amount: int) -> None:
        """Move held balance of `source` to the free balance of `dest`."""

    def burn_held(self, reason: HoldReason, who: bytes, amount: int) -> None:
        """Destroy held balance."""

    def burn_free(self, who: bytes, amount: int) -> None:
        """Destroy free balance; the account may be a pot."""


def pot_account(name: str) -> bytes:
    """Return the account of a pot that no key controls: ``modl`` and eight letters, zero padded."""
    return (b"modl" + name.encode()).ljust(32, b"\x00")


TREASURY = pot_account("open/trs")
STAKERS = pot_account("open/stk")
"""The stakers' share until staking distributes it."""
