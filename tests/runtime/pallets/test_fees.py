"""Transaction payment: every unit of a fee has an owner, and the multiplier keeps its bounds."""

from __future__ import annotations

from typing import Any

import pytest
from dev_chain import ENDOWMENT, DevChain, account, keys
from hypothesis import given
from hypothesis import strategies as st

from runtime.construct import encode_call, storage_key
from runtime.frame.currency import TREASURY
from runtime.frame.weights import MAX_BLOCK
from runtime.pallets.transaction_payment.pallet import (
    BASE_FEE,
    BYTE_FEE,
    MAX_MULTIPLIER,
    MIN_MULTIPLIER,
    ONE,
    TransactionFeePaid,
)
from runtime.primitives.types import Id, Weight

ALICE, BOB = account("Alice"), account("Bob")


def test_a_fee_is_what_author_treasury_and_the_fire_get(chain: DevChain) -> None:
    issuance = chain.runtime.balances.total_issuance.get()
    tip = 12345
    signed = chain.sign(
        keys("Bob"),
        "Balances",
        "transfer_keep_alive",
        dest=Id(bytes([9]) * 32),
        value=10**18,
        tip=tip,
    )
    made = chain.make_block(signed)
    ((paid),) = made.named("TransactionFeePaid")
    assert paid == TransactionFeePaid(BOB, paid.actual_fee, tip)
    fee = paid.actual_fee
    burned = issuance - chain.runtime.balances.total_issuance.get()
    to_author = chain.free(chain.author) - ENDOWMENT
    to_treasury = chain.free(TREASURY)
    assert fee == to_author + to_treasury + burned
    assert fee == ENDOWMENT - 10**18 - chain.free("Bob")
    assert burned == (fee - tip) * 20 // 100
    assert to_author == tip + (fee - tip) * 50 // 100


@given(st.integers(0, 10**24), st.integers(0, 10**24), st.booleans())
def test_no_unit_of_any_fee_is_lost_or_made(rest: int, tip: int, has_author: bool) -> None:
    class Purse:
        def __init__(self) -> None:
            self.paid: dict[bytes, int] = {}
            self.burned = 0

        def withdraw_fee(self, who: bytes, amount: int) -> bool:
            return True

        def deposit_fee(self, who: bytes, amount: int) -> None:
            self.paid[who] = self.paid.get(who, 0) + amount

        def burn_fee(self, amount: int) -> None:
            self.burned += amount

    chain = _CHAIN
    purse: Any = Purse()
    payment = type(chain.runtime.transaction_payment)(chain.runtime.host, purse)
    payment.distribute(BOB, ALICE if has_author else None, rest + tip, tip)
    assert sum(purse.paid.values()) + purse.burned == rest + tip
    assert min(*purse.paid.values(), purse.burned) >= 0
    assert purse.paid.get(ALICE, 0) == (tip + rest // 2 if has_author else 0)


_CHAIN = DevChain()


def test_a_fee_counts_bytes_weight_and_tip(chain: DevChain) -> None:
    payment = chain.runtime.transaction_payment
    parts = payment.inclusion_fee(100, Weight(10**9, 0))
    assert (parts.base_fee, parts.len_fee) == (BASE_FEE, 100 * BYTE_FEE)
    total = parts.base_fee + parts.len_fee + parts.adjusted_weight_fee
    assert payment.fee(100, Weight(10**9, 0), 7) == total + 7
    payment.next_fee_multiplier.put(3 * ONE)
    assert payment.inclusion_fee(100, Weight(10**9, 0)).adjusted_weight_fee == (
        3 * parts.adjusted_weight_fee
    )


def test_the_multiplier_rests_at_its_target_and_follows_fullness(chain: DevChain) -> None:
    payment = chain.runtime.transaction_payment
    target = MAX_BLOCK.ref_time * 75 // 100 * 25 // 100
    for used, direction in ((target, 0), (target * 2, 1), (0, -1)):
        payment.next_fee_multiplier.put(ONE)
        payment.adjust(Weight(used, 0))
        moved = payment.next_fee_multiplier.get() - ONE
        assert (moved > 0) - (moved < 0) == direction
        assert abs(moved) <= ONE * 4 // 100_000


@given(st.lists(st.integers(0, 2 * MAX_BLOCK.ref_time), max_size=20), st.integers(0, 2000 * ONE))
def test_the_multiplier_keeps_its_bounds(blocks: list[int], start: int) -> None:
    payment = DevChain().runtime.transaction_payment
    payment.next_fee_multiplier.put(min(max(start, MIN_MULTIPLIER), MAX_MULTIPLIER))
    for used in blocks:
        payment.adjust(Weight(used, 0))
        assert MIN_MULTIPLIER <= payment.next_fee_multiplier.get() <= MAX_MULTIPLIER


def test_blocks_move_the_multiplier(chain: DevChain) -> None:
    chain.run_to_block(3)
    assert chain.runtime.transaction_payment.next_fee_multiplier.get() < ONE
    assert chain.state.get(storage_key("TransactionPayment", "NextFeeMultiplier")) is not None


def test_the_author_gets_what_an_author_that_does_not_exist_could_not_keep() -> None:
    stranger = bytes([5]) * 32
    from runtime.primitives.keys import ss58_encode

    chain = DevChain(session={"validators": [[ss58_encode(stranger), "0x" + "11" * 32, "1"]]})
    made = chain.submit("Bob", "System", "remark", remark=b"")
    (paid,) = made.named("TransactionFeePaid")
    assert paid.actual_fee * 50 // 100 < 10**15  # below the existential deposit: dust
    assert stranger not in chain.runtime.system.account
    assert made.named("DustLost")


def test_a_failed_call_pays_the_whole_fee(chain: DevChain) -> None:
    value = 2 * ENDOWMENT
    made = chain.submit("Bob", "Balances", "transfer_keep_alive", dest=Id(ALICE), value=value)
    (paid,) = made.named("TransactionFeePaid")
    assert made.named("ExtrinsicFailed")
    assert chain.free("Bob") == ENDOWMENT - paid.actual_fee
    assert chain.runtime.system.account[BOB].nonce == 1


@pytest.mark.parametrize("length", [0, 1, 1000])
def test_a_remark_pays_for_its_bytes(chain: DevChain, length: int) -> None:
    made = chain.submit("Bob", "System", "remark", remark=bytes(length))
    (paid,) = made.named("TransactionFeePaid")
    call = encode_call("System", "remark", remark=bytes(length))
    assert paid.actual_fee > BASE_FEE + len(call) * BYTE_FEE
