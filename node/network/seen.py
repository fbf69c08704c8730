"""Which messages were handed on already."""

from __future__ import annotations

import hashlib
from collections.abc import Callable


class Seen:
    """Remembers names for one to two periods, and no more than `most` per period.

    Short on purpose: a message that its receiver lost may be sent again soon.
    """

    def __init__(self, seconds: float, clock: Callable[[], float], most: int = 65536) -> None:
        self._seconds = seconds
        self._clock = clock
        self._most = most
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()
        self._turned = clock()

    def has(self, name: bytes) -> bool:
        """Tell whether a name was added lately."""
        self._turn()
        return name in self._young or name in self._old

    def add(self, name: bytes) -> bool:
        """Add a name; tells whether it is new."""
        new = not self.has(name)
        self._young.add(name)
        return new

    def _turn(self) -> None:
        now = self._clock()
        age = now - self._turned
        if age >= 2 * self._seconds:
            self._young, self._old, self._turned = set(), set(), now
        elif age >= self._seconds or len(self._young) >= self._most:
            self._young, self._old, self._turned = set(), self._young, now


def content_name(kind: int, data: bytes) -> bytes:
    """Name a message by what it is and says."""
    return hashlib.blake2b(data, digest_size=16, salt=bytes([kind])).digest()
