"""What is known of one connected peer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from node.network.hello import Hello
from node.network.interface import Counters, Direction, PeerInfo, RequestKind
from node.network.limits import CONCURRENT_REQUESTS, REQUESTS, Bucket, ChannelBudget
from node.network.outbox import Outbox


@dataclass(slots=True)
class Link:
    """A connection to a peer, from the handshake on.

    hello: what it said, once that was accepted; welcomed: it accepted ours; joined: both, and it
    was announced; refused: one of us said no; muted_until: a reserved peer that offended is not
    heard before (loop's clock).
    """

    peer: str
    ip: str
    port: int
    inbound: bool
    reserved: bool
    since: float
    outbox: Outbox
    hello: Hello | None = None
    welcomed: bool = False
    joined: bool = False
    refused: bool = False
    best_number: int | None = None
    final_number: int | None = None
    muted_until: float = 0.0
    serving: int = 0
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    budget: ChannelBudget = field(default_factory=ChannelBudget)
    asking: trio.CapacityLimiter = field(
        default_factory=lambda: trio.CapacityLimiter(CONCURRENT_REQUESTS)
    )
    asked: dict[RequestKind, Bucket] = field(
        default_factory=lambda: {kind: Bucket(limits.rate) for kind, limits in REQUESTS.items()}
    )

    @classmethod
    def new(
        cls, peer: str, ip: str, port: int, *, inbound: bool, reserved: bool, counters: Counters
    ) -> Link:
        """Start with a peer that is connected and has not been greeted."""
        return cls(peer, ip, port, inbound, reserved, trio.current_time(), Outbox(counters))

    @property
    def validator(self) -> bytes | None:
        """The session key that it proved to hold."""
        return self.hello.session_key if self.hello else None

    def info(self, score: Callable[[str], int]) -> PeerInfo:
        """Describe the peer."""
        version = 6 if ":" in self.ip else 4
        return PeerInfo(
            id=self.peer,
            address=f"/ip{version}/{self.ip}/tcp/{self.port}/p2p/{self.peer}",
            direction=Direction.INBOUND if self.inbound else Direction.OUTBOUND,
            agent=self.hello.agent if self.hello else "",
            role=self.hello.role if self.hello else "",
            connected_since=self.since,
            validator=self.validator,
            best_number=self.best_number,
            final_number=self.final_number,
            score=score(self.peer),
            reserved=self.reserved,
        )
