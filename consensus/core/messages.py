"""What validators tell each other, and what a node asks another; all SCALE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from consensus.core.votes import Certificate, Subject, VoteKind
from runtime.primitives.header import Block, Header
from runtime.primitives.scale import (
    U8,
    U16,
    U32,
    U64,
    Bytes64,
    Variants,
    decode,
    encode,
    variant,
)
from runtime.primitives.types import Hash

MAX_INLINE = 16
"""So many nullification certificates travel with a proposal at most; others are fetched."""
MAX_HEADERS = 512
MAX_BODIES = 64
MAX_CERTIFICATES = 128
MAX_EPOCH_PROOFS = 16


@variant(index=0)
@dataclass(frozen=True, slots=True)
class Vote:
    """A signed vote; 127 bytes behind the tag. Of a nullification the block's fields are zero."""

    kind: U8
    epoch: U64
    view: U64
    parent_view: U64
    number: U32
    block_hash: Hash
    signer: U16
    signature: Bytes64

    def subject(self) -> Subject:
        """Return what it says; raises ValueError for an unknown kind."""
        kind = VoteKind(self.kind)
        return Subject(kind, self.epoch, self.view, self.parent_view, self.number, self.block_hash)


def vote_of(subject: Subject, signer: int, signature: bytes) -> Vote:
    """Put a signed vote together."""
    return Vote(
        subject.kind,
        subject.epoch,
        subject.view,
        subject.parent_view,
        subject.number,
        subject.block_hash,
        signer,
        signature,
    )


@variant(index=1, positional=True)
@dataclass(frozen=True, slots=True)
class CertificateNotice:
    """A certificate on its own."""

    certificate: Certificate


@variant(index=2)
@dataclass(frozen=True, slots=True)
class Proposal:
    """A leader's block for a view, with the proof that the view may build on its parent.

    signature: the leader's notarize vote for it; parent: notarization or finalization of the
    parent, none for the first block of an epoch; skipped: the hash of one nullification
    certificate per view between the parent's and this, ascending; nullifications: the last
    `MAX_INLINE` of those, ascending.
    """

    epoch: U64
    view: U64
    parent_view: U64
    block: Block
    signature: Bytes64
    parent: Certificate | None
    skipped: tuple[Hash, ...]
    nullifications: tuple[Certificate, ...]

    def subject(self) -> Subject:
        """Return what the leader's signature says."""
        header = self.block.header
        return Subject(
            VoteKind.NOTARIZE, self.epoch, self.view, self.parent_view, header.number, header.hash()
        )


@variant(index=3)
@dataclass(frozen=True, slots=True)
class Status:
    """How far a node is: its epoch and view, and its last finalised block."""

    epoch: U64
    view: U64
    final_view: U64
    final_number: U32
    final_hash: Hash


Message = Annotated[Vote | CertificateNotice | Proposal | Status, Variants("open_simplex::Message")]


@variant(index=0)
@dataclass(frozen=True, slots=True)
class CertificatesRequest:
    """Certificates of an epoch for views from..to (inclusive), every kind held."""

    epoch: U64
    first_view: U64
    last_view: U64


@variant(index=1)
@dataclass(frozen=True, slots=True)
class HeadersRequest:
    """Headers of finalised blocks by number, ascending."""

    first: U32
    count: U16


@variant(index=2, positional=True)
@dataclass(frozen=True, slots=True)
class BlocksRequest:
    """Blocks by hash, finalised or not."""

    hashes: tuple[Hash, ...]


@variant(index=3)
@dataclass(frozen=True, slots=True)
class EpochProofsRequest:
    """Proofs of the ends of epochs, ascending, from `first` on."""

    first: U64
    count: U16


@variant(index=4)
@dataclass(frozen=True, slots=True)
class VotesRequest:
    """Votes of one signer that a node holds of an epoch: what did this key sign?"""

    epoch: U64
    signer: U16


@variant(index=5)
@dataclass(frozen=True, slots=True)
class FinalityRequest:
    """The finalization certificate of the highest finalised block that has one."""


Request = Annotated[
    CertificatesRequest
    | HeadersRequest
    | BlocksRequest
    | EpochProofsRequest
    | VotesRequest
    | FinalityRequest,
    Variants("open_simplex::Request"),
]


@dataclass(frozen=True, slots=True)
class EpochProof:
    """The end of an epoch: the header that announces the next one, final by its own certificate."""

    header: Header
    certificate: Certificate


@variant(index=0, positional=True)
@dataclass(frozen=True, slots=True)
class Certificates:
    """Answers a CertificatesRequest."""

    certificates: tuple[Certificate, ...]


@variant(index=1, positional=True)
@dataclass(frozen=True, slots=True)
class Headers:
    """Answers a HeadersRequest: as many as are there, from the first on."""

    headers: tuple[Header, ...]


@variant(index=2, positional=True)
@dataclass(frozen=True, slots=True)
class Blocks:
    """Answers a BlocksRequest: those that are there, in the order asked for."""

    blocks: tuple[Block, ...]


@variant(index=3, positional=True)
@dataclass(frozen=True, slots=True)
class EpochProofs:
    """Answers an EpochProofsRequest."""

    proofs: tuple[EpochProof, ...]


@variant(index=4, positional=True)
@dataclass(frozen=True, slots=True)
class Votes:
    """Answers a VotesRequest."""

    votes: tuple[Vote, ...]


@variant(index=5)
@dataclass(frozen=True, slots=True)
class Finality:
    """Answers a FinalityRequest; None where nothing but the genesis block is final."""

    proof: EpochProof | None


Response = Annotated[
    Certificates | Headers | Blocks | EpochProofs | Votes | Finality,
    Variants("open_simplex::Response"),
]


def encode_message(message: Message) -> bytes:
    """Return the bytes on the wire."""
    return encode(Message, message)


def decode_message(data: bytes) -> Message:
    """Decode a whole message; raises DecodeError."""
    message: Message = decode(Message, data)
    return message


def encode_request(request: Request) -> bytes:
    """Return the bytes on the wire."""
    return encode(Request, request)


def decode_request(data: bytes) -> Request:
    """Decode a whole request; raises DecodeError."""
    request: Request = decode(Request, data)
    return request


def encode_response(response: Response) -> bytes:
    """Return the bytes on the wire."""
    return encode(Response, response)


def decode_response(data: bytes) -> Response:
    """Decode a whole response; raises DecodeError."""
    response: Response = decode(Response, data)
    return response
