"""What the chain keeps of workers, paid sessions and batches of receipts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from runtime.primitives.scale import U8, U32
from runtime.primitives.types import AccountId, Balance, BlockNumber
from runtime.protocols.batch import ReceiptBatch
from runtime.protocols.ids import ModelId, SessionId
from runtime.protocols.price import Price


@dataclass(frozen=True, slots=True)
class Windows:
    """Lengths of the phases of a batch and of a closing session, in blocks."""

    commit: BlockNumber
    reveal: BlockNumber
    dispute: BlockNumber
    submit: BlockNumber


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that serves models for a validator, under a key of its own."""

    validator: AccountId
    endpoint: bytes
    """URL where customers reach it."""
    models: tuple[ModelId, ...]
    """The models it offers; empty for all."""
    capacity: U32
    """Requests that it serves at a time."""
    deposit: Balance
    registered: BlockNumber
    retiring: bool
    open_batches: U32
    final_batches: U32
    faults: U32
    quota_epoch: U32
    quota_used: U8
    """Feeless batches of the present epoch."""


class SessionState(IntEnum):
    """How far a session is; it only moves down this list."""

    OPEN = 0
    CLOSING = 1
    CLOSED = 2


@dataclass(frozen=True, slots=True)
class Session:
    """A customer's paid session with one worker and one model."""

    customer: AccountId
    voucher_key: AccountId
    model: ModelId
    executor: AccountId
    """The worker's key."""
    price: Price
    escrow: Balance
    """All that the customer put in, less what void batches gave back."""
    held: Balance
    """What of it is still held: neither settled nor refunded."""
    max_fee: Balance
    """Most that one request may cost."""
    settled_nonce: U32
    settled_total: Balance
    """What all submitted batches claim, less the void ones."""
    opened: BlockNumber
    expires: BlockNumber
    closes: BlockNumber
    """Once closing: the last block in which batches are taken."""
    state: SessionState


class BatchState(IntEnum):
    """How far a batch is; it only moves down this list."""

    OPEN = 0
    """Submitted; the committee works on it."""
    COMMITTED = 1
    """The committee agreed; the dispute window runs."""
    FINAL = 2
    SETTLED = 3
    VOID = 4


@dataclass(frozen=True, slots=True)
class Batch:
    """Receipts submitted together."""

    session: SessionId
    executor: AccountId
    summary: ReceiptBatch
    submitted: BlockNumber
    state: BatchState
