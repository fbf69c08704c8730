"""How many calls one connection may make in a minute."""

from __future__ import annotations

import trio


class Pace:
    """A bucket of calls that fills evenly and holds a minute's worth."""

    __slots__ = ("_calls", "_filled_at", "_per_second", "most")

    def __init__(self, per_minute: int) -> None:
        self.most = per_minute
        self._per_second = per_minute / 60
        self._calls = float(per_minute)
        self._filled_at = trio.current_time()

    def take(self, calls: int) -> bool:
        """Take so many calls out; says whether there were enough."""
        now = trio.current_time()
        self._calls = min(self._calls + (now - self._filled_at) * self._per_second, self.most)
        self._filled_at = now
        if self._calls < calls:
            return False
        self._calls -= calls
        return True
