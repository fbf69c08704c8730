"""Events of a replica until the driver has them: numbered, in order, asked for again if lost."""

from __future__ import annotations

import threading
from collections import deque

from inference.cluster.wire import Event

MOST = 4096
"""Events in one report."""


class Outbox:
    """Filled by the engine's thread, read by threads that wait; closed when the engine ends."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._events: deque[Event] = deque()
        self._first = 0
        self._failure: str | None = None

    def put(self, event: Event) -> None:
        """Add an event."""
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def close(self, failure: str) -> None:
        """Let every present and later `take` fail."""
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def take(self, after: int, seconds: float) -> tuple[int, list[Event]]:
        """Forget the events below number `after`, and return those from there on.

        Waits for the first one for so many seconds at most. Raises RuntimeError once closed.
        """
        with self._changed:
            while self._events and self._first < after:
                self._events.popleft()
                self._first += 1
            self._changed.wait_for(lambda: self._events or self._failure is not None, seconds)
            if self._failure is not None:
                raise RuntimeError(self._failure)
            return self._first, [event for event, _ in zip(self._events, range(MOST), strict=False)]
