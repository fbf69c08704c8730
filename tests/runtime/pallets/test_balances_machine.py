"""Random money movements, checked against a model that only adds and subtracts."""

from __future__ import annotations

from dev_chain import ROOT, DevChain, account
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runtime.frame.currency import TREASURY, HoldReason
from runtime.primitives.errors import DispatchFailure
from runtime.primitives.types import Id

ED = 10**15
PEOPLE = [account(n) for n in ("Alice", "Bob")] + [bytes([n]) * 32 for n in (7, 8, 9)]
SIGNERS = ("Alice", "Bob")
people = st.sampled_from(PEOPLE)
reasons = st.sampled_from([HoldReason.DATANET_BOND, HoldReason.SESSION_ESCROW])
amounts = st.one_of(
    st.integers(0, 5),
    st.integers(ED - 3, ED + 3),
    st.integers(0, 2 * 10**24),
    st.sampled_from([0, 2**127, 2**128 - 1]),
)


class Money(RuleBasedStateMachine):
    """Holds are kept in a model; free balances only have to add up."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = DevChain()
        self.balances = self.chain.runtime.balances
        self.held: dict[tuple[HoldReason, bytes], int] = {}
        self.issuance = self.balances.total_issuance.get()
        self.nonces: dict[bytes, int] = {}

    def attempt(self, origin: object, name: str, /, **arguments: object) -> bool:
        """Make a call; one that fails must leave the state as it was."""
        before = self.chain.overlay.changes()
        try:
            self.chain.call(origin, "Balances", name, **arguments)  # type: ignore[arg-type]
        except DispatchFailure:
            assert self.chain.overlay.changes() == before
            return False
        return True

    @rule(
        who=st.sampled_from(SIGNERS),
        dest=people,
        value=amounts,
        name=st.sampled_from(["transfer_allow_death", "transfer_keep_alive"]),
    )
    def transfer(self, who: str, dest: bytes, value: int, name: str) -> None:
        source = account(who)
        before = self.chain.free(source), self.chain.free(dest), self.chain.free(TREASURY)
        if not self.attempt(who, name, dest=Id(dest), value=value):
            return
        if source != dest:
            dust = self.chain.free(TREASURY) - before[2]
            assert self.chain.free(source) == before[0] - value - dust
            assert self.chain.free(dest) == before[1] + value
            assert dust < ED

    @rule(who=st.sampled_from(SIGNERS), dest=people, keep_alive=st.booleans())
    def transfer_all(self, who: str, dest: bytes, keep_alive: bool) -> None:
        self.attempt(who, "transfer_all", dest=Id(dest), keep_alive=keep_alive)

    @rule(who=st.sampled_from(SIGNERS), value=amounts, keep_alive=st.booleans())
    def burn(self, who: str, value: int, keep_alive: bool) -> None:
        if self.attempt(who, "burn", value=value, keep_alive=keep_alive):
            self.issuance -= value

    @rule(who=people, value=amounts)
    def set_balance(self, who: bytes, value: int) -> None:
        before = self.chain.free(who)
        if self.attempt(ROOT, "force_set_balance", who=Id(who), new_free=value):
            self.issuance += self.chain.free(who) - before

    @rule(source=people, dest=people, value=amounts)
    def force_transfer(self, source: bytes, dest: bytes, value: int) -> None:
        self.attempt(ROOT, "force_transfer", source=Id(source), dest=Id(dest), value=value)

    @rule(reason=reasons, who=people, amount=amounts)
    def hold(self, reason: HoldReason, who: bytes, amount: int) -> None:
        before = self.chain.overlay.changes()
        try:
            with self.chain.runtime.host.transaction():
                self.balances.hold(reason, who, amount)
        except DispatchFailure:
            assert self.chain.overlay.changes() == before
        else:
            self.held[reason, who] = self.held.get((reason, who), 0) + amount

    @rule(
        reason=reasons, who=people, dest=people, percent=st.integers(0, 100), kind=st.integers(0, 2)
    )
    def take(self, reason: HoldReason, who: bytes, dest: bytes, percent: int, kind: int) -> None:
        amount = self.held.get((reason, who), 0) * percent // 100
        if kind == 0:
            self.balances.release(reason, who, amount)
        elif kind == 1:
            self.balances.transfer_held(reason, who, dest, amount)
        else:
            self.balances.burn_held(reason, who, amount)
            self.issuance -= amount
        self.held[reason, who] = self.held.get((reason, who), 0) - amount

    @rule(who=people, author=people, fee=amounts, tip=st.integers(0, 10**18))
    def pay_fee(self, who: bytes, author: bytes, fee: int, tip: int) -> None:
        if fee + tip < 2**128 and self.balances.withdraw_fee(who, fee + tip):
            self.chain.runtime.system.inc_nonce(who)
            self.nonces[who] = self.nonces.get(who, 0) + 1
            self.chain.runtime.transaction_payment.distribute(who, author, fee + tip, tip)
            self.issuance -= fee * 20 // 100

    @invariant()
    def nothing_is_lost(self) -> None:
        self.balances.check_invariants()
        self.chain.runtime.system.check_invariants()
        assert self.balances.total_issuance.get() == self.issuance

    @invariant()
    def holds_are_those_that_were_made(self) -> None:
        for (reason, who), amount in self.held.items():
            assert self.balances.held(reason, who) == amount

    @invariant()
    def who_lives_has_the_deposit_or_a_hold(self) -> None:
        for who in PEOPLE:
            info = self.chain.runtime.system.account[who]
            owns = info.data.free > 0 or info.data.reserved > 0
            assert info.providers == owns
            assert info.data.free >= ED or info.data.reserved or not owns

    @invariant()
    def a_nonce_only_rises(self) -> None:
        for who, nonce in self.nonces.items():
            assert self.chain.runtime.system.account[who].nonce == nonce


TestMoney = Money.TestCase
TestMoney.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
