"""The timers that the core has set, by the monotonic clock."""

from __future__ import annotations

import heapq
from math import inf

from consensus.core.events import Timer


class Timers:
    """A heap; a timer that was set again leaves a dead entry behind, which is skipped."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._live: dict[Timer, int] = {}
        self._count = 0

    def set(self, timer: Timer, deadline: float) -> None:
        """Have a timer run out at `deadline` (seconds), and not at an earlier setting's."""
        self._count += 1
        self._live[timer] = self._count
        heapq.heappush(self._heap, (deadline, self._count, timer))

    def next(self) -> float:
        """Return when the first timer runs out; infinity without one."""
        self._skip()
        return self._heap[0][0] if self._heap else inf

    def due(self, now: float) -> list[Timer]:
        """Take the timers that have run out, in the order of their deadlines."""
        found = []
        while self.next() <= now:
            _, _, timer = heapq.heappop(self._heap)
            del self._live[timer]
            found.append(timer)
        return found

    def _skip(self) -> None:
        while self._heap and self._live.get(self._heap[0][2]) != self._heap[0][1]:
            heapq.heappop(self._heap)
