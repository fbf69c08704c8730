"""Receipts and reports as long as they may be, with four of them drawn, for `weight_world`."""

from __future__ import annotations

from hashlib import blake2b

from runtime.pallets.attribution.types import Opening
from runtime.protocols import merkle
from runtime.protocols.batch import ReceiptBatch, leaf, normalise
from runtime.protocols.committee import Attestation, Verdict
from runtime.protocols.ids import RecordId
from runtime.protocols.price import Price, cost
from runtime.protocols.receipt import Receipt, receipt_hash
from runtime.protocols.report import QueryCode, Report, Scored, Span, report_hash
from runtime.protocols.weights import cluster_scores, span_bits, weights

GENESIS = blake2b(b"genesis", digest_size=32).digest()
PRICE = Price(10**14, 10**14, 10**15)
WIDE, NARROW = (16,) * 512, (1,) * 512
"""Layouts of influence codes: as many coordinates as the chain admits, and few."""
DATANETS = 16
RECORDS = 64
RECEIPTS = 1024
DRAWN = (1, 300, 700, 1023)


def account(tag: str, index: int = 0) -> bytes:
    """Return the id of an account nobody signs for."""
    return blake2b(f"{tag}{index}".encode(), digest_size=32).digest()


def records() -> list[RecordId]:
    """Return 64 records of all Datanets, each of another contributor."""
    return [RecordId(i % DATANETS, i * 65_536 + i) for i in range(RECORDS)]


def stated(root: bytes, first: int, last: int) -> ReceiptBatch:
    """Return what a submission of receipts `first` to `last` states, with 64 clusters."""
    due = cost(PRICE, 1000, 1000)
    clusters = normalise([(record, 1000 + i) for i, record in enumerate(records())])
    return ReceiptBatch(root, last - first + 1, first, last, due.compute, due.premium, 0, clusters)


def query(layout: tuple[int, ...], shift: int = 0) -> QueryCode:
    """Return a code without zeros; with a shift of one the same in coarser steps."""
    codes = bytes(2 + 2 * (i * 37 % 62) >> shift for i in range(sum(layout)))
    return QueryCode(codes, (shift,) * len(layout))


def attested(layout: tuple[int, ...]) -> Attestation:
    """Return what a member reveals that found all in order."""
    return Attestation(0, (query(layout),) * 4, (Verdict.OK,) * 4, bytes(32))


def opened(session: int, layout: tuple[int, ...]) -> tuple[bytes, tuple[Opening, ...]]:
    """Return the root of a batch's tree and the openings of its drawn receipts."""
    receipts = {i: _receipt(session, i + 1) for i in DRAWN}
    reports = {i: _report(r, layout) for i, r in receipts.items()}
    data = [account("leaf", i) for i in range(RECEIPTS)]
    for i in DRAWN:
        data[i] = leaf(receipts[i], report_hash(reports[i]))
    openings = (Opening(receipts[i], reports[i], merkle.path(data, i)) for i in DRAWN)
    return merkle.root(data), tuple(openings)


def _receipt(session: int, nonce: int) -> Receipt:
    due = cost(PRICE, 10, 10)
    asked, made = (bytes(32),) * 2, (bytes(32),) * 4
    return Receipt(GENESIS, session, nonce, *asked, 10, 10, due.compute, due.premium, *made)


def _report(receipt: Receipt, layout: tuple[int, ...]) -> Report:
    named = records()
    top = tuple(Scored(record, 10**6 - i) for i, record in enumerate(named))
    spans = tuple(Span(i, i + 9, named[i % RECORDS], i, 1) for i in range(256))
    scores = cluster_scores(top, {}, {s.record: s.score for s in top})
    shares = weights(scores, span_bits(spans, {}))
    return Report(receipt_hash(receipt), 0, query(layout), top, spans, shares, bytes(32))
