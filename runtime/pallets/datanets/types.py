"""What the chain keeps of a Datanet."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from runtime.primitives.scale import H256, U16, U32, U64
from runtime.primitives.types import AccountId, Balance, BlockNumber
from runtime.protocols.ids import DatanetId
from runtime.protocols.merkle import MountainRange
from runtime.protocols.record_proof import RecordProof


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may contribute, and under what bond."""

    open: bool
    """Whether anybody may submit; otherwise only the owner."""
    bond_per_record: Balance
    min_bond: Balance


class Status(IntEnum):
    """Whether a Datanet takes and pays records."""

    ACTIVE = 0
    DELISTED = 1


@dataclass(frozen=True, slots=True)
class Datanet:
    """A data silo: who owns it, what its records look like, what it holds."""

    owner: AccountId
    name: bytes
    schema: tuple[bytes, ...]
    """Names of a record's fields, in order."""
    policy: Policy
    status: Status
    deposit: Balance
    records: U64
    """Accepted records; the next record's id."""
    bytes_: U64
    range: MountainRange
    """Over one leaf for each accepted batch."""
    next_batch: U32
    versions: U32


class BatchStatus(IntEnum):
    """Where a batch of records stands; it only moves down this list."""

    PENDING = 0
    ACCEPTED = 1
    REJECTED = 2


@dataclass(frozen=True, slots=True)
class Batch:
    """Records submitted together by one contributor."""

    contributor: AccountId
    sub_root: H256
    count: U32
    bytes_: U64
    blob: H256
    licence: bytes
    """SPDX expression."""
    bond: Balance
    """What of the bond is still held."""
    submitted: BlockNumber
    status: BatchStatus
    decided: BlockNumber
    first_record: U64
    position: U32
    """Of its leaf in the Datanet's range, where accepted."""
    open_flags: U16


@dataclass(frozen=True, slots=True)
class Version:
    """A Datanet as it was when it was published: what models are trained on and proofs open."""

    root: H256
    batches: U32
    records: U64
    bytes_: U64
    schema: tuple[bytes, ...]
    licences: tuple[bytes, ...]
    published: BlockNumber


@dataclass(frozen=True, slots=True)
class Contributor:
    """What an account has in one Datanet."""

    records: U64
    bonded: Balance
    redundant: U32
    """Records found to be copies."""


class FlagKind(IntEnum):
    """What is said to be wrong with a batch."""

    REDUNDANT = 0
    """A record has the canonical text of an earlier record of somebody else."""
    ADVERSARIAL = 1
    """Records do harm; the evidence is a blob for people to judge."""
    UNAVAILABLE = 2
    """Nobody serves the records."""


@dataclass(frozen=True, slots=True)
class Duplication:
    """Proof that one record repeats an earlier one: both leaves under the Datanet's root."""

    copy: RecordProof
    original: RecordProof


class FlagStatus(IntEnum):
    """Where a flag stands."""

    OPEN = 0
    UPHELD = 1
    DISMISSED = 2


@dataclass(frozen=True, slots=True)
class Flag:
    """A bonded accusation."""

    datanet: DatanetId
    batch: U32
    kind: FlagKind
    flagger: AccountId
    evidence: H256
    bond: Balance
    raised: BlockNumber
    status: FlagStatus
