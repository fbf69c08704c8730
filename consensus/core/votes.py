"""Votes, certificates and the bytes under their signatures.

A vote signs fixed-width little-endian bytes, so they are unambiguous: the domain, the genesis hash
and the fork that it belongs to, what it says, and for a block its parent view, number and hash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum, auto

from runtime.primitives.keys import verify_ed25519
from runtime.primitives.leaders import quorum
from runtime.primitives.scale import U8, U32, U64, Bytes64, DecodeError, decode, encode
from runtime.primitives.types import Hash

VOTE_DOMAIN = b"open-simplex-vote-v1"
VerifySignature = Callable[[bytes, bytes, bytes], bool]
"""Checks (public key, message, signature)."""


class VoteKind(IntEnum):
    """What a vote says of a view."""

    NOTARIZE = 0
    NULLIFY = 1
    FINALIZE = 2


class ProofReason(Enum):
    """Why a finality proof is refused."""

    MALFORMED = auto()
    WRONG_KIND = auto()
    WRONG_BLOCK = auto()
    WRONG_SIGNERS = auto()
    BAD_SIGNATURE = auto()
    NO_QUORUM = auto()


class InvalidFinalityProof(Exception):
    """A finality proof that proves nothing about the block."""

    def __init__(self, reason: ProofReason, detail: str) -> None:
        super().__init__(f"{reason.name}: {detail}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class VoteDomain:
    """What binds a vote to one chain and one of its coordinated forks."""

    genesis_hash: bytes
    fork_id: int


@dataclass(frozen=True, slots=True)
class Subject:
    """What is voted on. A nullification has no block: parent view 0, number 0, hash of zeros."""

    kind: VoteKind
    epoch: int
    view: int
    parent_view: int = 0
    number: int = 0
    block_hash: bytes = bytes(32)

    def is_sound(self) -> bool:
        """Tell whether a nullification names no block: what it names would not be signed."""
        return self.kind is not VoteKind.NULLIFY or self == Subject(
            self.kind, self.epoch, self.view
        )


@dataclass(frozen=True, slots=True)
class Certificate:
    """Votes of a quorum on one subject: signatures by ascending position in the validator set.

    `bitmap` has one bit per validator, bit i % 8 of byte i // 8.
    """

    kind: U8
    epoch: U64
    view: U64
    parent_view: U64
    number: U32
    block_hash: Hash
    bitmap: bytes
    signatures: tuple[Bytes64, ...]

    def subject(self) -> Subject:
        """Return what it certifies; raises ValueError for an unknown kind."""
        kind = VoteKind(self.kind)
        return Subject(kind, self.epoch, self.view, self.parent_view, self.number, self.block_hash)

    def signers(self) -> list[int]:
        """List the positions whose bit is set."""
        return [i for i in range(8 * len(self.bitmap)) if self.bitmap[i >> 3] >> (i & 7) & 1]


def vote_bytes(domain: VoteDomain, subject: Subject) -> bytes:
    """Build the bytes that a vote signs: 117 for a block, 73 for a nullification."""
    head = (
        VOTE_DOMAIN
        + domain.genesis_hash
        + domain.fork_id.to_bytes(4, "little")
        + bytes((subject.kind,))
        + subject.epoch.to_bytes(8, "little")
        + subject.view.to_bytes(8, "little")
    )
    if subject.kind is VoteKind.NULLIFY:
        return head
    return (
        head
        + subject.parent_view.to_bytes(8, "little")
        + subject.number.to_bytes(4, "little")
        + subject.block_hash
    )


def certificate(subject: Subject, signatures: dict[int, bytes], validators: int) -> Certificate:
    """Put signatures by position together; whether they make a quorum is not looked at."""
    bitmap = bytearray(-(-validators // 8))
    for position in signatures:
        bitmap[position >> 3] |= 1 << (position & 7)
    return Certificate(
        subject.kind,
        subject.epoch,
        subject.view,
        subject.parent_view,
        subject.number,
        subject.block_hash,
        bytes(bitmap),
        tuple(signatures[position] for position in sorted(signatures)),
    )


def decode_certificate(data: bytes) -> Certificate:
    """Decode a certificate; raises InvalidFinalityProof(MALFORMED)."""
    try:
        decoded = decode(Certificate, data)
    except DecodeError as error:
        raise InvalidFinalityProof(ProofReason.MALFORMED, str(error)) from error
    if not isinstance(decoded, Certificate):
        raise InvalidFinalityProof(ProofReason.MALFORMED, "not a certificate")
    return decoded


def encode_certificate(value: Certificate) -> bytes:
    """Encode a certificate in SCALE."""
    return encode(Certificate, value)


def check_certificate(
    proof: Certificate, domain: VoteDomain, validators: Sequence[tuple[bytes, int]]
) -> None:
    """Check bitmap, signatures and weight against the set of (ed25519 key, weight).

    Raises InvalidFinalityProof(WRONG_SIGNERS, BAD_SIGNATURE or NO_QUORUM).
    """
    signers = proof.signers()
    if len(proof.bitmap) != -(-len(validators) // 8) or len(signers) != len(proof.signatures):
        raise InvalidFinalityProof(ProofReason.WRONG_SIGNERS, "bitmap and signatures disagree")
    if signers and signers[-1] >= len(validators):
        raise InvalidFinalityProof(ProofReason.WRONG_SIGNERS, "a signer outside the set")
    try:
        subject = proof.subject()
    except ValueError as error:
        raise InvalidFinalityProof(ProofReason.MALFORMED, str(error)) from error
    if not subject.is_sound():
        raise InvalidFinalityProof(ProofReason.MALFORMED, "a nullification names no block")
    message = vote_bytes(domain, subject)
    for position, signature in zip(signers, proof.signatures, strict=True):
        if not verify_ed25519(validators[position][0], message, signature):
            raise InvalidFinalityProof(ProofReason.BAD_SIGNATURE, f"signer {position}")
    weight = sum(validators[position][1] for position in signers)
    needed = quorum(sum(weight for _, weight in validators))
    if weight < needed:
        raise InvalidFinalityProof(ProofReason.NO_QUORUM, f"weight {weight}, needs {needed}")


def check_finality(
    proof: bytes,
    block_hash: bytes,
    number: int,
    domain: VoteDomain,
    validators: Sequence[tuple[bytes, int]],
) -> Certificate:
    """Check that a proof is a finalize certificate of exactly this block.

    Raises InvalidFinalityProof(reason).
    """
    decoded = decode_certificate(proof)
    if decoded.kind != VoteKind.FINALIZE:
        raise InvalidFinalityProof(ProofReason.WRONG_KIND, f"kind {decoded.kind}")
    if (decoded.block_hash, decoded.number) != (block_hash, number):
        raise InvalidFinalityProof(
            ProofReason.WRONG_BLOCK,
            f"it is about block {decoded.number} (0x{decoded.block_hash.hex()})",
        )
    check_certificate(decoded, domain, validators)
    return decoded
