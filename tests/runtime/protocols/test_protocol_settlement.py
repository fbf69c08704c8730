"""Every planck of a batch goes somewhere, and to the right place."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.protocols.ids import PPM, RecordId
from runtime.protocols.settlement import (
    ClusterShare,
    Payment,
    Role,
    Royalty,
    Seat,
    Settlement,
    refund,
    split,
)
from runtime.protocols.split_parameters import (
    DEFAULT_SPLIT,
    SplitParameters,
    SplitReason,
    SplitRefusal,
    check_split_parameters,
)

EXECUTOR, CUSTOMER, OWNER = (bytes([n]) * 32 for n in (1, 2, 3))
ALICE, BOB, CAROL = (bytes([n]) * 32 for n in (11, 12, 13))
V1, V2, V3 = (bytes([n]) * 32 for n in (21, 22, 23))

BATCH = Settlement(
    compute=1_000_000,
    premium=2_000_000,
    unmatched=0,
    executor=EXECUTOR,
    customer=CUSTOMER,
    owner=OWNER,
    clusters=(
        ClusterShare(RecordId(1, 5), ALICE, 600_000),
        ClusterShare(RecordId(1, 6), BOB, 400_000),
    ),
    datanets=((1, 10),),
    seats=(Seat(V1, True), Seat(V2, True), Seat(V3, True)),
)


def by_role(payments: tuple[Payment, ...]) -> dict[Role, int]:
    sums: dict[Role, int] = {}
    for payment in payments:
        sums[payment.role] = sums.get(payment.role, 0) + payment.amount
    return sums


def paid(payments: tuple[Payment, ...], account: bytes) -> int:
    return sum(payment.amount for payment in payments if payment.account == account)


def test_a_batch_splits_as_the_economy_says() -> None:
    assert by_role(split(BATCH)) == {
        Role.EXECUTOR: 700_000,
        Role.COMMITTEE: 300_000,
        Role.TREASURY: 100_000,
        Role.BURN: 100_000,
        Role.OWNER: 320_000,
        Role.BACKERS: 80_000,
        Role.STAKERS: 400_000,
        Role.CONTRIBUTOR: 1_000_000,
    }
    assert paid(split(BATCH), ALICE) == 600_000
    assert paid(split(BATCH), V2) == 100_000


def test_unmatched_premium_is_halved_between_customer_and_upkeep_and_never_the_owners() -> None:
    batch = replace(BATCH, unmatched=2_000_000, clusters=(), datanets=((4, 1), (2, 3)))
    payments = split(batch)
    assert paid(payments, CUSTOMER) == 500_000
    assert paid(payments, OWNER) == paid(split(BATCH), OWNER)
    assert [p for p in payments if p.role is Role.UPKEEP] == [
        Payment(Role.UPKEEP, None, 2, 375_000),
        Payment(Role.UPKEEP, None, 4, 125_000),
    ]


def test_partly_unmatched_premium_pays_the_clusters_from_the_rest() -> None:
    payments = split(replace(BATCH, unmatched=500_000))
    assert paid(payments, ALICE) == 450_000
    assert paid(payments, BOB) == 300_000
    assert paid(payments, CUSTOMER) == 125_000


def test_a_missing_seat_pays_the_treasury_and_its_top_up_the_others() -> None:
    seats = (Seat(V1, True), Seat(V2, False), Seat(V3, True))
    payments = split(replace(BATCH, seats=seats, audit_top_up=60_000))
    assert paid(payments, V1) == paid(payments, V3) == 130_000
    assert paid(payments, V2) == 0
    assert by_role(payments)[Role.TREASURY] == 200_000


def test_a_committee_that_is_all_missing_leaves_the_top_up_in_the_audit_pot() -> None:
    payments = split(replace(BATCH, seats=(Seat(V1, False),), audit_top_up=7))
    assert by_role(payments)[Role.AUDIT_POT] == 7
    assert by_role(payments)[Role.TREASURY] == 400_000
    assert Role.COMMITTEE not in by_role(payments)


def test_an_unaudited_batch_feeds_the_audit_pot() -> None:
    sums = by_role(split(replace(BATCH, seats=None)))
    assert sums[Role.AUDIT_POT] == 300_000
    assert Role.COMMITTEE not in sums


def test_ancestors_take_their_royalties_of_the_owners_part() -> None:
    batch = replace(BATCH, royalties=(Royalty(CAROL, 1_000), Royalty(BOB, 2_000)))
    payments = split(batch)
    assert Payment(Role.LINEAGE, CAROL, None, 32_000) in payments
    assert Payment(Role.LINEAGE, BOB, None, 64_000) in payments
    assert paid(payments, OWNER) == 224_000


def test_a_model_without_backers_leaves_their_part_to_its_owner() -> None:
    sums = by_role(split(replace(BATCH, has_backers=False)))
    assert sums[Role.OWNER] == 400_000
    assert Role.BACKERS not in sums


def test_what_a_record_is_not_paid_goes_to_its_datanets_upkeep() -> None:
    clusters = (
        replace(BATCH.clusters[0], payable=0),
        replace(BATCH.clusters[1], payable=750_000),
    )
    payments = split(replace(BATCH, clusters=clusters))
    assert paid(payments, ALICE) == 0
    assert paid(payments, BOB) == 300_000
    assert by_role(payments)[Role.UPKEEP] == 700_000


def test_one_account_with_several_clusters_is_paid_once() -> None:
    clusters = tuple(replace(share, account=ALICE) for share in BATCH.clusters)
    payments = split(replace(BATCH, clusters=clusters))
    assert [p for p in payments if p.account == ALICE] == [
        Payment(Role.CONTRIBUTOR, ALICE, None, 1_000_000)
    ]


def test_the_odd_planck_goes_to_the_lower_account() -> None:
    clusters = (
        ClusterShare(RecordId(1, 1), BOB, 500_000),
        ClusterShare(RecordId(1, 2), ALICE, 500_000),
    )
    payments = split(replace(BATCH, premium=6, clusters=clusters))
    assert (paid(payments, ALICE), paid(payments, BOB)) == (2, 1)


def test_a_void_batch_is_refunded_whole() -> None:
    assert refund(3, 4, CUSTOMER) == (Payment(Role.REFUND, CUSTOMER, None, 7),)
    assert refund(0, 0, CUSTOMER) == ()


amounts = st.one_of(st.integers(0, 50), st.integers(0, 2**100))
account = st.integers(0, 6).map(lambda n: bytes([n]) * 32)


@st.composite
def batches(draw: st.DrawFn) -> Settlement:
    premium = draw(amounts)
    matched = draw(st.booleans()) and premium > 0
    unmatched = draw(st.integers(0, premium - 1)) if matched else premium
    cuts = sorted(draw(st.lists(st.integers(0, PPM), max_size=8)))
    marks = [0, *cuts, PPM]
    clusters = tuple(
        ClusterShare(
            RecordId(number % 3, number), draw(account), high - low, draw(st.integers(0, PPM))
        )
        for number, (low, high) in enumerate(pairwise(marks))
    )
    seats = draw(st.one_of(st.none(), st.dictionaries(account, st.booleans(), min_size=1)))
    royalties = draw(st.lists(st.tuples(account, st.integers(0, 375)), max_size=8))
    datanets = draw(st.dictionaries(st.integers(0, 5), st.integers(1, 10**6), min_size=1))
    return Settlement(
        compute=draw(amounts),
        premium=premium,
        unmatched=unmatched,
        executor=EXECUTOR,
        customer=CUSTOMER,
        owner=OWNER,
        clusters=clusters if matched else (),
        datanets=tuple(datanets.items()),
        seats=None if seats is None else tuple(Seat(v, r) for v, r in seats.items()),
        audit_top_up=draw(amounts),
        royalties=tuple(Royalty(a, points) for a, points in royalties),
        has_backers=draw(st.booleans()),
    )


@given(batches())
def test_what_goes_out_is_what_came_in(batch: Settlement) -> None:
    payments = split(batch)
    total = sum(payment.amount for payment in payments)
    assert total == batch.compute + batch.premium + batch.audit_top_up
    assert all(payment.amount > 0 for payment in payments)
    keys = [(p.role, p.account, p.datanet) for p in payments]
    assert len(set(keys)) == len(keys)


@given(batches(), st.randoms(use_true_random=False))
def test_the_order_of_the_inputs_does_not_matter(batch: Settlement, random: object) -> None:
    shuffled = {}
    for name in ("clusters", "datanets", "royalties"):
        values = list(getattr(batch, name))
        random.shuffle(values)  # type: ignore[attr-defined]
        shuffled[name] = tuple(values)
    assert split(replace(batch, **shuffled)) == split(batch)


@given(batches())
def test_no_part_is_off_its_quota_by_a_planck_or_more(batch: Settlement) -> None:
    sums = by_role(split(batch))
    executor = Fraction(batch.compute * 7, 10)
    assert abs(sums.get(Role.EXECUTOR, 0) - executor) < 1
    assert abs(sums.get(Role.BURN, 0) - Fraction(batch.premium, 20)) < 1
    contributors = sum(sums.get(role, 0) for role in (Role.CONTRIBUTOR, Role.UPKEEP, Role.REFUND))
    assert abs(contributors - Fraction(batch.premium, 2)) < 1
    refunded = sums.get(Role.REFUND, 0)
    assert abs(refunded - Fraction(batch.unmatched, 4)) < 2


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (SplitReason.NEGATIVE_AMOUNT, {"compute": -1}),
        (SplitReason.TOO_MUCH_UNMATCHED, {"unmatched": 2_000_001}),
        (SplitReason.BAD_WEIGHTS, {"clusters": ()}),
        (SplitReason.BAD_WEIGHTS, {"unmatched": 2_000_000}),
        (SplitReason.BAD_WEIGHTS, {"clusters": BATCH.clusters[:1]}),
        (SplitReason.BAD_ROYALTIES, {"royalties": (Royalty(BOB, 3_001),)}),
        (SplitReason.BAD_ROYALTIES, {"royalties": (Royalty(BOB, 1),) * 9}),
        (SplitReason.NO_DATANET, {"datanets": ()}),
        (SplitReason.NO_DATANET, {"datanets": ((1, 0),)}),
        (SplitReason.BAD_SEATS, {"seats": ()}),
        (SplitReason.BAD_SEATS, {"seats": (Seat(V1, True), Seat(V1, False))}),
        (
            SplitReason.BAD_PAYABLE,
            {"clusters": (replace(BATCH.clusters[0], weight=PPM, payable=PPM + 1),)},
        ),
    ],
)
def test_a_settlement_is_refused_by_name(reason: SplitReason, changes: dict[str, object]) -> None:
    with pytest.raises(SplitRefusal) as caught:
        split(replace(BATCH, **changes))  # type: ignore[arg-type]
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("reason", "parameters"),
    [
        (SplitReason.OUT_OF_BOUNDS, replace(DEFAULT_SPLIT, executor=9_001, committee=999)),
        (SplitReason.OUT_OF_BOUNDS, replace(DEFAULT_SPLIT, contributors=3_999, stakers=3_001)),
        (SplitReason.WRONG_SUM, replace(DEFAULT_SPLIT, treasury=501)),
        (SplitReason.WRONG_SUM, replace(DEFAULT_SPLIT, committee=2_999)),
    ],
)
def test_parameters_cannot_leave_their_bounds(
    reason: SplitReason, parameters: SplitParameters
) -> None:
    check_split_parameters(DEFAULT_SPLIT)
    with pytest.raises(SplitRefusal) as caught:
        check_split_parameters(parameters)
    assert caught.value.reason is reason
    with pytest.raises(SplitRefusal):
        split(BATCH, parameters)
