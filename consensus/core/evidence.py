"""Evidence: two votes of one validator that no honest validator signs both of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from consensus.core.messages import Vote, vote_of
from consensus.core.validators import ValidatorSet
from consensus.core.votes import (
    Certificate,
    Subject,
    VerifySignature,
    VoteDomain,
    VoteKind,
    vote_bytes,
)
from runtime.primitives.scale import U8, decode, encode


class EvidenceKind(IntEnum):
    """Which rule the two votes break; the numbers are E1 to E4 of the specification."""

    CONFLICTING_NOTARIZE = 1
    """Two notarize votes in a view, for different blocks or parents."""
    CONFLICTING_FINALIZE = 2
    """Two finalize votes in a view, for different blocks or parents."""
    NULLIFY_FINALIZE = 3
    """A nullify vote and a finalize vote in a view."""
    NOTARIZE_FINALIZE = 4
    """A notarize vote and a finalize vote in a view, for different blocks or parents."""


class InvalidEvidence(Exception):
    """The two votes prove nothing; the text says why."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two votes of one signer in one view; `first` has the lower kind."""

    kind: U8
    first: Vote
    second: Vote


def conflict(first: Subject, second: Subject) -> EvidenceKind | None:
    """Tell how two votes of one signer conflict, if they do.

    What they say is compared, never the bytes of the signatures: ed25519 knows several signatures
    of one message. Nullify and notarize in one view is no fault.
    """
    if (first.epoch, first.view) != (second.epoch, second.view):
        return None
    kinds = {first.kind, second.kind}
    if kinds == {VoteKind.NULLIFY, VoteKind.FINALIZE}:
        return EvidenceKind.NULLIFY_FINALIZE
    if VoteKind.NULLIFY in kinds or _block(first) == _block(second):
        return None
    if len(kinds) == 2:
        return EvidenceKind.NOTARIZE_FINALIZE
    if first.kind is VoteKind.NOTARIZE:
        return EvidenceKind.CONFLICTING_NOTARIZE
    return EvidenceKind.CONFLICTING_FINALIZE


def evidence_of(first: Vote, second: Vote) -> Evidence | None:
    """Put evidence together from two votes of one signer; None where they do not conflict."""
    kind = conflict(first.subject(), second.subject())
    if kind is None or first.signer != second.signer:
        return None
    if first.kind > second.kind:
        first, second = second, first
    return Evidence(kind, first, second)


def check_evidence(
    evidence: Evidence, domain: VoteDomain, validators: ValidatorSet, verify: VerifySignature
) -> int:
    """Return the position of the guilty validator; raises InvalidEvidence."""
    first, second = evidence.first, evidence.second
    if first.signer != second.signer:
        raise InvalidEvidence("the votes are of two signers")
    if first.signer >= len(validators):
        raise InvalidEvidence("the signer is outside the validator set")
    try:
        kind = conflict(first.subject(), second.subject())
    except ValueError as error:
        raise InvalidEvidence(str(error)) from error
    if kind is None:
        raise InvalidEvidence("the votes do not conflict")
    if kind != evidence.kind:
        raise InvalidEvidence(f"the votes are evidence of {kind.name}")
    key = validators.members[first.signer].public
    for vote in (first, second):
        if not verify(key, vote_bytes(domain, vote.subject()), vote.signature):
            raise InvalidEvidence("a signature does not hold")
    return first.signer


def votes_in(certificate: Certificate) -> Iterator[Vote]:
    """Take a certificate apart into its votes."""
    subject = certificate.subject()
    for signer, signature in zip(certificate.signers(), certificate.signatures, strict=True):
        yield vote_of(subject, signer, signature)


def fork_proof(certificates: Iterable[Certificate]) -> tuple[Evidence, ...]:
    """Find who signed both sides of a fork.

    Takes the finalization certificates of two conflicting blocks and the certificates of the views
    between them, in any order. Two certificates of one view that cannot both be honest share more
    than a third of the weight: those signers stand in the result, once each, by position.
    """
    held: dict[tuple[int, int], list[Certificate]] = {}
    guilty: dict[int, Evidence] = {}
    for certificate in certificates:
        earlier = held.setdefault((certificate.epoch, certificate.view), [])
        for other in earlier:
            if conflict(other.subject(), certificate.subject()) is not None:
                _add_culprits(guilty, other, certificate)
        earlier.append(certificate)
    return tuple(guilty[position] for position in sorted(guilty))


def _add_culprits(guilty: dict[int, Evidence], one: Certificate, other: Certificate) -> None:
    votes = {vote.signer: vote for vote in votes_in(one)}
    for vote in votes_in(other):
        first = votes.get(vote.signer)
        found = evidence_of(first, vote) if first else None
        if found is not None:
            guilty.setdefault(vote.signer, found)


def _block(subject: Subject) -> tuple[int, int, bytes]:
    return subject.parent_view, subject.number, subject.block_hash


def encode_evidence(evidence: Evidence) -> bytes:
    """Return the SCALE bytes."""
    return encode(Evidence, evidence)


def decode_evidence(data: bytes) -> Evidence:
    """Decode evidence; raises DecodeError."""
    evidence: Evidence = decode(Evidence, data)
    return evidence
