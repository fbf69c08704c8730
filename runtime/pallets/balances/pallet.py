"""Balances: who owns how much OPEN, what of it is held, and how it moves."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from runtime.frame.currency import STAKERS, TREASURY, HoldReason
from runtime.frame.errors import ArithmeticReason, DispatchError, TokenError
from runtime.frame.host import Host
from runtime.frame.origin import Origin, ensure_root, ensure_signed
from runtime.frame.pallet import Const, Pallet, TypesOfPallet, call, constant
from runtime.frame.storage import StorageMap, StorageValue, storage_map, value
from runtime.pallets.balances import weights
from runtime.pallets.balances.errors import Error
from runtime.pallets.balances.events import (
    EVENTS,
    BalanceSet,
    Burned,
    BurnedHeld,
    Deposit,
    DustLost,
    Endowed,
    Held,
    Minted,
    Released,
    Transfer,
    TransferOnHold,
    Withdraw,
)
from runtime.pallets.balances.types import BalanceLock, HeldAmount, ReserveData
from runtime.primitives.errors import DispatchFailure, InvariantViolation, ensure, invariant
from runtime.primitives.hashing import Hasher
from runtime.primitives.keys import ss58_decode
from runtime.primitives.types import (
    AccountId,
    Balance,
    CompactBalance,
    Id,
    MultiAddress,
)

EXISTENTIAL_DEPOSIT = 10**15
"""A thousandth of an OPEN."""
_CLOSED_ADDRESS = DispatchError.CANNOT_LOOKUP


class Accounts(Protocol):
    """What this pallet needs of the one that stores accounts."""

    account: StorageMap[bytes, Any]

    def store_balances(
        self, who: bytes, before: Any, free: int, reserved: int, providers: int
    ) -> None:
        """Store what an account owns and how many reasons keep it alive; without any, it goes."""

    def inc_providers(self, who: bytes) -> None:
        """Keep an account alive."""


class Balances(Pallet, index=2):
    """Who owns how much OPEN, what of it is held, and how it moves. 1 OPEN is 10^18 units."""

    Error = Error
    EVENTS = EVENTS
    TYPES: ClassVar[TypesOfPallet] = {
        "Balance": (Balance, "Amounts of money, in units of 10⁻¹⁸ OPEN.")
    }

    existential_deposit: Const[Balance] = constant(
        EXISTENTIAL_DEPOSIT, doc="An account with less is removed."
    )

    total_issuance: StorageValue[Balance] = value(default=0, doc="All units that exist.")
    inactive_issuance: StorageValue[Balance] = value(
        default=0, doc="Units that do not take part in governance."
    )
    locks: StorageMap[AccountId, tuple[BalanceLock, ...]] = storage_map(
        Hasher.BLAKE2_128_CONCAT, default=(), doc="Locks on an account. This chain uses holds."
    )
    reserves: StorageMap[AccountId, tuple[ReserveData, ...]] = storage_map(
        Hasher.BLAKE2_128_CONCAT, default=(), doc="Named reserves. This chain uses holds."
    )
    holds: StorageMap[AccountId, tuple[HeldAmount, ...]] = storage_map(
        Hasher.BLAKE2_128_CONCAT, default=(), doc="What is held of an account, by reason."
    )
    freezes: StorageMap[AccountId, tuple[HeldAmount, ...]] = storage_map(
        Hasher.BLAKE2_128_CONCAT, default=(), doc="Freezes on an account. This chain uses holds."
    )

    def __init__(self, host: Host, accounts: Accounts) -> None:
        super().__init__(host)
        self.accounts = accounts

    @call(index=0, weight=weights.TRANSFER_ALLOW_DEATH)
    def transfer_allow_death(
        self, origin: Origin, dest: MultiAddress, value: CompactBalance
    ) -> None:
        """Move free balance; the sender's account goes if it is left with dust."""
        self.transfer(ensure_signed(origin), lookup(dest), value, keep_alive=False)

    @call(index=2, weight=weights.FORCE_TRANSFER)
    def force_transfer(
        self, origin: Origin, source: MultiAddress, dest: MultiAddress, value: CompactBalance
    ) -> None:
        """Move anybody's free balance; governance only."""
        ensure_root(origin)
        self.transfer(lookup(source), lookup(dest), value, keep_alive=False)

    @call(index=3, weight=weights.TRANSFER_KEEP_ALIVE)
    def transfer_keep_alive(
        self, origin: Origin, dest: MultiAddress, value: CompactBalance
    ) -> None:
        """Move free balance, but never so much that the sender's account would go."""
        self.transfer(ensure_signed(origin), lookup(dest), value, keep_alive=True)

    @call(index=4, weight=weights.TRANSFER_ALL)
    def transfer_all(self, origin: Origin, dest: MultiAddress, keep_alive: bool) -> None:
        """Move all free balance that may move."""
        who = ensure_signed(origin)
        data = self.accounts.account[who].data
        keep = EXISTENTIAL_DEPOSIT if keep_alive or data.reserved else 0
        self.transfer(who, lookup(dest), max(0, data.free - keep), keep_alive=keep_alive)

    @call(index=8, weight=weights.FORCE_SET_BALANCE)
    def force_set_balance(
        self, origin: Origin, who: MultiAddress, new_free: CompactBalance
    ) -> None:
        """Set the free balance of an account, changing the issuance; governance only."""
        ensure_root(origin)
        account = lookup(who)
        data = self.accounts.account[account].data
        before = data.free
        if new_free < EXISTENTIAL_DEPOSIT and not data.reserved:
            new_free = 0
        if new_free >= before:
            self.mint(account, new_free - before)
        else:
            self.burn_free(account, before - new_free)
        self.deposit_event(BalanceSet(account, self.free(account)))

    @call(index=10, weight=weights.BURN)
    def burn(self, origin: Origin, value: CompactBalance, keep_alive: bool) -> None:
        """Destroy free balance of one's own."""
        who = ensure_signed(origin)
        self._check_spendable(who, value, keep_alive)
        self.burn_free(who, value)

    # What other pallets use (`frame.currency.Currency`) follows.

    def free(self, who: bytes) -> int:
        """Return the free balance of an account."""
        free: int = self.accounts.account[who].data.free
        return free

    def held(self, reason: HoldReason, who: bytes) -> int:
        """Return what is held of an account for one reason."""
        return sum(h.amount for h in self.holds[who] if h.id == reason)

    def transfer(self, source: bytes, dest: bytes, amount: int, *, keep_alive: bool = True) -> None:
        """Move free balance."""
        self._check_spendable(source, amount, keep_alive)
        if source == dest or amount == 0:
            return
        if amount < EXISTENTIAL_DEPOSIT:
            ensure(self.accounts.account[dest].providers > 0, TokenError.BELOW_MINIMUM)
        self._add_free(source, -amount)
        self._add_free(dest, amount)
        self.deposit_event(Transfer(source, dest, amount))

    def hold(self, reason: HoldReason, who: bytes, amount: int) -> None:
        """Set free balance aside; the existential deposit stays free."""
        if amount == 0:
            return
        info = self.accounts.account[who]
        free = info.data.free - amount
        ensure(free >= EXISTENTIAL_DEPOSIT, TokenError.FUNDS_UNAVAILABLE)
        self._store(who, info, free, info.data.reserved + amount)
        self._set_hold(reason, who, self.held(reason, who) + amount)
        self.deposit_event(Held(reason, who, amount))

    def release(self, reason: HoldReason, who: bytes, amount: int) -> None:
        """Give held balance back to its owner."""
        if amount == 0:
            return
        self._take_held(reason, who, amount, returned=amount)
        self.deposit_event(Released(reason, who, amount))

    def transfer_held(self, reason: HoldReason, source: bytes, dest: bytes, amount: int) -> None:
        """Move held balance of one account to the free balance of another."""
        if amount == 0:
            return
        if source == dest:
            self._take_held(reason, source, amount, returned=amount)
        else:
            self._take_held(reason, source, amount)
            self._add_free(dest, amount)
        self.deposit_event(TransferOnHold(reason, source, dest, amount))

    def burn_held(self, reason: HoldReason, who: bytes, amount: int) -> None:
        """Destroy held balance."""
        if amount == 0:
            return
        self._take_held(reason, who, amount)
        self.total_issuance.put(self.total_issuance.get() - amount)
        self.deposit_event(BurnedHeld(reason, who, amount))

    def burn_free(self, who: bytes, amount: int) -> None:
        """Destroy free balance."""
        ensure(self.free(who) >= amount, TokenError.FUNDS_UNAVAILABLE)
        self._add_free(who, -amount)
        self.total_issuance.put(self.total_issuance.get() - amount)
        self.deposit_event(Burned(who, amount))

    def mint(self, who: bytes, amount: int) -> None:
        """Create free balance; only genesis and governance come here."""
        issuance = self.total_issuance.get() + amount
        ensure(issuance < 1 << 128, ArithmeticReason.OVERFLOW)
        self.total_issuance.put(issuance)
        self._add_free(who, amount)
        self.deposit_event(Minted(who, amount))

    def can_pay_fee(self, who: bytes, amount: int) -> bool:
        """Tell whether an account can pay a fee and live on."""
        info = self.accounts.account[who]
        data = info.data
        kept_by_others = info.providers > 1 and not data.reserved
        return bool(data.free >= amount + (0 if kept_by_others else EXISTENTIAL_DEPOSIT))

    def withdraw_fee(self, who: bytes, amount: int) -> bool:
        """Take a fee out of circulation; tells whether the account could pay it.

        Whoever takes it distributes it with `deposit_fee` and `burn_fee` in the same extrinsic.
        """
        if not self.can_pay_fee(who, amount):
            return False
        if amount:
            self._add_free(who, -amount)
            self.deposit_event(Withdraw(who, amount))
        return True

    def deposit_fee(self, who: bytes, amount: int) -> None:
        """Pay a part of a fee that was taken."""
        if amount:
            self._add_free(who, amount)
            self.deposit_event(Deposit(who, amount))

    def burn_fee(self, amount: int) -> None:
        """Destroy a part of a fee that was taken."""
        if amount:
            self.total_issuance.put(self.total_issuance.get() - amount)

    def _check_spendable(self, who: bytes, amount: int, keep_alive: bool) -> None:
        data = self.accounts.account[who].data
        ensure(data.free >= amount, TokenError.FUNDS_UNAVAILABLE)
        left = data.free - amount
        if left < EXISTENTIAL_DEPOSIT:
            ensure(not keep_alive, TokenError.NOT_EXPENDABLE)
            ensure(data.reserved == 0, TokenError.ONLY_PROVIDER)

    def _add_free(self, who: bytes, amount: int) -> None:
        info = self.accounts.account[who]
        self._store(who, info, info.data.free + amount, info.data.reserved)

    def _store(self, who: bytes, info: Any, free: int, reserved: int) -> None:
        """Store balances, creating or reaping the account; dust goes to the treasury.

        A balance above zero is one provider of its account. An account that something else keeps
        alive too, such as a pot or a registered key, keeps its dust.
        """
        if free < 0 or reserved < 0:
            raise InvariantViolation(f"{who.hex()} would owe {-min(free, reserved)}")
        had = info.data.free > 0 or info.data.reserved > 0
        others = info.providers - had
        dust = 0
        if free < EXISTENTIAL_DEPOSIT and not reserved and not others:
            dust, free = free, 0
        has = free > 0 or reserved > 0
        self.accounts.store_balances(who, info, free, reserved, others + has)
        if has and not had:
            self.deposit_event(Endowed(who, free))
        if dust:
            self.deposit_event(DustLost(who, dust))
            self._add_free(TREASURY, dust)

    def _take_held(self, reason: HoldReason, who: bytes, amount: int, *, returned: int = 0) -> None:
        """Take from a hold, giving `returned` of it to its owner."""
        held = self.held(reason, who)
        invariant(held >= amount, f"{reason.name} of {who.hex()}: {amount} asked, {held} held")
        info = self.accounts.account[who]
        self._store(who, info, info.data.free + returned, info.data.reserved - amount)
        self._set_hold(reason, who, held - amount)

    def _set_hold(self, reason: HoldReason, who: bytes, amount: int) -> None:
        others = [h for h in self.holds[who] if h.id != reason]
        if amount:
            others.append(HeldAmount(reason, amount))
        if others:
            self.holds.insert(who, tuple(sorted(others, key=lambda h: h.id)))
        else:
            self.holds.remove(who)

    def build_genesis(self, genesis: Any) -> None:
        """Endow accounts: ``{"balances": [[address, "amount"], ...]}``."""
        for pot in (TREASURY, STAKERS):
            self.accounts.inc_providers(pot)
        for address, amount in genesis.get("balances", ()):
            self.mint(ss58_decode(address)[0], int(amount))

    def held_by_reason(self) -> dict[HoldReason, int]:
        """Return what is held on the whole chain for each reason."""
        totals = dict.fromkeys(HoldReason, 0)
        for _, entries in self.holds.items():
            for entry in entries:
                totals[entry.id] += entry.amount
        return totals

    def check_invariants(self) -> None:
        """Issuance is the sum of all balances, and a reserve is the sum of its holds."""
        total = 0
        for who, info in self.accounts.account.items():
            total += info.data.free + info.data.reserved
            held = sum(h.amount for h in self.holds[who])
            invariant(info.data.reserved == held, f"reserve of {who.hex()} is not its holds")
        invariant(total == self.total_issuance.get(), "the issuance is not the sum of balances")


def lookup(address: MultiAddress) -> bytes:
    """Return the account of an address; only ids resolve."""
    if not isinstance(address, Id):
        raise DispatchFailure(_CLOSED_ADDRESS)
    return address.account
