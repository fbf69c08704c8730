"""What the pallet tells the world: its events, in the order of their indices."""

from __future__ import annotations

from runtime.frame.pallet import event
from runtime.primitives.scale import H256, U16, U32
from runtime.primitives.types import AccountId, BlockNumber
from runtime.protocols.ids import BatchId


@event(index=0)
class CommitteeDrawn:
    """The judges of a batch were drawn, and the receipts that they recompute.

    Where `self_attested`, the executor's own validator is the committee, for want of another.
    """

    batch: BatchId
    audited: bool
    self_attested: bool
    seats: tuple[AccountId, ...]
    """Validators; none where the batch is not audited."""
    receipts: tuple[U32, ...]
    """Positions of the drawn receipts in the batch."""


@event(index=1)
class Committed:
    """A member committed to what it found."""

    batch: BatchId
    validator: AccountId
    hash: H256


@event(index=2)
class Revealed:
    """A member revealed what it had committed to."""

    batch: BatchId
    validator: AccountId


@event(index=3)
class Opened:
    """The executor opened the drawn receipts and their reports."""

    batch: BatchId
    reports: tuple[H256, ...]
    """Hashes of the drawn receipts' reports."""


@event(index=4)
class Agreed:
    """Two thirds of the seats found what the executor claims; the dispute window runs."""

    batch: BatchId
    final_at: BlockNumber


@event(index=5)
class Rejected:
    """The committee did not confirm a batch; it is void. `fault` says that the executor erred."""

    batch: BatchId
    fault: bool


@event(index=6)
class Finalized:
    """A batch is final; its fee is divided."""

    batch: BatchId


@event(index=7)
class MethodSet:
    """A way of attributing was admitted or changed."""

    method: U16
    name: bytes


@event(index=8)
class Stuck:
    """A batch could not be moved on; `finalize` tries again once the cause is gone."""

    batch: BatchId
    cause: str


EVENTS = (
    CommitteeDrawn,
    Committed,
    Revealed,
    Opened,
    Agreed,
    Rejected,
    Finalized,
    MethodSet,
    Stuck,
)
