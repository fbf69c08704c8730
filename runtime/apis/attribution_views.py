"""Who judged a batch of receipts, whom it pays, and why somebody is not among them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from runtime.apis.session_views import ReceiptBatchRow
from runtime.pallets.attribution.types import DutyStage
from runtime.primitives.scale import H256, U8, U16, U32, U64
from runtime.primitives.types import AccountId, BlockNumber
from runtime.protocols.agreement import Tolerance
from runtime.protocols.committee import Verdict
from runtime.protocols.ids import BatchId, DatanetId, ModelId
from runtime.protocols.settlement import Payment, Role


class ClusterStanding(IntEnum):
    """Whether a cluster is paid, as the state sees it now."""

    PAYABLE = 0
    """It is paid."""
    COPY = 1
    """Its record proved to be a copy since: it is paid nothing."""
    DELISTED = 2
    """Its Datanet was delisted: it is paid nothing."""


@dataclass(frozen=True, slots=True)
class ClusterView:
    """Near-duplicate records that are paid as one, to the contributor of the first of them."""

    datanet: DatanetId
    record: U64
    """The first record of the cluster, by whose id it goes."""
    weight: U32
    """Its part of the contributors' share, in parts per million."""
    contributor: AccountId | None
    standing: ClusterStanding


class SeatState(IntEnum):
    """How far a member of a committee is."""

    WAITING = 0
    """It did not commit yet, or not in time."""
    COMMITTED = 1
    """It committed to what it found."""
    REVEALED = 2
    """It revealed what it had committed to."""
    PAST = 3
    """The judgement is over. What the member did is not kept, and nothing is said against it: the
    events `Committed` and `Revealed` of the batch's blocks tell it."""


@dataclass(frozen=True, slots=True)
class SeatView:
    """A member of a committee."""

    validator: AccountId
    state: SeatState
    method: U16 | None
    """How it attributed, where it revealed; not kept once the judgement is over."""
    verdicts: tuple[Verdict, ...] | None
    """On each drawn receipt, where it revealed; not kept once the judgement is over."""


@dataclass(frozen=True, slots=True)
class DutyView:
    """The judgement of a batch."""

    stage: DutyStage
    audited: bool
    """Whether a committee judges it; otherwise it is final after the dispute window alone."""
    self_attested: bool
    """Whether the executor's own validator judges, for want of another."""
    seats: tuple[SeatView, ...]
    receipts: tuple[U32, ...]
    """Positions of the drawn receipts in the batch."""
    opened: bool | None
    """Whether the executor opened the drawn receipts; none where no committee judges, and once
    the judgement is over: it is not kept, the event `Opened` tells it."""
    commit_until: BlockNumber
    reveal_until: BlockNumber
    final_at: BlockNumber


@dataclass(frozen=True, slots=True)
class AttributionView:
    """A batch of receipts: how it was judged, which records shaped its answers, whom that pays."""

    batch: ReceiptBatchRow
    root: H256
    """Of the tree over the receipts and their reports."""
    customer: AccountId
    model: ModelId
    model_name: str
    duty: DutyView | None
    """None until the committee is drawn, two blocks after the submission or later."""
    failed_draws: U8
    """Draws that found no eligible validator."""
    clusters: tuple[ClusterView, ...]
    """The heaviest 64; their weights sum to a million, unless nothing matched."""
    expected: tuple[Payment, ...]
    """While the dispute window runs: what the settlement will pay, as the state is now."""


class PayReason(IntEnum):
    """Why an account is or is not paid as a contributor for a batch."""

    PAID = 0
    """It was paid: the clusters listed are of its records. Small credits wait in `Claimable`."""
    PENDING = 1
    """The batch is not settled yet; the clusters listed are of its records."""
    BATCH_VOID = 2
    """The batch is void: the customer got its claim back and nobody is paid."""
    COPY = 3
    """The clusters listed were of its records, but these proved to be copies: they pay nothing."""
    DELISTED = 4
    """The clusters listed are of its records, but their Datanet was delisted: it pays nothing."""
    NO_RECORDS = 5
    """No record of the account was accepted by the Datanets that the model is trained on."""
    ONLY_COPIES = 6
    """All its records there proved to be copies: their originals are paid instead."""
    TOO_LATE = 7
    """All its records there were accepted after the version that the model is trained on."""
    NOTHING_MATCHED = 8
    """No record at all shaped the answers: half of the contributors' share went back to the
    customer, half to the upkeep of the Datanets."""
    NO_INFLUENCE = 9
    """None of its records is among the at most 64 that shaped the answers most."""


@dataclass(frozen=True, slots=True)
class PayAnswer:
    """Why an account is or is not paid for a batch, as the state sees it now."""

    batch: BatchId
    account: AccountId
    reason: PayReason
    text: str
    """The reason in words."""
    clusters: tuple[ClusterView, ...]
    """The batch's clusters of its records."""
    other_roles: tuple[Role, ...]
    """What else the batch pays the account for, if it is settled."""


@dataclass(frozen=True, slots=True)
class MethodView:
    """An admitted way of attributing."""

    method: U16
    name: str
    tolerance: Tolerance
    """How far two engines of its class may differ."""
