"""What a validator wants done: the only output of the core. Actions are done in their order.

Whatever stands behind a `Log` or a `Cast` happens only when that is on the disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from consensus.core.events import Peer, Timer
from consensus.core.evidence import Evidence
from consensus.core.messages import Message, Request
from consensus.core.records import Record
from consensus.core.validators import Epoch
from consensus.core.votes import Certificate, Subject
from runtime.primitives.header import Block


class Fault(Enum):
    """Why a peer is not believed."""

    BAD_SIGNATURE = "a signature that does not hold"
    BAD_CERTIFICATE = "a certificate that does not hold"
    BAD_PROPOSAL = "a proposal that its sender could know to be wrong"
    BAD_RESPONSE = "an answer that is not what was asked for"


@dataclass(frozen=True, slots=True)
class Log:
    """Append a record to the log of an epoch."""

    epoch: int
    record: Record


@dataclass(frozen=True, slots=True)
class Cast:
    """Have the gate check, log and sign a vote; answered by VoteSigned or VoteRefused."""

    subject: Subject


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send a message to everybody."""

    message: Message


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a peer."""

    peer: Peer
    message: Message


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask a peer, or any where none is named; answered by Responded."""

    request: Request
    peer: Peer | None = None


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Set a timer, in milliseconds from now; it replaces an equal one."""

    timer: Timer
    delay: int


@dataclass(frozen=True, slots=True)
class Build:
    """Build a block for a view that this validator leads; answered by BlockBuilt.

    least_timestamp: unix milliseconds; alpha: the input of its proof of randomness; the rest goes
    into the leader's claim as it is.
    """

    epoch: int
    view: int
    parent_view: int
    parent_hash: bytes
    leader: int
    least_timestamp: int
    alpha: bytes
    justification_hash: bytes
    parent_signers: bytes


@dataclass(frozen=True, slots=True)
class Execute:
    """Check and execute a block whose parent is executed; answered by BlockExecuted."""

    block: Block


@dataclass(frozen=True, slots=True)
class SetBest:
    """Make an executed block the tip."""

    block_hash: bytes


@dataclass(frozen=True, slots=True)
class Finalize:
    """Make an executed block and its ancestors final; answered by FinalityStored.

    certificate: of this very block; None for an ancestor of a block whose certificate was checked.
    """

    block_hash: bytes
    certificate: Certificate | None


@dataclass(frozen=True, slots=True)
class OpenEpoch:
    """Open the log of an epoch; answered by EpochReady.

    live: this validator took part up to the boundary, or nothing is final in the epoch yet; so a
    new log may be made for it.
    """

    epoch: Epoch
    boundary: Certificate | None
    live: bool


@dataclass(frozen=True, slots=True)
class CloseEpoch:
    """The epoch's log is not needed any more: delete it."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Report:
    """Keep and publish evidence against validators."""

    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Penalise:
    """Think less of a peer."""

    peer: Peer
    fault: Fault
    detail: str


@dataclass(frozen=True, slots=True)
class StopSigning:
    """Something signed with this key that the log does not know: sign nothing in this epoch."""

    epoch: int
    detail: str


Action = (
    Log
    | Cast
    | Broadcast
    | Send
    | Ask
    | SetTimer
    | Build
    | Execute
    | SetBest
    | Finalize
    | OpenEpoch
    | CloseEpoch
    | Report
    | Penalise
    | StopSigning
)
