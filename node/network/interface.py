"""What a node asks of its peers, whatever carries it: libp2p or a simulated network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, Protocol

import trio

from node.network.reserved import Reserved
from runtime.primitives.errors import Refusal


class Channel(IntEnum):
    """What a message is about; each has its own limits (`limits.CHANNELS`)."""

    PROPOSALS = 1
    VOTES = 2
    CERTIFICATES = 3
    STATUSES = 4
    TRANSACTIONS = 5


class RequestKind(IntEnum):
    """What a request asks for; each has its own limits (`limits.REQUESTS`)."""

    CONSENSUS = 1
    STATE = 2
    BLOB = 3
    ADDRESSES = 4
    PRIVATE = 5


class Direction(Enum):
    """Who called whom."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Offence(Enum):
    """Why a peer loses standing; `standing.POINTS` says how much."""

    GARBAGE = "bytes that no version of this protocol sends"
    OVERSIZED = "a message or request beyond its limit"
    WRONG_SIGNATURE = "a signature that does not verify"
    INVALID = "a message that breaks a rule"
    MALFORMED = "a message that cannot be decoded"
    UNWANTED = "a message that no correct node would send now"
    FLOOD = "more than it may send"
    SLOW = "requests that it does not answer in time"


class FailReason(Enum):
    """Why a request has no answer."""

    NOT_CONNECTED = "the peer is not connected"
    TIMEOUT = "the peer did not answer in time"
    DISCONNECTED = "the peer went away before it had answered"
    REFUSED = "the peer does not give it"
    TOO_LARGE = "the answer, or the request, exceeds its limit"
    BUSY = "the peer has too much to do; ask another or try later"
    MALFORMED = "the peer answered something that is no answer"
    CLOSED = "this node is stopping"


class RequestFailed(Refusal):
    """A request was not answered."""

    def __init__(self, reason: FailReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value)
        self.reason: FailReason = reason


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A peer that was greeted.

    validator: the session key that it proved to hold; final_number, best_number: as last told by
    `note_heads`; score: 0 is spotless, at 100 it is banned.
    """

    id: str
    address: str
    direction: Direction
    agent: str
    role: str
    connected_since: float
    validator: bytes | None = None
    best_number: int | None = None
    final_number: int | None = None
    score: int = 0
    reserved: bool = False


@dataclass(frozen=True, slots=True)
class PeerJoined:
    """A peer was greeted and may be sent to."""

    peer: PeerInfo


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """A peer that had joined is gone."""

    peer: str


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A message, once per content.

    peer: who wrote it (proven), which for a relayed message need not be connected; relayed_by: the
    neighbour that passed it on, None where the author sent it directly.
    """

    peer: str
    channel: Channel
    data: bytes
    relayed_by: str | None = None


NetworkEvent = PeerJoined | PeerLeft | MessageReceived
Handler = Callable[[str, bytes], Awaitable[bytes | None]]
"""Answers (peer, body); None refuses."""
Check = Callable[[bytes], bool]
"""Tells whether a message is well formed; pure, cheap, the same on every node."""


@dataclass(slots=True)
class Traffic:
    """What went over a channel since the start."""

    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    dropped_in: int = 0
    dropped_out: int = 0


@dataclass(slots=True)
class Counters:
    """What the network counts; plain numbers for whoever exports them."""

    channels: dict[Channel, Traffic]
    requests_in: dict[RequestKind, int]
    requests_out: dict[RequestKind, int]
    requests_failed: int = 0
    dials: int = 0
    dials_failed: int = 0
    handshakes_failed: int = 0
    refused_hellos: int = 0
    bans: int = 0
    duplicates: int = 0

    @classmethod
    def zero(cls) -> Counters:
        """Start counting."""
        return cls(
            {channel: Traffic() for channel in Channel},
            dict.fromkeys(RequestKind, 0),
            dict.fromkeys(RequestKind, 0),
        )


class Network(Protocol):
    """The other nodes of a chain. All methods are called from the loop's thread."""

    @property
    def id(self) -> str:
        """This node's peer id."""

    @property
    def counters(self) -> Counters:
        """What was counted so far."""

    @property
    def reserved(self) -> Reserved:
        """The peers that are always called and always let in; may be changed."""

    def addresses(self) -> tuple[str, ...]:
        """Return the addresses under which this node listens, with its id."""

    def peers(self) -> tuple[PeerInfo, ...]:
        """Return who is connected and greeted."""

    def broadcast(self, channel: Channel, data: bytes) -> None:
        """Tell everybody; never waits. Raises ValueError beyond the channel's limit."""

    def send(self, peer: str, channel: Channel, data: bytes) -> None:
        """Tell one peer; never waits, lost where it is gone."""

    async def request(
        self,
        peer: str,
        kind: RequestKind,
        body: bytes,
        *,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> bytes:
        """Ask a connected peer; raises RequestFailed.

        timeout (seconds) and limit (bytes of the answer) default to, and limit is capped by, the
        kind's own.
        """

    def penalise(self, peer: str, offence: Offence, detail: str) -> None:
        """Count an offence against a peer, connected or not; enough of them ban it."""

    def note_heads(self, peer: str, best: int | None, final: int | None) -> None:
        """Remember how far a peer is."""

    def set_handler(self, kind: RequestKind, handler: Handler) -> None:
        """Answer requests of a kind; without a handler they are refused."""

    def set_check(self, channel: Channel, check: Check) -> None:
        """Drop, and do not pass on, what is not well formed."""

    def set_validators(self, keys: Iterable[bytes]) -> None:
        """Name the session keys that should be reached, directly or by relays."""

    async def next_event(self) -> NetworkEvent:
        """Wait for what happens next; for one caller."""

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started when it listens."""
