"""The byte formats that parties must agree on, each pinned by an example.

``python tests/runtime/protocols/protocol_conformance.py --write`` accepts the formats as they are
now. Do so only for a new format, or for one that has a new tag: whoever kept the old bytes cannot
read the new ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import protocol_samples as samples

from runtime.primitives.digest import (
    Authority,
    NextEpoch,
    PreDigest,
    next_epoch_item,
    pre_digest_item,
)
from runtime.primitives.hashing import blake2_256
from runtime.primitives.header import DigestItem
from runtime.primitives.leaders import leader_of
from runtime.primitives.scale import encode
from runtime.protocols import receipt as receipts
from runtime.protocols import voucher as vouchers
from runtime.protocols.batch import Entry, ReceiptBatch, leaf, summarise
from runtime.protocols.canonical import canonical_text, tokens_of
from runtime.protocols.commitments import (
    CoordinateLeaf,
    CorpusLeaf,
    CurvatureLeaf,
    CurvaturePart,
    IndexLeaf,
    coordinates_root,
    corpus_root,
    curvature_root,
    index_root,
)
from runtime.protocols.committee import (
    Attestation,
    Verdict,
    audited,
    commitment,
    draw,
    draw_receipts,
)
from runtime.protocols.ids import RecordId
from runtime.protocols.merkle import MountainRange, path, range_of, root
from runtime.protocols.price import Price
from runtime.protocols.record_batch import RecordBatch, encode_batch
from runtime.protocols.record_batch import summarise as summarise_records
from runtime.protocols.record_proof import (
    DatanetLeaf,
    RecordProof,
    datanet_leaf_bytes,
    prove_record,
)
from runtime.protocols.records import (
    canonical_hash,
    canonical_record_text,
    content_hash,
    leaf_bytes,
    record_leaf,
)
from runtime.protocols.report import QueryCode, report_bytes, report_hash
from runtime.protocols.scoring import pack_codes, score
from runtime.protocols.session_keys import ownership_message
from runtime.protocols.settlement import Payment, split
from runtime.protocols.split_parameters import DEFAULT_SPLIT, SplitParameters
from runtime.protocols.vote_weights import vote_weights

VECTORS = Path(__file__).parents[2] / "vectors" / "conformance.json"
RECORDS = (
    ("Ｗhat is   the capital of Peru?", "Lima."),
    ("東京 is in \U0001f9ff", "STRASSE straße e\u0301\u00ad!"),
    (" ".join(f"w{n}" for n in range(40)), ""),
)


def formats() -> Iterator[tuple[str, bytes]]:
    """Yield each format's name and the bytes of its example."""
    yield from _records()
    yield from _trees()
    yield from _session()
    yield from _attribution()
    yield from _money()
    yield from _agreement()


def vectors() -> dict[str, dict[str, str | int]]:
    """Return the pinned form: length and hash of each example, and its start to look at."""
    return {
        name: {"length": len(data), "blake2_256": blake2_256(data).hex(), "start": data[:48].hex()}
        for name, data in formats()
    }


def _records() -> Iterator[tuple[str, bytes]]:
    blob = encode_batch(RECORDS, 2)
    summary, leaves = summarise_records(blob, RECORDS)
    yield "record.canonical_text", canonical_record_text(RECORDS[1]).encode()
    yield "record.canonical_sweep", _canonical_sweep()
    yield "record.content_hash", content_hash(RECORDS[1])
    yield "record.canonical_hash", canonical_hash(RECORDS[1])
    yield "record.leaf", leaf_bytes(record_leaf(RECORDS[2]))
    yield "records.blob", blob
    yield "records.summary", encode(RecordBatch, summary)
    batches = [
        DatanetLeaf(0, 3, b"\x21" * 32, 70, summary.sub_root),
        DatanetLeaf(3, 1, b"\x22" * 32, 71, b"\x23" * 32),
    ]
    yield "datanet.leaf", datanet_leaf_bytes(batches[0])
    yield "datanet.record_proof", encode(RecordProof, prove_record(batches, 0, leaves, 1))


def _canonical_sweep() -> bytes:
    """Return the canonical forms around every seventh code point: the same on every Python.

    The marks beside it have other combining classes, so a table that knows the character orders
    them differently from one that does not.
    """
    points = (n for n in range(0, 0x110000, 7) if not 0xD800 <= n < 0xE000)
    texts = (canonical_text(f"a\u0301{chr(n)}\u0316e\u0301 {chr(n)}") for n in points)
    return "\n".join("|".join(tokens_of(text)) for text in texts).encode()


def _trees() -> Iterator[tuple[str, bytes]]:
    leaves = [bytes((n,)) * n for n in range(11)]
    yield "merkle.empty_root", root([])
    yield "merkle.root", root(leaves)
    yield "merkle.path", b"".join(path(leaves, 9))
    yield "merkle.range", encode(MountainRange, range_of(leaves))
    yield "merkle.range_root", range_of(leaves).root()
    yield "merkle.empty_range_root", MountainRange().root()


def _session() -> Iterator[tuple[str, bytes]]:
    yield "voucher.signing_bytes", vouchers.signing_bytes(samples.voucher())
    yield "voucher.hash", vouchers.voucher_hash(samples.voucher())
    yield "voucher.header", vouchers.to_header(samples.signed_voucher()).encode()
    yield "receipt.signing_bytes", receipts.signing_bytes(samples.receipt())
    yield "receipt.hash", receipts.receipt_hash(samples.receipt())
    yield "receipt.text", receipts.to_text(samples.signed_receipt()).encode()
    yield "report.bytes", report_bytes(samples.report())
    yield "report.hash", report_hash(samples.report())
    entries = [Entry(samples.receipt(), samples.report()), Entry(samples.receipt(nonce=9), None)]
    yield "batch.leaf", leaf(samples.receipt(), report_hash(samples.report()))
    yield "batch.summary", encode(ReceiptBatch, summarise(entries))


def _attribution() -> Iterator[tuple[str, bytes]]:
    one, two = RecordId(1, 8), RecordId(2, 3)
    index = [
        IndexLeaf(r, b"\x31" * 32, pack_codes([3, -1, -3, 1, 3]), b"\x02\x0f") for r in (one, two)
    ]
    curvature = [CurvatureLeaf(3, CurvaturePart.OUTPUT_BASIS, 5, -9, b"\x01\x00\xff\xff")]
    yield "index.leaf", encode(IndexLeaf, index[0])
    yield "index.root", index_root(index)
    yield "corpus.root", corpus_root([CorpusLeaf(one, (1, 70_000)), CorpusLeaf(two, (3,))])
    yield "curvature.root", curvature_root(curvature)
    yield "coordinates.root", coordinates_root([CoordinateLeaf(3, -4, 64, (1, 65, 4095))])
    query = QueryCode(bytes((5, 250, 127, 129, 9)), (-3, 4))
    value = score(index[0].codes, index[0].exponents, query.codes, query.exponents, (2, 3))
    yield "score", value.to_bytes(8, "little", signed=True)
    attestation = Attestation(1, (query,), (Verdict.INCONCLUSIVE,), b"\x32" * 32)
    yield "attestation.bytes", encode(Attestation, attestation)
    yield "attestation.commitment", commitment(samples.GENESIS, 77, b"\x33" * 32, attestation)
    stakes = [(bytes((n,)) * 32, 10**18 * n) for n in range(1, 8)]
    yield "committee.seats", b"".join(draw(samples.GENESIS, 77, stakes, 3))
    yield "committee.receipts", bytes(draw_receipts(samples.GENESIS, 77, 200, 4))
    yield "committee.audited", bytes(audited(samples.GENESIS, n, 300_000) for n in range(64))


def _money() -> Iterator[tuple[str, bytes]]:
    yield "price", encode(Price, Price(10, 30, 20))
    yield "split.parameters", encode(SplitParameters, DEFAULT_SPLIT)
    yield "split.payments", encode(tuple[Payment, ...], split(samples.SETTLEMENT))


def _agreement() -> Iterator[tuple[str, bytes]]:
    claim = PreDigest(7, 41, 39, 3, b"\x41" * 64, b"\x42" * 80, b"\x43" * 32, b"\xff\x7f")
    weights = vote_weights([5 * 10**n for n in range(9, 27)])
    members = tuple(Authority(bytes((n,)) * 32, w) for n, w in enumerate(weights))
    yield "digest.claim", encode(DigestItem, pre_digest_item(claim))
    announced = NextEpoch(8, members, b"\x44" * 32)
    yield "digest.next_epoch", encode(DigestItem, next_epoch_item(announced))
    yield "leaders", bytes(leader_of(b"\x44" * 32, view, weights) for view in range(1, 65))
    yield "session_key.ownership", ownership_message(samples.GENESIS, b"\x45" * 32)


def main() -> None:
    """Print what differs from the pinned vectors; with --write pin the present ones."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--write", action="store_true", help="approve the formats as they are")
    arguments = parser.parse_args()
    now = vectors()
    pinned = json.loads(VECTORS.read_text()) if VECTORS.exists() else {}
    for name in sorted(now.keys() | pinned.keys()):
        if now.get(name) != pinned.get(name):
            print(f"{name}: {pinned.get(name)} -> {now.get(name)}")
    if arguments.write:
        VECTORS.write_text(json.dumps(now, indent=1) + "\n")


if __name__ == "__main__":
    main()
