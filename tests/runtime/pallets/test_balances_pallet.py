from __future__ import annotations

import pytest
from dev_chain import ENDOWMENT, ROOT, DevChain, account

from runtime.frame.currency import STAKERS, TREASURY, HoldReason
from runtime.frame.errors import ArithmeticReason, DispatchError, TokenError
from runtime.frame.origin import Unsigned
from runtime.pallets.balances.pallet import (
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
from runtime.pallets.datanets.types import Policy
from runtime.pallets.system.pallet import KilledAccount, NewAccount
from runtime.primitives.types import Address20, Address32, Id, Index, MultiAddress, Raw

ED = 10**15
ALICE, BOB = account("Alice"), account("Bob")
NEW = bytes([7]) * 32
REASON = HoldReason.DATANET_BOND


def events_of(chain: DevChain, mark: int) -> list[object]:
    return [record for _, _, record in chain.runtime.host.events[mark:]]


def test_a_transfer_to_a_new_account_creates_it(chain: DevChain) -> None:
    made = chain.call("Alice", "Balances", "transfer_allow_death", dest=Id(NEW), value=ED)
    assert made == [NewAccount(NEW), Endowed(NEW, ED), Transfer(ALICE, NEW, ED)]
    assert (chain.free(NEW), chain.free("Alice")) == (ED, ENDOWMENT - ED)
    chain.check()


def test_a_transfer_to_an_account_that_lives_moves_the_amount(chain: DevChain) -> None:
    made = chain.call("Alice", "Balances", "transfer_keep_alive", dest=Id(BOB), value=5)
    assert made == [Transfer(ALICE, BOB, 5)]
    assert chain.free("Bob") == ENDOWMENT + 5


def test_an_account_is_not_created_with_less_than_the_existential_deposit(chain: DevChain) -> None:
    chain.assert_refused(
        TokenError.BELOW_MINIMUM,
        "Alice",
        "Balances",
        "transfer_allow_death",
        dest=Id(NEW),
        value=ED - 1,
    )


def test_nobody_transfers_more_than_he_has(chain: DevChain) -> None:
    for name in ("transfer_allow_death", "transfer_keep_alive"):
        chain.assert_refused(
            TokenError.FUNDS_UNAVAILABLE,
            "Alice",
            "Balances",
            name,
            dest=Id(BOB),
            value=ENDOWMENT + 1,
        )


def test_keep_alive_refuses_to_leave_less_than_the_existential_deposit(chain: DevChain) -> None:
    value = ENDOWMENT - ED + 1
    chain.assert_refused(
        TokenError.NOT_EXPENDABLE,
        "Alice",
        "Balances",
        "transfer_keep_alive",
        dest=Id(BOB),
        value=value,
    )
    chain.call("Alice", "Balances", "transfer_keep_alive", dest=Id(BOB), value=value - 1)
    assert chain.free("Alice") == ED


def test_what_is_left_of_a_reaped_account_goes_to_the_treasury(chain: DevChain) -> None:
    value = ENDOWMENT - ED + 1
    made = chain.call("Alice", "Balances", "transfer_allow_death", dest=Id(BOB), value=value)
    assert made == [
        KilledAccount(ALICE),
        DustLost(ALICE, ED - 1),
        Endowed(TREASURY, ED - 1),
        Transfer(ALICE, BOB, value),
    ]
    assert chain.free(TREASURY) == ED - 1
    assert ALICE not in chain.runtime.system.account
    chain.check()


def test_an_account_with_holds_cannot_be_reaped(chain: DevChain) -> None:
    chain.runtime.balances.hold(REASON, ALICE, 10)
    chain.assert_refused(
        TokenError.ONLY_PROVIDER,
        "Alice",
        "Balances",
        "transfer_allow_death",
        dest=Id(BOB),
        value=ENDOWMENT - 10,
    )


@pytest.mark.parametrize("address", [Index(3), Raw(b"x"), Address32(BOB), Address20(bytes(20))])
def test_only_account_ids_resolve(chain: DevChain, address: MultiAddress) -> None:
    for name in ("transfer_allow_death", "transfer_keep_alive"):
        chain.assert_refused(
            DispatchError.CANNOT_LOOKUP, "Alice", "Balances", name, dest=address, value=1
        )


def test_transfers_to_oneself_and_of_nothing_move_nothing(chain: DevChain) -> None:
    assert chain.call("Alice", "Balances", "transfer_allow_death", dest=Id(ALICE), value=5) == []
    assert chain.call("Alice", "Balances", "transfer_allow_death", dest=Id(NEW), value=0) == []
    assert chain.free("Alice") == ENDOWMENT


def test_transfer_all_moves_everything_or_all_but_the_deposit(chain: DevChain) -> None:
    chain.call("Alice", "Balances", "transfer_all", dest=Id(NEW), keep_alive=True)
    assert (chain.free("Alice"), chain.free(NEW)) == (ED, ENDOWMENT - ED)
    chain.call("Alice", "Balances", "transfer_all", dest=Id(NEW), keep_alive=False)
    assert (chain.free("Alice"), chain.free(NEW)) == (0, ENDOWMENT)
    chain.check()


def test_transfer_all_leaves_the_deposit_beside_a_hold(chain: DevChain) -> None:
    chain.runtime.balances.hold(REASON, ALICE, 10)
    chain.call("Alice", "Balances", "transfer_all", dest=Id(NEW), keep_alive=False)
    assert chain.free("Alice") == ED


def test_burning_lowers_the_issuance(chain: DevChain) -> None:
    before = chain.runtime.balances.total_issuance.get()
    assert chain.call("Bob", "Balances", "burn", value=7, keep_alive=True) == [Burned(BOB, 7)]
    assert chain.runtime.balances.total_issuance.get() == before - 7
    chain.assert_refused(
        TokenError.FUNDS_UNAVAILABLE, "Bob", "Balances", "burn", value=ENDOWMENT, keep_alive=False
    )
    chain.assert_refused(
        TokenError.NOT_EXPENDABLE, "Bob", "Balances", "burn", value=ENDOWMENT - 7, keep_alive=True
    )


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("force_transfer", {"source": Id(ALICE), "dest": Id(BOB), "value": 1}),
        ("force_set_balance", {"who": Id(ALICE), "new_free": 1}),
    ],
)
def test_governance_alone_moves_what_is_not_its_own(
    chain: DevChain, name: str, arguments: dict[str, object]
) -> None:
    for origin in ("Alice", Unsigned()):
        chain.assert_refused(DispatchError.BAD_ORIGIN, origin, "Balances", name, **arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("transfer_allow_death", {"dest": Id(BOB), "value": 1}),
        ("transfer_keep_alive", {"dest": Id(BOB), "value": 1}),
        ("transfer_all", {"dest": Id(BOB), "keep_alive": True}),
        ("burn", {"value": 1, "keep_alive": True}),
    ],
)
def test_the_chain_itself_has_no_balance_to_spend(
    chain: DevChain, name: str, arguments: dict[str, object]
) -> None:
    for origin in (ROOT, Unsigned()):
        chain.assert_refused(DispatchError.BAD_ORIGIN, origin, "Balances", name, **arguments)


def test_governance_moves_and_sets_balances(chain: DevChain) -> None:
    made = chain.call(ROOT, "Balances", "force_transfer", source=Id(ALICE), dest=Id(BOB), value=3)
    assert made == [Transfer(ALICE, BOB, 3)]
    made = chain.call(ROOT, "Balances", "force_set_balance", who=Id(BOB), new_free=ENDOWMENT + 10)
    assert made == [Minted(BOB, 7), BalanceSet(BOB, ENDOWMENT + 10)]
    made = chain.call(ROOT, "Balances", "force_set_balance", who=Id(BOB), new_free=ENDOWMENT)
    assert made == [Burned(BOB, 10), BalanceSet(BOB, ENDOWMENT)]
    chain.check()


def test_a_balance_set_below_the_existential_deposit_is_none(chain: DevChain) -> None:
    for who in (BOB, NEW):
        chain.call(ROOT, "Balances", "force_set_balance", who=Id(who), new_free=ED - 1)
        assert who not in chain.runtime.system.account
    assert chain.free(TREASURY) == 0
    chain.check()


def test_the_issuance_never_exceeds_its_type(chain: DevChain) -> None:
    for most in (2**128 - 1, 2**128 - chain.runtime.balances.total_issuance.get() + ENDOWMENT):
        chain.assert_refused(
            ArithmeticReason.OVERFLOW,
            ROOT,
            "Balances",
            "force_set_balance",
            who=Id(BOB),
            new_free=most,
        )


def test_a_hold_leaves_the_existential_deposit_free(chain: DevChain) -> None:
    balances = chain.runtime.balances
    mark = len(chain.runtime.host.events)
    balances.hold(REASON, ALICE, 10)
    balances.hold(HoldReason.MODEL_STAKE, ALICE, 5)
    balances.hold(REASON, ALICE, 0)
    assert events_of(chain, mark) == [
        Held(REASON, ALICE, 10),
        Held(HoldReason.MODEL_STAKE, ALICE, 5),
    ]
    data = chain.runtime.system.account[ALICE].data
    assert (data.free, data.reserved) == (ENDOWMENT - 15, 15)
    assert (balances.held(REASON, ALICE), balances.held(HoldReason.MODEL_STAKE, ALICE)) == (10, 5)
    balances.check_invariants()


def test_a_hold_that_would_leave_less_is_refused(chain: DevChain) -> None:
    deposit = chain.runtime.datanets.creation_deposit
    create = ("Bob", "Datanets", "create")
    arguments = {"name": b"n", "schema": (b"f",), "policy": Policy(True, 0, 0)}
    chain.call(ROOT, "Balances", "force_set_balance", who=Id(BOB), new_free=deposit + ED - 1)
    chain.assert_refused(TokenError.FUNDS_UNAVAILABLE, *create, **arguments)
    chain.call(ROOT, "Balances", "force_set_balance", who=Id(BOB), new_free=deposit + ED)
    chain.call(*create, **arguments)
    assert chain.free("Bob") == ED


def test_held_money_is_released_moved_or_burned_and_never_lost(chain: DevChain) -> None:
    balances = chain.runtime.balances
    issuance = balances.total_issuance.get()
    balances.hold(REASON, ALICE, 100)
    mark = len(chain.runtime.host.events)
    balances.release(REASON, ALICE, 10)
    balances.transfer_held(REASON, ALICE, BOB, 20)
    balances.transfer_held(REASON, ALICE, ALICE, 30)
    balances.burn_held(REASON, ALICE, 40)
    assert events_of(chain, mark) == [
        Released(REASON, ALICE, 10),
        TransferOnHold(REASON, ALICE, BOB, 20),
        TransferOnHold(REASON, ALICE, ALICE, 30),
        BurnedHeld(REASON, ALICE, 40),
    ]
    assert balances.held(REASON, ALICE) == 0
    assert ALICE not in balances.holds
    assert (chain.free("Alice"), chain.free("Bob")) == (ENDOWMENT - 60, ENDOWMENT + 20)
    assert balances.total_issuance.get() == issuance - 40
    chain.check()


def test_the_last_held_money_that_leaves_an_empty_account_reaps_it(chain: DevChain) -> None:
    balances = chain.runtime.balances
    balances.hold(REASON, ALICE, 100)
    chain.call(ROOT, "Balances", "force_set_balance", who=Id(ALICE), new_free=0)
    assert ALICE in chain.runtime.system.account
    balances.transfer_held(REASON, ALICE, BOB, 100)
    assert ALICE not in chain.runtime.system.account
    chain.check()


def test_a_release_below_the_deposit_is_dust(chain: DevChain) -> None:
    balances = chain.runtime.balances
    balances.hold(REASON, ALICE, 100)
    chain.call(ROOT, "Balances", "force_set_balance", who=Id(ALICE), new_free=0)
    balances.release(REASON, ALICE, 100)
    assert ALICE not in chain.runtime.system.account
    assert chain.free(TREASURY) == 100
    chain.check()


def test_what_is_paid_to_a_dead_account_below_the_deposit_goes_to_the_treasury(
    chain: DevChain,
) -> None:
    balances = chain.runtime.balances
    balances.hold(REASON, ALICE, 100)
    mark = len(chain.runtime.host.events)
    balances.transfer_held(REASON, ALICE, NEW, 60)
    assert DustLost(NEW, 60) in events_of(chain, mark)
    assert NEW not in chain.runtime.system.account
    assert chain.free(TREASURY) == 60
    balances.check_invariants()


def test_pots_live_without_a_balance(chain: DevChain) -> None:
    for pot in (TREASURY, STAKERS):
        assert chain.runtime.system.account[pot].providers == 1
        assert chain.free(pot) == 0


def test_a_pot_keeps_its_dust(chain: DevChain) -> None:
    balances = chain.runtime.balances
    balances.transfer(ALICE, TREASURY, 5)
    balances.transfer(TREASURY, BOB, 3, keep_alive=False)
    assert chain.free(TREASURY) == 2
    balances.burn_free(TREASURY, 2)
    assert chain.runtime.system.account[TREASURY].providers == 1
    chain.check()


def test_a_fee_never_reaps_its_payer(chain: DevChain) -> None:
    balances = chain.runtime.balances
    assert not balances.withdraw_fee(ALICE, ENDOWMENT - ED + 1)
    assert not balances.withdraw_fee(NEW, 1)
    mark = len(chain.runtime.host.events)
    assert balances.withdraw_fee(ALICE, ENDOWMENT - ED)
    assert events_of(chain, mark) == [Withdraw(ALICE, ENDOWMENT - ED)]
    assert chain.free("Alice") == ED


def test_the_parts_of_a_fee_return_to_circulation(chain: DevChain) -> None:
    balances = chain.runtime.balances
    balances.withdraw_fee(ALICE, 100)
    mark = len(chain.runtime.host.events)
    balances.deposit_fee(BOB, 70)
    balances.deposit_fee(BOB, 0)
    balances.burn_fee(30)
    assert events_of(chain, mark) == [Deposit(BOB, 70)]
    chain.check()


def test_locks_reserves_and_freezes_are_empty(chain: DevChain) -> None:
    balances = chain.runtime.balances
    for unused in (balances.locks, balances.reserves, balances.freezes):
        assert unused[ALICE] == ()
