"""What the exchange of blobs takes of a node, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Keep(Enum):
    """Which declared blobs a node fetches without being asked."""

    ALL = "all"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ExchangeLimits:
    """Bounds of the exchange.

    fetches: blobs at a time, beside one that somebody waits for; chunks: of one blob at a time;
    per_peer: requests at a time, as a part of the network's own limit; requests: to one peer per
    second; down, up: bytes per second; slice_seconds: after so long a fetch lets others have its
    place, and goes on later; parked: unfinished fetches that keep their room on the disk.
    """

    fetches: int = 3
    chunks: int = 4
    per_peer: int = 2
    requests: float = 20.0
    down: float = 32 << 20
    up: float = 32 << 20
    list_seconds: float = 8.0
    chunk_seconds: float = 20.0
    slice_seconds: float = 120.0
    wanted: int = 65536
    waiting: int = 64
    parked: int = 8
    first_retry_seconds: float = 5.0
    last_retry_seconds: float = 900.0


@dataclass(slots=True)
class ExchangeCounters:
    """What happened since the start, as plain numbers."""

    bytes_fetched: int = 0
    bytes_served: int = 0
    blobs_fetched: int = 0
    fetches_failed: int = 0
    wrong_chunks: int = 0
    wrong_lists: int = 0
    damaged: int = 0
