"""The byte formats of the agreement, each pinned by an example.

``python tests/consensus/core/consensus_conformance.py --write`` accepts the formats as they are
now. Do so only for a new format, or together with a new version in the domain or the protocol's
name: whoever runs the old bytes cannot read the new ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import agreement_samples as samples
from vote_samples import DOMAIN, FINALIZED, HASH, NOTARIZED, NULLIFIED, OTHER, public

from consensus.core import ecvrf
from consensus.core.digest import certificate_hash, justification_hash, vrf_alpha
from consensus.core.evidence import encode_evidence
from consensus.core.messages import encode_message, encode_request, encode_response
from consensus.core.records import Record
from consensus.core.votes import encode_certificate, vote_bytes
from runtime.primitives.digest import NextEpoch, PreDigest
from runtime.primitives.hashing import blake2_256
from runtime.primitives.leaders import leader_of, quorum
from runtime.primitives.scale import encode

VECTORS = Path(__file__).parents[2] / "vectors" / "consensus.json"


def formats() -> Iterator[tuple[str, bytes]]:
    """Yield each format's name and the bytes of its example."""
    for subject in (NOTARIZED, NULLIFIED, FINALIZED):
        yield f"signed.{subject.kind.name.lower()}", vote_bytes(DOMAIN, subject)
    for name, message in samples.MESSAGES.items():
        yield f"message.{name}", encode_message(message)
    for name, request in samples.REQUESTS.items():
        yield f"request.{name}", encode_request(request)
    for name, response in samples.RESPONSES.items():
        yield f"response.{name}", encode_response(response)
    for name, record in samples.RECORDS.items():
        yield f"record.{name}", encode(Record, record)
    for name, evidence in samples.EVIDENCE.items():
        yield f"evidence.{name}", encode_evidence(evidence)
    yield from _digests()
    yield from _draws()


def _digests() -> Iterator[tuple[str, bytes]]:
    skipped = [certificate_hash(samples.NULLIFICATION)]
    yield "certificate", encode_certificate(samples.FINALIZATION)
    yield "certificate.hash", certificate_hash(samples.FINALIZATION)
    yield "justification.hash", justification_hash(samples.NOTARIZATION, skipped)
    yield "justification.first", justification_hash(None, [])
    yield "digest.claim", encode(PreDigest, samples.CLAIM)
    yield "digest.next_epoch", encode(NextEpoch, samples.ANNOUNCEMENT)
    yield "header", samples.HEADER.encode()


def _draws() -> Iterator[tuple[str, bytes]]:
    alpha = vrf_alpha(HASH, 2, 7, OTHER)
    proof = ecvrf.prove(bytes(range(32)), alpha)
    yield "vrf.alpha", alpha
    yield "vrf.proof", proof
    yield "vrf.output", ecvrf.proof_to_hash(proof) or b""
    yield "key", public(7)
    yield "leaders", bytes(leader_of(OTHER, view, (5, 3, 1, 1)) for view in range(1, 65))
    yield (
        "leaders.large",
        bytes(leader_of(HASH, v, [2**63 + n for n in range(40)]) for v in range(64)),
    )
    yield "quorums", b"".join(quorum(total).to_bytes(4, "little") for total in range(1, 101))


def vectors() -> dict[str, dict[str, str | int]]:
    """Return the pinned form: length and hash of each example, and its start to look at."""
    return {
        name: {"length": len(data), "blake2_256": blake2_256(data).hex(), "start": data[:48].hex()}
        for name, data in formats()
    }


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
