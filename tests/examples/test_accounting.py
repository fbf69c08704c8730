"""The demo's books: they explain every unit, or say which one is missing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from examples.demo.accounting import Balance, Books, NotConserved, check, keep_books
from examples.demo.journal import Happened
from runtime.frame.currency import STAKERS, TREASURY
from runtime.frame.event_records import EventRecord
from runtime.pallets.datanets import pallet as datanets
from runtime.pallets.inference import pallet as inference
from runtime.pallets.transaction_payment.pallet import TransactionFeePaid
from runtime.protocols.ids import RecordId
from runtime.protocols.settlement import ClusterShare, Role, Seat, Settlement, split

OPEN = 10**18
AUTHOR, CUSTOMER, OWNER, ANN, BEN = (bytes([n]) * 32 for n in range(1, 6))
COMPUTE, PREMIUM, ESCROW = 3 * OPEN // 7, 6 * OPEN // 7, 5 * OPEN
BOND = 2 * OPEN


def by_author(block: int) -> bytes:
    assert block > 0
    return AUTHOR


def happened(*events: tuple[str, Any]) -> list[Happened]:
    return [
        Happened(block, EventRecord(None, pallet, type(event).__name__, event))
        for block, (pallet, event) in enumerate(events, 1)
    ]


def payments(unmatched: int = 0) -> tuple[Any, ...]:
    return split(
        Settlement(
            compute=COMPUTE,
            premium=PREMIUM,
            unmatched=unmatched,
            executor=AUTHOR,
            customer=CUSTOMER,
            owner=OWNER,
            clusters=(
                ClusterShare(RecordId(0, 1), ANN, 999_900),
                ClusterShare(RecordId(0, 9), BEN, 100),
            ),
            datanets=((0, 10),),
            seats=(Seat(AUTHOR, True),),
            has_backers=False,
        )
    )


def story(unmatched: int = 0) -> list[Happened]:
    """A bond, a session, a batch of which `unmatched` of the premium matched no record."""
    paid = [
        ("Inference", inference.Paid(0, p.role, p.account, p.datanet, p.amount))
        for p in payments(unmatched)
    ]
    claimed = [  # Ben's credit stays below the least payout
        ("Inference", inference.Claimed(p.account, p.amount))
        for p in payments(unmatched)
        if p.role in (Role.EXECUTOR, Role.COMMITTEE, Role.OWNER)
        or (p.role == Role.CONTRIBUTOR and p.account == ANN)
    ]
    return happened(
        ("Datanets", datanets.BatchSubmitted(0, 0, ANN, 10, bytes(32), BOND)),
        ("TransactionPayment", TransactionFeePaid(ANN, 1001, 0)),
        ("Inference", inference.SessionOpened(0, CUSTOMER, 0, AUTHOR, ESCROW)),
        ("TransactionPayment", TransactionFeePaid(CUSTOMER, 2003, 3)),
        ("Inference", inference.ReceiptsSubmitted(0, 0, 3, COMPUTE, PREMIUM)),
        ("Inference", inference.SessionClosed(0, ESCROW - COMPUTE - PREMIUM)),
        *paid,
        *claimed,
        ("Inference", inference.Settled(0, 0, COMPUTE, PREMIUM)),
    )


def balances(books: Books) -> tuple[dict[bytes, Balance], dict[bytes, Balance]]:
    """What a chain that obeys the rules would show, worked out without the demo's books."""
    ann = next(p.amount for p in books.payments if p.account == ANN)
    ben = next(p.amount for p in books.payments if p.account == BEN)
    executor = sum(p.amount for p in books.payments if p.account == AUTHOR)
    owner = sum(p.amount for p in books.payments if p.role == Role.OWNER)
    treasury = sum(p.amount for p in books.payments if p.role == Role.TREASURY)
    stakers = sum(p.amount for p in books.payments if p.role == Role.STAKERS)
    upkeep = sum(p.amount for p in books.payments if p.role == Role.UPKEEP)
    back = sum(p.amount for p in books.payments if p.role == Role.REFUND)
    everybody = (AUTHOR, CUSTOMER, OWNER, ANN, BEN, TREASURY, STAKERS, inference.POT)
    before = dict.fromkeys(everybody, Balance(10 * OPEN, 0))
    after = {
        AUTHOR: Balance(10 * OPEN + executor + 500 + 1003, 0),
        CUSTOMER: Balance(10 * OPEN - COMPUTE - PREMIUM - 2003 + back, 0),
        OWNER: Balance(10 * OPEN + owner, 0),
        ANN: Balance(10 * OPEN + ann - 1001 - BOND, BOND),
        BEN: Balance(10 * OPEN, 0),
        TREASURY: Balance(10 * OPEN + treasury + 301 + 600, 0),
        STAKERS: Balance(10 * OPEN + stakers, 0),
        inference.POT: Balance(10 * OPEN + ben + upkeep, 0),
    }
    return before, after


@pytest.mark.parametrize("unmatched", [0, PREMIUM // 3])
def test_books_explain_every_unit_of_an_honest_chain(unmatched: int) -> None:
    books = keep_books(story(unmatched), 0, by_author)
    before, after = balances(books)
    burned = next(p.amount for p in books.payments if p.role == Role.BURN) + 200 + 400
    check(books, before, after, (80 * OPEN, 80 * OPEN - burned))
    assert books.fee == COMPUTE + PREMIUM == sum(p.amount for p in books.payments)
    assert books.refund + books.fee == ESCROW
    assert books.burned == burned
    assert (books.moves[BEN].unclaimed > 0, books.moves[ANN].unclaimed) == (True, 0)


@pytest.mark.parametrize("account", [AUTHOR, CUSTOMER, OWNER, ANN, BEN, TREASURY, inference.POT])
@pytest.mark.parametrize("change", [Balance(1, 0), Balance(-1, 0), Balance(-1, 1)])
def test_one_planck_too_many_or_too_few_is_noticed(account: bytes, change: Balance) -> None:
    books = keep_books(story(), 0, by_author)
    before, after = balances(books)
    old = after[account]
    after[account] = Balance(old.free + change.free, old.held + change.held)
    with pytest.raises(NotConserved):
        check(books, before, after, (80 * OPEN, 80 * OPEN - books.burned))


def test_a_missing_payment_a_wrong_refund_and_a_wrong_burn_are_noticed() -> None:
    books = keep_books(story(), 0, by_author)
    before, after = balances(books)
    issuance = (80 * OPEN, 80 * OPEN - books.burned)
    for broken, moved in (
        (replace(books, payments=books.payments[1:]), issuance),
        (replace(books, refund=books.refund - 1), issuance),
        (books, (80 * OPEN, 80 * OPEN)),
    ):
        with pytest.raises(NotConserved):
            check(broken, before, after, moved)


def test_an_account_that_nobody_looked_at_is_noticed() -> None:
    books = keep_books(story(), 0, by_author)
    before, after = balances(books)
    del before[OWNER]
    with pytest.raises(NotConserved, match="nobody looked at"):
        check(books, before, after, (80 * OPEN, 80 * OPEN - books.burned))


def test_a_payment_of_a_batch_that_was_never_submitted_is_refused() -> None:
    paid = inference.Paid(9, Role.BURN, None, None, 1)
    with pytest.raises(NotConserved, match="before it was submitted"):
        keep_books(happened(("Inference", paid)), 0, by_author)
