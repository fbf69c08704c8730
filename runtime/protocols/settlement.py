"""Splitting what a final batch pays, to the last planck.

    compute → executor 70 %, committee 30 %
    premium → treasury 5 % | burn 5 % | owner and lineage 16 %, backers 4 % | stakers 20 %
            | contributors 50 %

Every division is by largest remainder, so the payments of a split sum to what came in: compute,
premium and the top-up from the audit pot. Ties go to the lower account id, in the top division to
the part that stands first above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from runtime.primitives.fixed_point import largest_remainder
from runtime.primitives.scale import U16, U32, U128
from runtime.primitives.types import AccountId
from runtime.protocols.ids import PPM, ClusterId, DatanetId
from runtime.protocols.price import BASIS
from runtime.protocols.split_parameters import (
    DEFAULT_SPLIT,
    MAX_LINEAGE,
    MAX_ROYALTIES,
    SplitParameters,
    SplitReason,
    SplitRefusal,
    check_split_parameters,
)


class Role(IntEnum):
    """What a payment is for, and so where it goes."""

    EXECUTOR = 0
    """The executor's account."""
    COMMITTEE = 1
    """A member's account."""
    AUDIT_POT = 2
    """The pot that tops up the audited batches' committees."""
    TREASURY = 3
    """The treasury."""
    BURN = 4
    """Nowhere: the issuance falls."""
    OWNER = 5
    """The model owner's account."""
    LINEAGE = 6
    """The account of an ancestor model's owner."""
    BACKERS = 7
    """The pot of the model's backers."""
    STAKERS = 8
    """The era's pot of validators and nominators."""
    CONTRIBUTOR = 9
    """The account of a cluster's first registrant."""
    UPKEEP = 10
    """The upkeep pot of a Datanet."""
    REFUND = 11
    """The customer's account."""


@dataclass(frozen=True, slots=True)
class Payment:
    """An amount in planck for an account, or, by its role, for a pot; `datanet` for UPKEEP only."""

    role: Role
    account: AccountId | None
    datanet: U32 | None
    amount: U128


@dataclass(frozen=True, slots=True)
class Seat:
    """A committee member and whether its reveal was valid and in time."""

    validator: AccountId
    revealed: bool


@dataclass(frozen=True, slots=True)
class Royalty:
    """An ancestor's owner and its basis points of the owner's part."""

    account: AccountId
    basis_points: U16


@dataclass(frozen=True, slots=True)
class ClusterShare:
    """A cluster of the batch with its payee, the canonical record's contributor.

    `payable` is the part in ppm that is paid out: 0 where the record is withdrawn, delisted or not
    served, less than all where the contributor's penalty scales rewards down. What is not paid out
    goes to the upkeep pot of the cluster's Datanet.
    """

    cluster: ClusterId
    account: AccountId
    weight: U32
    payable: U32 = PPM


@dataclass(frozen=True, slots=True)
class Settlement:
    """Everything that a final batch's split depends on; amounts in planck.

    `seats` is None for a batch that was not audited; its committee's part and the top-up go to the
    audit pot. `datanets` are those that the model rests on, weighted (by records, say): they share
    the upkeep of unmatched premium. `has_backers` false gives the backers' part to the owner.
    """

    compute: int
    premium: int
    unmatched: int
    executor: bytes
    customer: bytes
    owner: bytes
    clusters: tuple[ClusterShare, ...]
    datanets: tuple[tuple[DatanetId, int], ...]
    seats: tuple[Seat, ...] | None
    audit_top_up: int = 0
    royalties: tuple[Royalty, ...] = ()
    has_backers: bool = True


def split(batch: Settlement, parameters: SplitParameters = DEFAULT_SPLIT) -> tuple[Payment, ...]:
    """Return the payments of a final batch, by role, account and Datanet, none of them zero.

    They sum to ``compute + premium + audit_top_up``. One payment per role, account and Datanet.

    Raises:
        SplitRefusal: for any of `SplitReason`.
    """
    check_split_parameters(parameters)
    _check(batch)
    executor, committee = largest_remainder(batch.compute, parameters.of_compute())
    treasury, burn, owner, backers, stakers, contributors = largest_remainder(
        batch.premium, parameters.of_premium()
    )
    if not batch.has_backers:
        owner, backers = owner + backers, 0
    payments = [
        Payment(Role.EXECUTOR, batch.executor, None, executor),
        *_committee(batch, committee),
        Payment(Role.TREASURY, None, None, treasury),
        Payment(Role.BURN, None, None, burn),
        *_owners(batch, owner),
        Payment(Role.BACKERS, None, None, backers),
        Payment(Role.STAKERS, None, None, stakers),
        *_contributors(batch, contributors),
    ]
    return _merge(payments)


def refund(compute: int, premium: int, customer: bytes) -> tuple[Payment, ...]:
    """Return the payments of a void batch: all of it goes back to the customer."""
    return _merge([Payment(Role.REFUND, customer, None, compute + premium)])


def _committee(batch: Settlement, amount: int) -> list[Payment]:
    """Pay seats equally; a missing seat's part goes to the treasury, its top-up to the others."""
    if batch.seats is None:
        return [Payment(Role.AUDIT_POT, None, None, amount + batch.audit_top_up)]
    seats = sorted(batch.seats, key=lambda seat: seat.validator)
    parts = largest_remainder(amount, [1] * len(seats))
    payments = [
        Payment(Role.COMMITTEE, seat.validator, None, part)
        if seat.revealed
        else Payment(Role.TREASURY, None, None, part)
        for seat, part in zip(seats, parts, strict=True)
    ]
    present = [seat.validator for seat in seats if seat.revealed]
    if not present:
        return [*payments, Payment(Role.AUDIT_POT, None, None, batch.audit_top_up)]
    top_ups = largest_remainder(batch.audit_top_up, [1] * len(present))
    payments += [
        Payment(Role.COMMITTEE, validator, None, part)
        for validator, part in zip(present, top_ups, strict=True)
    ]
    return payments


def _owners(batch: Settlement, amount: int) -> list[Payment]:
    """Pay ancestors their royalties of the owner's part, the owner the rest."""
    royalties = sorted(batch.royalties, key=lambda royalty: royalty.account)
    taken = [royalty.basis_points for royalty in royalties]
    own, *parts = largest_remainder(amount, [BASIS - sum(taken), *taken])
    return [
        Payment(Role.OWNER, batch.owner, None, own),
        *(
            Payment(Role.LINEAGE, royalty.account, None, part)
            for royalty, part in zip(royalties, parts, strict=True)
        ),
    ]


def _contributors(batch: Settlement, amount: int) -> list[Payment]:
    """Pay the matched part by cluster; halve the unmatched part between customer and upkeep.

    The unmatched part is rounded down; the customer gets its odd planck.
    """
    unmatched = amount * batch.unmatched // batch.premium if batch.premium else 0
    upkeep = unmatched // 2
    payments = [Payment(Role.REFUND, batch.customer, None, unmatched - upkeep)]
    datanets = sorted(batch.datanets)
    kept = largest_remainder(upkeep, [weight for _, weight in datanets])
    payments += [
        Payment(Role.UPKEEP, None, datanet, part)
        for (datanet, _), part in zip(datanets, kept, strict=True)
    ]
    shares = sorted(batch.clusters, key=lambda share: (share.account, share.cluster))
    parts = largest_remainder(amount - unmatched, [share.weight for share in shares])
    for share, part in zip(shares, parts, strict=True):
        paid = part * share.payable // PPM
        payments.append(Payment(Role.CONTRIBUTOR, share.account, None, paid))
        payments.append(Payment(Role.UPKEEP, None, share.cluster.datanet, part - paid))
    return payments


def _merge(payments: Sequence[Payment]) -> tuple[Payment, ...]:
    sums: dict[tuple[int, bytes, int], Payment] = {}
    for payment in payments:
        datanet = -1 if payment.datanet is None else payment.datanet
        key = (payment.role, payment.account or b"", datanet)
        earlier = sums.get(key)
        amount = payment.amount + (0 if earlier is None else earlier.amount)
        sums[key] = Payment(payment.role, payment.account, payment.datanet, amount)
    return tuple(payment for _, payment in sorted(sums.items(), key=_first) if payment.amount)


def _first(item: tuple[tuple[int, bytes, int], Payment]) -> tuple[int, bytes, int]:
    return item[0]


def _check(batch: Settlement) -> None:
    amounts = (batch.compute, batch.premium, batch.unmatched, batch.audit_top_up)
    if min(amounts) < 0:
        raise SplitRefusal(SplitReason.NEGATIVE_AMOUNT)
    if batch.unmatched > batch.premium:
        raise SplitRefusal(SplitReason.TOO_MUCH_UNMATCHED)
    weight = PPM if batch.unmatched < batch.premium else 0
    entries = [share.weight for share in batch.clusters]
    if sum(entries) != weight or min(entries, default=0) < 0:
        raise SplitRefusal(SplitReason.BAD_WEIGHTS, f"{sum(entries)}; {weight} expected")
    if any(not 0 <= share.payable <= PPM for share in batch.clusters):
        raise SplitRefusal(SplitReason.BAD_PAYABLE)
    royalties = [royalty.basis_points for royalty in batch.royalties]
    absurd = len(royalties) > MAX_LINEAGE or min(royalties, default=0) < 0
    if absurd or sum(royalties) > MAX_ROYALTIES:
        raise SplitRefusal(SplitReason.BAD_ROYALTIES)
    if not batch.datanets or min(weight for _, weight in batch.datanets) <= 0:
        raise SplitRefusal(SplitReason.NO_DATANET)
    if batch.seats is not None:
        validators = frozenset(seat.validator for seat in batch.seats)
        if not validators or len(validators) != len(batch.seats):
            raise SplitRefusal(SplitReason.BAD_SEATS)
