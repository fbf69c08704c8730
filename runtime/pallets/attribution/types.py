"""What the chain keeps while a batch of receipts is judged."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from runtime.primitives.scale import H256, U8, U16, U32
from runtime.primitives.types import AccountId, BlockNumber
from runtime.protocols.agreement import Tolerance
from runtime.protocols.receipt import Receipt
from runtime.protocols.report import QueryCode, Report


@dataclass(frozen=True, slots=True)
class Method:
    """A way of attributing, and how far two engines of its class may differ."""

    name: bytes
    tolerance: Tolerance


class DutyStage(IntEnum):
    """How far the judgement of a batch is; it only moves down this list."""

    JUDGING = 0
    """Members commit, then reveal, and the executor opens the drawn receipts."""
    DISPUTE = 1
    """Agreed on, or not audited; final when the window is over."""
    CLOSED = 2
    """Final or void."""


@dataclass(frozen=True, slots=True)
class Duty:
    """Who judges a batch, on which receipts, until when."""

    seed: H256
    audited: bool
    self_attested: bool
    """The executor's own validator judges, for want of another; development chains only."""
    seats: tuple[AccountId, ...]
    receipts: tuple[U32, ...]
    """Positions of the drawn receipts in the batch."""
    commit_until: BlockNumber
    reveal_until: BlockNumber
    final_at: BlockNumber
    stage: DutyStage


@dataclass(frozen=True, slots=True)
class Opening:
    """A drawn receipt and its report, with the path to the batch's root."""

    receipt: Receipt
    report: Report | None
    path: tuple[H256, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """What the executor opened: its codes for the drawn receipts, in their order."""

    codes: tuple[QueryCode, ...]
    reports: tuple[H256, ...]
    method: U16
    draws: U8
