"""Drawing a batch's judges and receipts, binding their ballots, and counting them.

Every draw takes 256 bits, blake2b-256 of a tag, the seed, the batch's id and a counter, and maps
them to 0..n-1 as ``bits * n >> 256``. The bias of any outcome is below n / 2^256: with n below
2^128 (a total stake) that is less than 2^-128, so there is no rejection.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

from runtime.primitives.errors import Refusal
from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import H256, U16, U64, encode
from runtime.primitives.types import AccountId
from runtime.protocols.ids import PPM, BatchId
from runtime.protocols.report import QueryCode

SEATS = 3
MOST_RECEIPTS = 4
LEAST_AUDIT_RATE = 100_000
"""No batch is audited with less than this many chances in a million."""
DETERRENCE = 10
"""What is at stake must exceed a batch's value this many times, or the batch is audited."""
COMMIT_TAG = b"openledger-attestation-v1"
_SEATS_TAG = b"openledger-committee-v1"
_RECEIPTS_TAG = b"openledger-receipts-v1"
_AUDIT_TAG = b"openledger-audit-v1"


class CommitteeReason(Enum):
    """Why no committee can be drawn."""

    DUPLICATE_CANDIDATE = "a validator stands once among the candidates"
    NEGATIVE_STAKE = "a stake is not negative"
    BAD_COUNT = "counts are not negative"


class CommitteeRefusal(Refusal):
    """Input that no committee can be drawn from."""

    def __init__(self, reason: CommitteeReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value)
        self.reason: CommitteeReason = reason


class Verdict(IntEnum):
    """What a member found when it repeated a receipt."""

    OK = 0
    """The model made this output."""
    BAD = 1
    """The output, the cost or the request is not what the receipt states."""
    INCONCLUSIVE = 2
    """The evidence decides neither way; never punishes."""
    UNAVAILABLE = 3
    """The executor did not serve the receipt's data in time."""


class Conclusion(IntEnum):
    """What a committee decides about a batch."""

    ACCEPTED = 0
    """The executor's codes are canonical; the dispute window begins."""
    FAULT = 1
    """Void: the customer is refunded, the executor bears a fault."""
    REDRAW = 2
    """Void as it is: a larger committee decides, or the customer is refunded without a fault."""


@dataclass(frozen=True, slots=True)
class Attestation:
    """What a member commits to and reveals: code and verdict of each drawn receipt, in order."""

    method: U16
    codes: tuple[QueryCode, ...]
    verdicts: tuple[Verdict, ...]
    salt: H256


@dataclass(frozen=True, slots=True)
class Ballot:
    """One seat's verdict on each drawn receipt, and whether its codes agree with the executor's."""

    verdicts: tuple[Verdict, ...]
    agrees: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class _CommitScope:
    genesis: H256
    batch: BatchId
    validator: AccountId


def draw(
    seed: bytes, batch: int, candidates: Sequence[tuple[bytes, int]], seats: int = SEATS
) -> tuple[bytes, ...]:
    """Draw validators by stake without replacement, in the order of the draws.

    The order of `candidates` (validator, stake) does not matter. Nobody without stake is drawn;
    with fewer than `seats` eligible all of them are. Raises CommitteeRefusal.
    """
    pool = sorted(candidates)
    if len(frozenset(validator for validator, _ in pool)) != len(pool):
        raise CommitteeRefusal(CommitteeReason.DUPLICATE_CANDIDATE)
    if any(stake < 0 for _, stake in pool):
        raise CommitteeRefusal(CommitteeReason.NEGATIVE_STAKE)
    if seats < 0:
        raise CommitteeRefusal(CommitteeReason.BAD_COUNT)
    pool = [(validator, stake) for validator, stake in pool if stake > 0]
    total = sum(stake for _, stake in pool)
    drawn: list[bytes] = []
    for seat in range(min(seats, len(pool))):
        position = _at(pool, _below(total, _SEATS_TAG, seed, batch, seat))
        validator, stake = pool.pop(position)
        total -= stake
        drawn.append(validator)
    return tuple(drawn)


def draw_receipts(
    seed: bytes, batch: int, count: int, most: int = MOST_RECEIPTS
) -> tuple[int, ...]:
    """Draw at most `most` of `count` receipts, all equally likely; their indices, rising."""
    if count < 0 or most < 0:
        raise CommitteeRefusal(CommitteeReason.BAD_COUNT)
    drawn: list[int] = []
    for number in range(min(most, count)):
        index = _below(count - number, _RECEIPTS_TAG, seed, batch, number)
        for earlier in drawn:  # rising: counts the free indices before `index`
            index += earlier <= index
        insort(drawn, index)
    return tuple(drawn)


def audited(seed: bytes, batch: int, rate_ppm: int) -> bool:
    """Tell whether a batch is audited, with `rate_ppm` chances in a million, never below 10 %."""
    return _below(PPM, _AUDIT_TAG, seed, batch, 0) < max(LEAST_AUDIT_RATE, rate_ppm)


def audit_rate(final_batches: int, recent_faults: int, value: int, slashable: int) -> int:
    """Return how likely a batch is audited, in ppm.

    A new executor's batches all are; with n final ones 4 in 4 + n, doubled for every recent fault,
    never below 10 %. A batch worth a tenth of what the executor can lose is always audited.
    """
    if value * DETERRENCE >= slashable:
        return PPM
    rate = 4 * PPM // (4 + final_batches) << min(recent_faults, 20)
    return min(PPM, max(LEAST_AUDIT_RATE, rate))


def commitment(genesis: bytes, batch: int, validator: bytes, attestation: Attestation) -> bytes:
    """Hash what a member will reveal: tag ‖ genesis ‖ batch ‖ validator ‖ SCALE of the value."""
    scope = encode(_CommitScope, _CommitScope(genesis, batch, validator))
    return blake2_256(COMMIT_TAG + scope + encode(Attestation, attestation))


def conclude(ballots: Sequence[Ballot], seats: int) -> Conclusion:
    """Count ballots; two thirds of all seats decide, seats without a valid reveal included.

    A seat accepts when every receipt is OK and agrees, and condemns when any is BAD or UNAVAILABLE.
    A ballot without verdicts does neither.
    """
    accepting = sum(
        len(ballot.agrees) == len(ballot.verdicts) > 0
        and all(ballot.agrees)
        and all(verdict is Verdict.OK for verdict in ballot.verdicts)
        for ballot in ballots
    )
    condemning = sum(
        any(v in (Verdict.BAD, Verdict.UNAVAILABLE) for v in ballot.verdicts) for ballot in ballots
    )
    if seats > 0 and 3 * accepting >= 2 * seats:
        return Conclusion.ACCEPTED
    if seats > 0 and 3 * condemning >= 2 * seats:
        return Conclusion.FAULT
    return Conclusion.REDRAW


def _below(limit: int, tag: bytes, seed: bytes, batch: int, number: int) -> int:
    bits = blake2_256(tag + encode(bytes, seed) + encode(U64, batch) + number.to_bytes(4, "little"))
    return int.from_bytes(bits, "big") * limit >> 256


def _at(pool: Sequence[tuple[bytes, int]], target: int) -> int:
    """Return the first position at which the running sum of stakes exceeds `target`."""
    for position, (_, stake) in enumerate(pool):
        if target < stake:
            return position
        target -= stake
    raise CommitteeRefusal(CommitteeReason.NEGATIVE_STAKE, "the target exceeds the total stake")
