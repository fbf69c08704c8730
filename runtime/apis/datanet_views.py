"""Datanets as their pages show them."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.apis.model_views import ModelRow
from runtime.pallets.datanets.types import BatchStatus, FlagKind, FlagStatus, Policy, Status
from runtime.primitives.scale import H256, U16, U32, U64
from runtime.primitives.types import AccountId, Balance, BlockNumber
from runtime.protocols.ids import DatanetId, RecordId


@dataclass(frozen=True, slots=True)
class DatanetRow:
    """A Datanet in a list."""

    datanet: DatanetId
    name: str
    owner: AccountId
    status: Status
    open: bool
    """Whether anybody may contribute; otherwise only the owner."""
    records: U64
    """Accepted records."""
    batches: U32
    """Batches submitted, whatever became of them."""
    versions: U32
    """Versions published."""


@dataclass(frozen=True, slots=True)
class DatanetPage:
    """Datanets, the newest first."""

    datanets: tuple[DatanetRow, ...]
    next: DatanetId | None
    """Where the next page starts; none at the end."""


@dataclass(frozen=True, slots=True)
class VersionView:
    """A Datanet as it was frozen: what models are trained on."""

    version: U32
    root: H256
    """Of the mountain range over the accepted batches."""
    batches: U32
    records: U64
    bytes_: U64
    schema: tuple[str, ...]
    licences: tuple[str, ...]
    """SPDX expressions of all its batches."""
    published: BlockNumber


@dataclass(frozen=True, slots=True)
class VersionPage:
    """Versions of a Datanet, the newest first."""

    versions: tuple[VersionView, ...]
    next: U32 | None
    """Where the next page starts; none at the end."""


@dataclass(frozen=True, slots=True)
class ContributorRow:
    """What an account has in a Datanet."""

    account: AccountId
    records: U64
    """Accepted records, copies included."""
    bonded: Balance
    """Held for its batches now."""
    redundant: U32
    """Records that proved to be copies; they are paid nothing."""


@dataclass(frozen=True, slots=True)
class ContributorPage:
    """Contributors of a Datanet, in the order of the storage: not by size, not by time."""

    contributors: tuple[ContributorRow, ...]
    next: AccountId | None
    """Behind whom the next page begins; none at the end."""


@dataclass(frozen=True, slots=True)
class RecordBatchRow:
    """Records submitted together."""

    datanet: DatanetId
    batch: U32
    contributor: AccountId
    status: BatchStatus
    count: U32
    """Records."""
    bytes_: U64
    blob: H256
    """blake2b-256 of the records' bytes, by which blob stores serve them."""
    sub_root: H256
    """Of the tree over the records."""
    licence: str
    """SPDX expression."""
    bond: Balance
    """What of the bond is still held."""
    submitted: BlockNumber
    decided: BlockNumber | None
    """When the owner accepted or rejected it; none while it waits."""
    first_record: U64 | None
    """Id of its first record; none where it was not accepted."""
    open_accusations: U16
    accusable_until: BlockNumber | None
    """Last block in which it can be accused; none where it was not accepted."""


@dataclass(frozen=True, slots=True)
class RecordBatchPage:
    """Batches of records, the newest first."""

    batches: tuple[RecordBatchRow, ...]
    next: U32 | None
    """Where the next page starts; none at the end."""


@dataclass(frozen=True, slots=True)
class DatanetView:
    """A Datanet's page.

    How many contributors or copies it has, what is bonded in it, and what it earned is not kept in
    the state: contributors are paged, earnings are the `Inference.Paid` events of the blocks.
    """

    datanet: DatanetId
    name: str
    owner: AccountId
    status: Status
    schema: tuple[str, ...]
    """Names of a record's fields, in order."""
    policy: Policy
    deposit: Balance
    """The owner's, held while the Datanet exists."""
    records: U64
    """Accepted records."""
    bytes_: U64
    """Of the accepted records."""
    root: H256
    """Of the mountain range over the accepted batches, as it is now."""
    batches_submitted: U32
    batches_accepted: U32
    versions: U32
    """Versions published."""
    latest_version: VersionView | None
    upkeep: Balance
    """In its upkeep pot: its half of premiums that matched no record, and what copies forwent."""
    contributors: ContributorPage
    """The first contributors."""
    batches: RecordBatchPage
    """The newest batches."""
    models: tuple[ModelRow, ...]
    """Of the newest 100 models those that are trained on it."""


@dataclass(frozen=True, slots=True)
class ContributorView:
    """An account's page in a Datanet."""

    datanet: DatanetId
    name: str
    """Of the Datanet."""
    contributor: ContributorRow
    claimable: Balance
    """Credits of the account that are not paid out yet, from all Datanets together."""
    batches: RecordBatchPage
    """Its batches among those of the Datanet that this page looked at."""


@dataclass(frozen=True, slots=True)
class RecordView:
    """An accepted record; its text is in the blob of its batch."""

    datanet: DatanetId
    record: U64
    batch: U32
    index: U32
    """Its place in the batch, from 0."""
    contributor: AccountId
    blob: H256
    licence: str
    accepted: BlockNumber
    original: RecordId | None
    """Where it proved to be a copy: the record that is paid in its place."""
    first_version: U32 | None
    """The first version that contains it."""
    payable: bool
    """Whether it is paid when it matters: no copy, and the Datanet is not delisted."""


@dataclass(frozen=True, slots=True)
class AccusationView:
    """A bonded accusation against a batch of records."""

    flag: U32
    datanet: DatanetId
    batch: U32
    kind: FlagKind
    status: FlagStatus
    flagger: AccountId
    evidence: H256
    """blake2b-256 of the evidence."""
    bond: Balance
    """The accuser's, still held."""
    raised: BlockNumber


@dataclass(frozen=True, slots=True)
class AccusationPage:
    """Accusations, the newest first."""

    accusations: tuple[AccusationView, ...]
    next: U32 | None
    """Where the next page starts; none at the end."""
