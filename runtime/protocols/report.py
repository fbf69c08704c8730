"""A report: which records shaped one answer, and the weights that the answer's premium is paid by.

Hash: H of the tag ``openledger-report-v1`` and SCALE of `Report`. The receipt's hash in it binds it
to the chain and the session; the salt hides it until it is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from runtime.primitives.errors import Refusal
from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import H256, I16, I64, U16, U32, DecodeError, decode, encode
from runtime.protocols.ids import PPM, ClusterId, RecordId

REPORT_TAG = b"openledger-report-v1"
MAX_TOP = 64
MAX_SPANS = 256
MAX_CLUSTERS = 64
MAX_CODES = 1 << 20
MAX_MODULES = 4096


class ReportReason(Enum):
    """Why a report is refused."""

    MALFORMED = "the bytes are not the tag and a report"
    TOO_LONG = "a report holds at most 64 records, 256 spans and 64 clusters"
    BAD_TOP = "the top records stand by falling score, then by record id, each once"
    BAD_SPANS = "spans are not empty and rise in start and in end"
    BAD_CLUSTERS = "clusters stand by falling weight, then by id, each once, and weigh 1,000,000"


class ReportRefusal(Refusal):
    """A report that breaks its form."""

    def __init__(self, reason: ReportReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value)
        self.reason: ReportReason = reason


@dataclass(frozen=True, slots=True)
class QueryCode:
    """A quantised query: int8 codes of all modules in order, and one exponent per module."""

    codes: bytes
    exponents: tuple[I16, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """A record and its exact score."""

    record: RecordId
    score: I64


@dataclass(frozen=True, slots=True)
class Span:
    """Output tokens ``start:end`` stand verbatim in a record, from token `offset` on.

    `bits` is the span's surprise from the committed table, minus log2 of its count.
    """

    start: U32
    end: U32
    record: RecordId
    offset: U32
    bits: U32


@dataclass(frozen=True, slots=True)
class ClusterWeight:
    """A cluster's part of the contributors' share, in parts per million."""

    cluster: ClusterId
    weight: U32


@dataclass(frozen=True, slots=True)
class Report:
    """The attribution of one receipt; no clusters means that nothing matched."""

    receipt_hash: H256
    method: U16
    query: QueryCode
    top: tuple[Scored, ...]
    spans: tuple[Span, ...]
    clusters: tuple[ClusterWeight, ...]
    salt: H256


def report_bytes(report: Report) -> bytes:
    """Return the bytes that are hashed and sent."""
    return REPORT_TAG + encode(Report, report)


def report_hash(report: Report) -> bytes:
    """Return the report's name."""
    return blake2_256(report_bytes(report))


def decode_report(data: bytes) -> Report:
    """Decode and check a report; raises ReportRefusal."""
    if not data.startswith(REPORT_TAG):
        raise ReportRefusal(ReportReason.MALFORMED)
    try:
        report: Report = decode(Report, data[len(REPORT_TAG) :])
    except DecodeError as error:
        raise ReportRefusal(ReportReason.MALFORMED, str(error)) from error
    check_report(report)
    return report


def check_report(report: Report) -> None:
    """Refuse a report whose form is not canonical, for any of `ReportReason`."""
    lengths = (
        (len(report.top), MAX_TOP),
        (len(report.spans), MAX_SPANS),
        (len(report.clusters), MAX_CLUSTERS),
        (len(report.query.codes), MAX_CODES),
        (len(report.query.exponents), MAX_MODULES),
    )
    if any(length > limit for length, limit in lengths):
        raise ReportRefusal(ReportReason.TOO_LONG)
    ranks = [(-scored.score, scored.record) for scored in report.top]
    records = frozenset(scored.record for scored in report.top)
    if not _rises(ranks) or len(records) != len(ranks):
        raise ReportRefusal(ReportReason.BAD_TOP)
    if any(span.start >= span.end for span in report.spans) or not all(
        a.start < b.start and a.end < b.end for a, b in pairwise(report.spans)
    ):
        raise ReportRefusal(ReportReason.BAD_SPANS)
    check_clusters(report.clusters)


def check_clusters(clusters: Sequence[ClusterWeight]) -> None:
    """Refuse weights (BAD_CLUSTERS) that are not heaviest first and exactly whole, or empty."""
    ranks = [(-entry.weight, entry.cluster) for entry in clusters]
    distinct = len(frozenset(entry.cluster for entry in clusters)) == len(clusters)
    positive = all(entry.weight > 0 for entry in clusters)
    whole = not clusters or sum(entry.weight for entry in clusters) == PPM
    if len(clusters) > MAX_CLUSTERS or not (distinct and positive and whole and _rises(ranks)):
        raise ReportRefusal(ReportReason.BAD_CLUSTERS)


def _rises(ranks: Sequence[tuple[int, RecordId]]) -> bool:
    return all(a < b for a, b in pairwise(ranks))
