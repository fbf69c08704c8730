"""What the pool knows of an extrinsic, its limits, and what watchers are told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from node.errors import PoolReason

Tag = bytes
NEVER = (1 << 64) - 1
"""The block number with which an immortal extrinsic is over."""


class Source(IntEnum):
    """Where an extrinsic comes from; the indices of `TransactionSource`."""

    IN_BLOCK = 0
    LOCAL = 1
    EXTERNAL = 2


class StatusKind(Enum):
    """The states that a watcher sees; the values are the names on the wire."""

    FUTURE = "future"
    READY = "ready"
    IN_BLOCK = "inBlock"
    RETRACTED = "retracted"
    FINALIZED = "finalized"
    USURPED = "usurped"
    DROPPED = "dropped"
    INVALID = "invalid"

    @property
    def final(self) -> bool:
        """Whether nothing follows."""
        return self in (
            StatusKind.FINALIZED,
            StatusKind.USURPED,
            StatusKind.DROPPED,
            StatusKind.INVALID,
        )


@dataclass(frozen=True, slots=True)
class TxStatus:
    """One step in an extrinsic's life.

    hash: of the block (inBlock, retracted, finalized) or of the replacement (usurped).
    """

    kind: StatusKind
    hash: bytes | None = None
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """Why an extrinsic left the pool, or was not let in."""

    reason: PoolReason
    detail: str


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of the pool: counts, bytes, seconds."""

    count: int = 8192
    bytes: int = 20 << 20
    sender_count: int = 512
    sender_bytes: int = 4 << 20
    extrinsic_bytes: int = 512 << 10
    banned_count: int = 8192
    banned_seconds: float = 60.0
    history: int = 16384


@dataclass(slots=True, eq=False)
class Entry:
    """An extrinsic in the pool. `requires` loses the tags that the best block has provided."""

    hash: bytes
    data: bytes
    sender: bytes
    nonce: int | None
    order: int
    source: int
    priority: int
    requires: frozenset[Tag]
    provides: tuple[Tag, ...]
    valid_till: int
    propagate: bool
    checked_at: int
    ready: bool = False
