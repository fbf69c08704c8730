"""What the pallet tells the world: its events, in the order of their indices."""

from __future__ import annotations

from runtime.frame.pallet import event
from runtime.primitives.scale import U32
from runtime.primitives.types import AccountId, Balance, BlockNumber
from runtime.protocols.ids import BatchId, DatanetId, ModelId, SessionId
from runtime.protocols.settlement import Role


@event(index=0)
class WorkerRegistered:
    """A validator registered a worker."""

    key: AccountId
    validator: AccountId
    endpoint: bytes


@event(index=1)
class WorkerUpdated:
    """A worker changed where and what it serves."""

    key: AccountId
    endpoint: bytes


@event(index=2)
class WorkerRetired:
    """A worker is gone; its deposit is free."""

    key: AccountId


@event(index=3)
class SessionOpened:
    """A customer put money aside for a model's answers."""

    session: SessionId
    customer: AccountId
    model: ModelId
    executor: AccountId
    """The worker's key."""
    escrow: Balance


@event(index=4)
class SessionToppedUp:
    """A customer put more money aside."""

    session: SessionId
    amount: Balance


@event(index=5)
class SessionClosing:
    """A session takes no requests; the executor may still submit receipts for a while."""

    session: SessionId
    closes: BlockNumber
    """Last block in which receipts are taken."""


@event(index=6)
class SessionClosed:
    """A session is over; what was not spent went back to the customer."""

    session: SessionId
    refunded: Balance


@event(index=7)
class ReceiptsSubmitted:
    """An executor claims the fees of answers that it gave."""

    batch: BatchId
    session: SessionId
    count: U32
    """Receipts."""
    compute: Balance
    """For the computation: the executor's and the committee's part."""
    premium: Balance
    """For the contributors, the model, the stakers and the platform."""


@event(index=8)
class BatchVoided:
    """A batch was not confirmed; its claim went back to the customer."""

    batch: BatchId
    refunded: Balance


@event(index=9)
class Paid:
    """A part of a batch's fee was credited; without an account it went to the pot of its role."""

    batch: BatchId
    role: Role
    """What it is for."""
    account: AccountId | None
    datanet: DatanetId | None
    """Whose upkeep pot it went to."""
    amount: Balance


@event(index=10)
class Settled:
    """A batch is settled: the payments before this event are the whole of its fee."""

    batch: BatchId
    session: SessionId
    compute: Balance
    premium: Balance


@event(index=11)
class Claimed:
    """Credited earnings were moved to their account."""

    who: AccountId
    amount: Balance


EVENTS = (
    WorkerRegistered,
    WorkerUpdated,
    WorkerRetired,
    SessionOpened,
    SessionToppedUp,
    SessionClosing,
    SessionClosed,
    ReceiptsSubmitted,
    BatchVoided,
    Paid,
    Settled,
    Claimed,
)
