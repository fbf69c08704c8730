"""What the pallet tells the world: its events, in the order of their indices."""

from __future__ import annotations

from runtime.frame.pallet import event
from runtime.pallets.datanets.types import FlagKind, FlagStatus, Policy
from runtime.primitives.scale import H256, U32, U64
from runtime.primitives.types import AccountId, Balance
from runtime.protocols.ids import DatanetId


@event(index=0)
class Created:
    """A Datanet was created."""

    datanet: DatanetId
    owner: AccountId
    name: bytes


@event(index=1)
class BatchSubmitted:
    """A contributor bonded and submitted records; the owner decides on them."""

    datanet: DatanetId
    batch: U32
    contributor: AccountId
    count: U32
    """Records in it."""
    blob: H256
    """blake2b-256 of its bytes, by which blob stores serve it."""
    bond: Balance


@event(index=2)
class BatchAccepted:
    """The owner took a batch in; its records have ids from `first_record` on."""

    datanet: DatanetId
    batch: U32
    first_record: U64
    """Its records have the ids from this one on."""
    count: U32


@event(index=3)
class BatchRejected:
    """The owner turned a batch down; its bond is free."""

    datanet: DatanetId
    batch: U32


@event(index=4)
class VersionPublished:
    """A Datanet was frozen as a version that models can be trained on."""

    datanet: DatanetId
    version: U32
    root: H256
    """Of the mountain range over the accepted batches."""
    records: U64
    """Of all accepted batches together."""


@event(index=5)
class Flagged:
    """Somebody bonded an accusation against a batch; governance judges it."""

    flag: U32
    datanet: DatanetId
    batch: U32
    kind: FlagKind
    flagger: AccountId


@event(index=6)
class RecordRedundant:
    """A record proved to repeat an earlier one: it is paid nothing and cost a part of its bond."""

    datanet: DatanetId
    record: U64
    """The copy."""
    original: U64
    """The earlier record that it repeats."""
    contributor: AccountId
    """Of the copy."""
    slashed: Balance
    """Taken of the batch's bond."""


@event(index=7)
class FlagResolved:
    """An accusation was judged: upheld, the batch lost its bond; else the accuser did."""

    flag: U32
    status: FlagStatus
    slashed: Balance


@event(index=8)
class BondReleased:
    """The flag window of a batch is over; its bond is free."""

    datanet: DatanetId
    batch: U32
    amount: Balance


@event(index=9)
class PolicySet:
    """The owner changed who may contribute under what bond, for batches from now on."""

    datanet: DatanetId
    policy: Policy


@event(index=10)
class Delisted:
    """Governance closed a Datanet; it takes and pays no records any more."""

    datanet: DatanetId


EVENTS = (
    Created,
    BatchSubmitted,
    BatchAccepted,
    BatchRejected,
    VersionPublished,
    Flagged,
    RecordRedundant,
    FlagResolved,
    BondReleased,
    PolicySet,
    Delisted,
)
