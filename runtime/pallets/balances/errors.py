"""Why the pallet refuses, as wallets show it."""

from __future__ import annotations

from enum import IntEnum


class Error(IntEnum):
    """Reasons a call of this pallet fails; the indices of `pallet_balances`."""

    LIQUIDITY_RESTRICTIONS = 1
    """The balance is held or frozen. Wait until it is released."""
    INSUFFICIENT_BALANCE = 2
    """The free balance is too low for the amount. Send less, or fund the account."""
    EXISTENTIAL_DEPOSIT = 3
    """The amount is below the existential deposit, so it cannot create the account. Send more."""
    EXPENDABILITY = 4
    """The transfer would leave the sender less than the existential deposit. Keep more, or use
    transfer_allow_death."""
