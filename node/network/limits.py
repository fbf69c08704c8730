"""How much of what a peer may send."""

from __future__ import annotations

from dataclasses import dataclass

from node.network.interface import Channel, RequestKind

KIB = 1024
MIB = 1024 * KIB
CHUNK = MIB
"""A frame of an answer has this many bytes at most."""


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """Of one peer, per second: sustained rates; ten seconds' worth may come at once.

    size: bytes of a message; queued: messages kept for a peer that reads slowly.
    """

    size: int
    messages: float
    bytes: float
    queued: int


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """body, answer: bytes at most; timeout: seconds for all of it; rate: requests per second."""

    body: int
    answer: int
    timeout: float
    rate: float


CHANNELS: dict[Channel, ChannelLimits] = {
    Channel.PROPOSALS: ChannelLimits(4 * MIB, 20, 4 * MIB, 16),
    Channel.VOTES: ChannelLimits(KIB, 1000, 256 * KIB, 4096),
    Channel.CERTIFICATES: ChannelLimits(128 * KIB, 200, 2 * MIB, 256),
    Channel.STATUSES: ChannelLimits(KIB, 20, 8 * KIB, 4),
    Channel.TRANSACTIONS: ChannelLimits(MIB, 100, 4 * MIB, 64),
}
REQUESTS: dict[RequestKind, RequestLimits] = {
    RequestKind.CONSENSUS: RequestLimits(16 * KIB, 16 * MIB, 10, 50),
    RequestKind.STATE: RequestLimits(16 * KIB, 4 * MIB, 20, 20),
    RequestKind.BLOB: RequestLimits(KIB, 2 * MIB, 20, 50),
    RequestKind.ADDRESSES: RequestLimits(KIB, 64 * KIB, 5, 1),
    RequestKind.PRIVATE: RequestLimits(4 * MIB, 4 * MIB, 30, 20),
}
BURST_SECONDS = 10
CONCURRENT_REQUESTS = 8
"""So many requests of one peer are answered at a time, and asked of it."""


class Bucket:
    """A token bucket: `rate` tokens come per second, `BURST_SECONDS` worth of them are kept."""

    def __init__(self, rate: float, least: float = 1.0) -> None:
        """`least`: the smallest capacity, for a single thing that is larger than a burst."""
        self._rate = rate
        self._capacity = max(rate * BURST_SECONDS, least)
        self._tokens = self._capacity
        self._at: float | None = None

    def take(self, amount: float, now: float) -> bool:
        """Take tokens if they are there; `now` in seconds of any clock that does not go back."""
        if self._at is not None:
            self._tokens = min(self._capacity, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if amount > self._tokens:
            return False
        self._tokens -= amount
        return True


class ChannelBudget:
    """What one peer may still send on the channels."""

    def __init__(self) -> None:
        self._messages = {c: Bucket(limits.messages) for c, limits in CHANNELS.items()}
        self._bytes = {
            channel: Bucket(limits.bytes, 2.0 * limits.size) for channel, limits in CHANNELS.items()
        }

    def take(self, channel: Channel, size: int, now: float) -> bool:
        """Count a message; False where it is one too many."""
        return self._messages[channel].take(1, now) and self._bytes[channel].take(size, now)
