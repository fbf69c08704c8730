"""Paid sessions, batches of receipts and workers as their pages show them."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.pallets.inference.types import BatchState, SessionState
from runtime.primitives.scale import U8, U32
from runtime.primitives.types import AccountId, Balance, BlockNumber
from runtime.protocols.ids import BatchId, ModelId, SessionId
from runtime.protocols.price import Price


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A process that serves models for a validator."""

    key: AccountId
    validator: AccountId
    endpoint: str
    """URL where customers reach it."""
    models: tuple[ModelId, ...]
    """The models that it offers; empty for all."""
    capacity: U32
    """Requests that it serves at a time."""
    deposit: Balance
    registered: BlockNumber
    retiring: bool
    """Whether it takes no new sessions."""
    open_batches: U32
    """Batches of receipts that are not settled or void yet."""
    final_batches: U32
    """Batches that were settled; they make its audits rarer."""
    faults: U32
    """Batches that its committees rejected for its fault."""
    feeless_batches_left: U8
    """Batches that it may still submit without a fee in this duty epoch."""


@dataclass(frozen=True, slots=True)
class WorkerPage:
    """Workers, in the order of the storage."""

    workers: tuple[WorkerView, ...]
    """Those of the looked at ones that were asked for."""
    next: AccountId | None
    """Behind whom the next page begins; none at the end."""


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session in a list."""

    session: SessionId
    customer: AccountId
    model: ModelId
    executor: AccountId
    """The worker's key."""
    state: SessionState
    escrow: Balance | None
    """All that the customer put in, less what void batches gave back; none once it is closed: the
    events `SessionOpened` and `SessionToppedUp` tell it."""
    claimed: Balance
    """What the submitted batches claim, less the void ones."""
    opened: BlockNumber
    expires: BlockNumber


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Sessions, the newest first."""

    sessions: tuple[SessionRow, ...]
    """Those of the looked at ones that were asked for."""
    next: SessionId | None
    """Where the next page starts; none at the end."""


@dataclass(frozen=True, slots=True)
class ReceiptBatchRow:
    """Receipts submitted together."""

    batch: BatchId
    session: SessionId
    executor: AccountId
    state: BatchState
    count: U32
    """Receipts."""
    first_nonce: U32
    last_nonce: U32
    compute: Balance
    """Part of the fee for the computation."""
    premium: Balance
    """Part of the fee that is shared with the contributors."""
    unmatched: Balance
    """What of the premium belongs to answers that no record shaped."""
    submitted: BlockNumber


@dataclass(frozen=True, slots=True)
class ReceiptBatchPage:
    """Batches of receipts, the newest first."""

    batches: tuple[ReceiptBatchRow, ...]
    """Those of the looked at ones that were asked for."""
    next: BatchId | None
    """Where the next page starts; none at the end."""


@dataclass(frozen=True, slots=True)
class SessionView:
    """A paid session's page."""

    session: SessionId
    state: SessionState
    customer: AccountId
    voucher_key: AccountId
    """Signs the vouchers; a hot key without funds."""
    model: ModelId
    model_name: str
    executor: AccountId
    """The worker's key."""
    worker: WorkerView | None
    """None once it is retired."""
    price: Price
    """The model's when the session was opened; it stays."""
    max_fee: Balance
    """Most that one request may cost."""
    escrow: Balance | None
    """All that the customer put in, less what void batches gave back; none once it is closed: the
    events `SessionOpened` and `SessionToppedUp` tell it."""
    held: Balance
    """What of it is still held: neither settled nor refunded."""
    settled: Balance
    """Claims of batches that were settled."""
    pending: Balance
    """Claims of batches that are not settled yet."""
    refundable: Balance
    """What no batch claims: it goes back when the session closes, if none does until then."""
    last_nonce: U32
    """Of the receipts submitted so far; 0 before the first."""
    opened: BlockNumber
    expires: BlockNumber
    """From this block on it takes no requests."""
    closes: BlockNumber | None
    """Last block in which receipts are taken; none while it is open."""
    batches: ReceiptBatchPage
    """Its batches among the newest 100 of the chain."""
