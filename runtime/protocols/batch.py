"""A batch of receipts: the tree and the sums that one submission commits to.

Leaf: H(receipt ‖ H(report)), the receipt with its tag and without its signature; where a receipt
has no report, 32 zero bytes stand for H(report). Leaves are in nonce order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from runtime.primitives.errors import Refusal
from runtime.primitives.fixed_point import largest_remainder
from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import H256, U32, U128
from runtime.protocols import merkle
from runtime.protocols.ids import PPM, ClusterId
from runtime.protocols.receipt import Receipt, signing_bytes
from runtime.protocols.report import MAX_CLUSTERS, ClusterWeight, Report, report_hash

NO_REPORT = bytes(32)
MAX_BATCH_RECEIPTS = 65_536


class BatchReason(Enum):
    """Why receipts do not make a batch."""

    EMPTY = "a batch holds at least one receipt"
    TOO_MANY = "submit the receipts in several batches"
    WRONG_ORDER = "receipts stand by rising nonce"
    MIXED_SESSIONS = "a batch belongs to one session of one chain"
    WRONG_REPORT = "a report names another receipt"


class BatchRefusal(Refusal):
    """Receipts that cannot be submitted together."""

    def __init__(self, reason: BatchReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value)
        self.reason: BatchReason = reason


@dataclass(frozen=True, slots=True)
class Entry:
    """A receipt and its report, where it has one."""

    receipt: Receipt
    report: Report | None

    def report_hash(self) -> bytes:
        """Return H(report), or zeros."""
        return NO_REPORT if self.report is None else report_hash(self.report)


@dataclass(frozen=True, slots=True)
class ReceiptBatch:
    """What a submission states; sums in planck.

    `unmatched` is the part of `premium` whose receipts matched no record; the clusters share the
    rest. There are no clusters exactly where all of the premium is unmatched.
    """

    root: H256
    count: U32
    first_nonce: U32
    last_nonce: U32
    compute: U128
    premium: U128
    unmatched: U128
    clusters: tuple[ClusterWeight, ...]


def leaf(receipt: Receipt, report: bytes) -> bytes:
    """Return the data of a batch's leaf from a receipt and the hash of its report."""
    return blake2_256(signing_bytes(receipt) + report)


def leaves(entries: Iterable[Entry]) -> tuple[bytes, ...]:
    """Return the leaves' data, in order."""
    return tuple(leaf(entry.receipt, entry.report_hash()) for entry in entries)


def summarise(entries: Sequence[Entry]) -> ReceiptBatch:
    """Compute what a submission states about its receipts; raises BatchRefusal."""
    _check(entries)
    matched = [(e.receipt.premium, e.report.clusters) for e in entries if e.report is not None]
    premium = sum(e.receipt.premium for e in entries)
    paying = [(amount, clusters) for amount, clusters in matched if amount > 0 and clusters]
    return ReceiptBatch(
        root=merkle.root(leaves(entries)),
        count=len(entries),
        first_nonce=entries[0].receipt.nonce,
        last_nonce=entries[-1].receipt.nonce,
        compute=sum(e.receipt.compute for e in entries),
        premium=premium,
        unmatched=premium - sum(amount for amount, _ in paying),
        clusters=aggregate(paying),
    )


def aggregate(
    weighted: Iterable[tuple[int, Sequence[ClusterWeight]]],
) -> tuple[ClusterWeight, ...]:
    """Add up reports' clusters, each weighted by its receipt's premium.

    Keeps the 64 heaviest, ties by the lower cluster id, and brings them to 1,000,000 by largest
    remainder with the same ties; a cluster that rounds to nothing is left out. Heaviest first.
    """
    sums: dict[ClusterId, int] = {}
    for premium, clusters in weighted:
        for entry in clusters:
            sums[entry.cluster] = sums.get(entry.cluster, 0) + premium * entry.weight
    ranked = sorted(
        ((cluster, mass) for cluster, mass in sums.items() if mass > 0),
        key=lambda item: (-item[1], item[0]),
    )
    return normalise(ranked[:MAX_CLUSTERS])


def normalise(masses: Sequence[tuple[ClusterId, int]]) -> tuple[ClusterWeight, ...]:
    """Bring positive masses to weights of 1,000,000 in all; heaviest first, ties by lower id."""
    ranked = sorted(masses, key=lambda item: (-item[1], item[0]))
    if not ranked:
        return ()
    parts = largest_remainder(PPM, [mass for _, mass in ranked])
    weights = [
        ClusterWeight(cluster, part)
        for (cluster, _), part in zip(ranked, parts, strict=True)
        if part > 0
    ]
    return tuple(sorted(weights, key=lambda entry: (-entry.weight, entry.cluster)))


def _check(entries: Sequence[Entry]) -> None:
    if not entries:
        raise BatchRefusal(BatchReason.EMPTY)
    if len(entries) > MAX_BATCH_RECEIPTS:
        raise BatchRefusal(BatchReason.TOO_MANY)
    first = entries[0].receipt
    if any(
        (e.receipt.genesis, e.receipt.session) != (first.genesis, first.session) for e in entries
    ):
        raise BatchRefusal(BatchReason.MIXED_SESSIONS)
    if any(a.receipt.nonce >= b.receipt.nonce for a, b in pairwise(entries)):
        raise BatchRefusal(BatchReason.WRONG_ORDER)
    for entry in entries:
        named = entry.report is None or entry.report.receipt_hash == blake2_256(
            signing_bytes(entry.receipt)
        )
        if not named:
            raise BatchRefusal(BatchReason.WRONG_REPORT, f"nonce {entry.receipt.nonce}")
