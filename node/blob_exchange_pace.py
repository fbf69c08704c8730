"""Bandwidth: when so many bytes may go."""

from __future__ import annotations

BURST_SECONDS = 0.5


class Pace:
    """Spreads bytes over time; half a second's worth may go at once."""

    def __init__(self, bytes_per_second: float) -> None:
        self._rate = bytes_per_second
        self._until = 0.0

    def delay(self, now: float) -> float:
        """Return in how many seconds the next bytes may go; `now` in seconds of one clock."""
        return max(0.0, self._until - now - BURST_SECONDS)

    def reserve(self, amount: int, now: float) -> float:
        """Count bytes, and return in how many seconds they may go."""
        delay = self.delay(now)
        self._until = max(self._until, now) + amount / self._rate
        return delay
