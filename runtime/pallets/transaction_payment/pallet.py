"""Transaction payment: what an extrinsic costs, and where the fee goes."""

from __future__ import annotations

from typing import Protocol

from runtime.frame.currency import TREASURY
from runtime.frame.host import Host
from runtime.frame.pallet import Const, Pallet, constant, event
from runtime.frame.storage import StorageValue, value
from runtime.frame.weights import BASE_EXTRINSIC, MAX_BLOCK, NORMAL_PERCENT
from runtime.pallets.transaction_payment.types import InclusionFee
from runtime.primitives.scale import U8, U128
from runtime.primitives.types import AccountId, Balance, Weight

MICRO_OPEN = 10**12
BASE_FEE = 100 * MICRO_OPEN
BYTE_FEE = MICRO_OPEN
WEIGHT_FEE_PER_MICROSECOND = MICRO_OPEN
ONE = 10**18
"""The fee multiplier is a fixed-point number with 18 decimals."""
MIN_MULTIPLIER = ONE // 10
MAX_MULTIPLIER = 1000 * ONE
TARGET_PERCENT = 25
"""Fullness of the normal class at which the multiplier rests."""
AUTHOR_PERCENT = 50
BURN_PERCENT = 20


@event(index=0)
class TransactionFeePaid:
    """A fee was paid; the tip is part of it."""

    who: AccountId
    actual_fee: Balance
    tip: Balance


class FeeCurrency(Protocol):
    """What this pallet needs of balances."""

    def withdraw_fee(self, who: bytes, amount: int) -> bool:
        """Take a fee; tells whether the account could pay."""

    def deposit_fee(self, who: bytes, amount: int) -> None:
        """Pay a part of a fee that was taken."""

    def burn_fee(self, amount: int) -> None:
        """Destroy a part of a fee that was taken."""


class TransactionPayment(Pallet, index=3):
    """What an extrinsic costs, and where the fee goes.

    fee = base + bytes × byte fee + weight × multiplier + tip. The tip and half of the rest go to
    the block's author, a fifth of the rest is burned, what remains (and what rounding leaves)
    goes to the treasury.
    """

    EVENTS = (TransactionFeePaid,)

    operational_fee_multiplier: Const[U8] = constant(
        5, doc="Priority of operational extrinsics over normal ones."
    )
    next_fee_multiplier: StorageValue[U128] = value(
        default=ONE, doc="Multiplier of the weight fee in the next block, 18 decimals."
    )

    def __init__(self, host: Host, currency: FeeCurrency) -> None:
        super().__init__(host)
        self.currency = currency

    def inclusion_fee(self, length: int, weight: Weight) -> InclusionFee:
        """Return the parts of the fee of an extrinsic of `length` bytes."""
        time_fee = (weight.ref_time + BASE_EXTRINSIC.ref_time) * WEIGHT_FEE_PER_MICROSECOND
        adjusted = time_fee // 1_000_000 * self.next_fee_multiplier.get() // ONE
        return InclusionFee(BASE_FEE, length * BYTE_FEE, adjusted)

    def fee(self, length: int, weight: Weight, tip: int) -> int:
        """Return the whole fee."""
        parts = self.inclusion_fee(length, weight)
        return parts.base_fee + parts.len_fee + parts.adjusted_weight_fee + tip

    def distribute(self, who: bytes, author: bytes | None, fee: int, tip: int) -> None:
        """Pay out a fee that was withdrawn; without an author his part is the treasury's."""
        rest = fee - tip
        burned = rest * BURN_PERCENT // 100
        to_author = 0 if author is None else tip + rest * AUTHOR_PERCENT // 100
        if author is not None:
            self.currency.deposit_fee(author, to_author)
        self.currency.deposit_fee(TREASURY, fee - to_author - burned)
        self.currency.burn_fee(burned)
        self.deposit_event(TransactionFeePaid(who, fee, tip))

    def adjust(self, used: Weight) -> None:
        """Move the multiplier towards the target fullness: at most 0.004 % a block either way."""
        target = MAX_BLOCK.ref_time * NORMAL_PERCENT // 100 * TARGET_PERCENT // 100
        multiplier = self.next_fee_multiplier.get()
        # multiplier × (1 + v·s), s the distance from the target in blocks, v = 0.00004
        difference = min(used.ref_time, MAX_BLOCK.ref_time) - target
        moved = multiplier + multiplier * difference * 4 // (MAX_BLOCK.ref_time * 100_000)
        moved = min(max(moved, MIN_MULTIPLIER), MAX_MULTIPLIER)
        if moved != multiplier:
            self.next_fee_multiplier.put(moved)
