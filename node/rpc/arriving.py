"""Requests that are not whole yet: their bytes wait in memory, those of all clients together."""

from __future__ import annotations

FREE_BYTES = 65536
"""So much of each request is not counted: a node has room for that of every connection."""


class Arriving:
    """The bytes of unfinished requests of all connections, and how many may be."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0


class ArrivingRequest:
    """The request that one connection sends just now."""

    def __init__(self, everybody: Arriving) -> None:
        self._everybody = everybody
        self._counted = 0
        self.size = 0

    def take(self, count: int) -> bool:
        """Count bytes that came; False where the node has no room for them."""
        self.size += count
        more = max(0, self.size - FREE_BYTES) - self._counted
        if more and self._everybody.held + more > self._everybody.most:
            return False
        self._counted += more
        self._everybody.held += more
        return True

    def end(self) -> None:
        """Begin the next request, or leave: nothing waits any more."""
        self._everybody.held -= self._counted
        self._counted = self.size = 0
