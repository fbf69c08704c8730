"""What the write-ahead log of an epoch holds; all SCALE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from consensus.core.messages import Proposal, Vote
from consensus.core.votes import Certificate
from runtime.primitives.digest import Authority
from runtime.primitives.scale import U32, U64, Bytes32, Variants, variant
from runtime.primitives.types import Hash


@variant(index=0)
@dataclass(frozen=True, slots=True)
class EpochOpened:
    """The first record: the chain, the epoch, and the certificate that ended the one before."""

    genesis_hash: Hash
    fork_id: U32
    epoch: U64
    authorities: tuple[Authority, ...]
    seed: Bytes32
    start_hash: Hash
    start_number: U32
    boundary: Certificate | None


@variant(index=1, positional=True)
@dataclass(frozen=True, slots=True)
class OwnVote:
    """A vote of this validator; written by the signing gate before anybody may see it."""

    vote: Vote


@variant(index=2, positional=True)
@dataclass(frozen=True, slots=True)
class SeenCertificate:
    """A certificate that a later vote depends on, or that ended a view."""

    certificate: Certificate


@variant(index=3, positional=True)
@dataclass(frozen=True, slots=True)
class SeenProposal:
    """A proposal that is about to be notarized, with its block.

    Of an own proposal the signature is zero: it is made again from the vote.
    """

    proposal: Proposal


@variant(index=4, positional=True)
@dataclass(frozen=True, slots=True)
class Floor:
    """Everything up to this view is final; written when older records are dropped."""

    certificate: Certificate


Record = Annotated[
    EpochOpened | OwnVote | SeenCertificate | SeenProposal | Floor,
    Variants("open_simplex::Record"),
]
