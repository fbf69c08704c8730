"""What the pallet tells the world: its events, in the order of their indices."""

from __future__ import annotations

from runtime.frame.currency import HoldReason
from runtime.frame.pallet import event
from runtime.primitives.types import AccountId, Balance


@event(index=0)
class Endowed:
    """An account was created with some free balance."""

    account: AccountId
    free_balance: Balance


@event(index=1)
class DustLost:
    """An account fell below the existential deposit; the rest went to the treasury."""

    account: AccountId
    amount: Balance


@event(index=2)
class Transfer:
    """Free balance moved from one account to another."""

    from_: AccountId
    to: AccountId
    amount: Balance


@event(index=3)
class BalanceSet:
    """Governance set a balance."""

    who: AccountId
    free: Balance


@event(index=7)
class Deposit:
    """An amount was put into an account, by the chain."""

    who: AccountId
    amount: Balance


@event(index=8)
class Withdraw:
    """An amount was taken from an account, by the chain, for a fee for instance."""

    who: AccountId
    amount: Balance


@event(index=10)
class Minted:
    """An amount was created in an account."""

    who: AccountId
    amount: Balance


@event(index=11)
class Burned:
    """An amount of an account was destroyed."""

    who: AccountId
    amount: Balance


@event(index=25)
class Held:
    """A part of a balance was set aside."""

    reason: HoldReason
    who: AccountId
    amount: Balance


@event(index=28)
class Released:
    """A held part of a balance is free again."""

    reason: HoldReason
    who: AccountId
    amount: Balance


@event(index=29)
class TransferOnHold:
    """A held part of a balance went to another account."""

    reason: HoldReason
    source: AccountId
    dest: AccountId
    amount: Balance


@event(index=30)
class BurnedHeld:
    """A held part of a balance was destroyed."""

    reason: HoldReason
    who: AccountId
    amount: Balance


EVENTS = (
    Endowed,
    DustLost,
    Transfer,
    BalanceSet,
    Deposit,
    Withdraw,
    Minted,
    Burned,
    Held,
    Released,
    TransferOnHold,
    BurnedHeld,
)
