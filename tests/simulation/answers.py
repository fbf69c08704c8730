"""What a simulated node answers: certificates and votes from its core, the rest from its ledger."""

from __future__ import annotations

from consensus.core.messages import (
    MAX_BODIES,
    MAX_EPOCH_PROOFS,
    MAX_HEADERS,
    Blocks,
    BlocksRequest,
    Certificates,
    CertificatesRequest,
    EpochProof,
    EpochProofs,
    EpochProofsRequest,
    Finality,
    FinalityRequest,
    Headers,
    HeadersRequest,
    Request,
    Response,
    Votes,
    VotesRequest,
)
from consensus.core.participant import Participant
from consensus.core.votes import decode_certificate
from tests.simulation.ledger import NodeLedger


def answer(request: Request, participant: Participant, ledger: NodeLedger) -> Response:
    """Answer a request from what a node has."""
    match request:
        case CertificatesRequest(epoch, first, last):
            return Certificates(participant.certificates(epoch, first, last))
        case VotesRequest(epoch, signer):
            return Votes(participant.votes_of(epoch, signer))
        case HeadersRequest(first, count):
            chosen = ledger.final[first : first + min(count, MAX_HEADERS)]
            return Headers(tuple(ledger.blocks[hash_].header for hash_ in chosen))
        case BlocksRequest(hashes):
            found = (ledger.block(hash_) for hash_ in hashes[:MAX_BODIES])
            return Blocks(tuple(block for block in found if block is not None))
        case EpochProofsRequest(first, count):
            last = first + min(count, MAX_EPOCH_PROOFS)
            proofs = []
            for epoch in range(first, last):
                hash_ = ledger.boundaries.get(epoch)
                proof = None if hash_ is None else _proof(ledger, hash_)
                if proof is None:
                    break
                proofs.append(proof)
            return EpochProofs(tuple(proofs))
        case FinalityRequest():
            for hash_ in reversed(ledger.final[1:]):
                proof = _proof(ledger, hash_)
                if proof is not None:
                    return Finality(proof)
            return Finality(None)


def _proof(ledger: NodeLedger, hash_: bytes) -> EpochProof | None:
    data = ledger.proofs.get(hash_)
    if data is None:
        return None
    return EpochProof(ledger.blocks[hash_].header, decode_certificate(data))
