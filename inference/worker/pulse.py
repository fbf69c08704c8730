"""What the worker's duties wait for: the next finalised block."""

from __future__ import annotations

import math

import trio


class Pulse:
    """Wakes every waiting task at each finalised block."""

    def __init__(self) -> None:
        self._height = -1
        self._beat = trio.Event()
        self._at = -math.inf

    def beat(self, height: int) -> None:
        """Tell of a block."""
        self._height = height
        self._at = trio.current_time()
        self._beat.set()
        self._beat = trio.Event()

    @property
    def age(self) -> float:
        """Seconds since the last block; infinite before the first."""
        return trio.current_time() - self._at

    async def beyond(self, height: int) -> int:
        """Wait for a block above `height` and return the last one's number."""
        while self._height <= height:
            await self._beat.wait()
        return self._height
