"""What happens to a validator: the only input of the core."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from consensus.core.messages import Message, Request, Response, Vote
from consensus.core.records import Record
from consensus.core.votes import Subject
from runtime.primitives.header import Block

Peer = str
"""A peer as the transport names it; the core only passes it on."""


class TimerKind(Enum):
    """What a timer is for."""

    PROPOSE = auto()
    LEADER = auto()
    CERTIFICATE = auto()
    RETRY = auto()
    STANDSTILL = auto()
    STATUS = auto()
    TIMELY = auto()
    LISTEN = auto()
    FETCH = auto()


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer of a view of an epoch; one set again replaces the one set before."""

    kind: TimerKind
    epoch: int
    view: int


class Verdict(Enum):
    """What executing a block showed."""

    VALID = auto()
    INVALID = auto()
    UNAVAILABLE = auto()
    """It could not be tried: the parent's state is not here, or the node is out of room."""


@dataclass(frozen=True, slots=True)
class Started:
    """The validator starts, with what its log of the current epoch holds, oldest first."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Received:
    """A peer sent a message."""

    peer: Peer
    message: Message


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer that was set, and not replaced since, ran out."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class VoteSigned:
    """The gate logged and signed a vote: it may be shown."""

    vote: Vote


@dataclass(frozen=True, slots=True)
class VoteRefused:
    """The gate did not sign; the vote was never cast."""

    subject: Subject


@dataclass(frozen=True, slots=True)
class BlockBuilt:
    """The block asked for is there, executed; None where it could not be built."""

    epoch: int
    view: int
    block: Block | None


@dataclass(frozen=True, slots=True)
class BlockExecuted:
    """The block was executed, or refused."""

    block_hash: bytes
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class FinalityStored:
    """The block and its ancestors are final on the disk."""

    block_hash: bytes
    number: int


@dataclass(frozen=True, slots=True)
class Responded:
    """A peer answered; None where nobody did in time. `peer` is empty then."""

    request: Request
    peer: Peer
    response: Response | None


@dataclass(frozen=True, slots=True)
class EpochReady:
    """The log of an epoch is open. Without one (`signing` false) the validator only observes."""

    epoch: int
    signing: bool


@dataclass(frozen=True, slots=True)
class SigningAllowed:
    """The time of listening for a double is over, and nothing was heard."""


@dataclass(frozen=True, slots=True)
class PeerJoined:
    """A peer connected."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """A peer is gone."""

    peer: Peer


Event = (
    Started
    | Received
    | TimerFired
    | VoteSigned
    | VoteRefused
    | BlockBuilt
    | BlockExecuted
    | FinalityStored
    | Responded
    | EpochReady
    | SigningAllowed
    | PeerJoined
    | PeerLeft
)
