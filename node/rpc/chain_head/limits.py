"""How much the followers of the chain's head may hold and ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FollowLimits:
    """Counts and bytes.

    follows: of one connection. retired_pins: blocks, final or dead, that one follower may leave
    pinned; blocks that are neither are not counted, since the chain itself holds them. operations,
    operation_bytes: at work or waiting for one follower, and for all of them; each storage item
    counts as one operation. at_work: operations of one follower that get turns at the same time.
    piece: characters of items in one event. page: of descendants, before the client must ask for
    more. patience: seconds that a page may stay unasked for; it holds a view of the database.
    """

    follows: int = 4
    retired_pins: int = 512
    operations: int = 256
    operation_bytes: int = 8 << 20
    all_operations: int = 16_384
    all_operation_bytes: int = 64 << 20
    at_work: int = 4
    piece: int = 64 << 10
    page: int = 1 << 20
    patience: float = 120.0


class Room:
    """Counts what is held against a limit of its own and that of the whole it belongs to."""

    def __init__(self, count: int, size: int, whole: Room | None = None) -> None:
        self._count = count
        self._size = size
        self._whole = whole

    @property
    def count(self) -> int:
        """How much more may be held, in pieces."""
        return self._count if self._whole is None else min(self._count, self._whole.count)

    @property
    def size(self) -> int:
        """How much more may be held, in bytes."""
        return self._size if self._whole is None else min(self._size, self._whole.size)

    def take(self, count: int, size: int) -> None:
        """Hold more, or with negative numbers less."""
        self._count -= count
        self._size -= size
        if self._whole is not None:
            self._whole.take(count, size)
