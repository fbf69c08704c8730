"""Which runtime calls take long: those that do on the average of the last ones.

One of them means little: the first call of a method fills caches, and any call may be the one in
which Python collects its garbage.
"""

from __future__ import annotations

from node.rpc.slices import SLICE_SECONDS

AVERAGED = 20
"""A call moves the average by this part of its distance from it."""
AT_ONCE_SECONDS = 0.05
"""Whatever took so long needs no second time."""
SLOW_FOR_SECONDS = 600.0
MOST_METHODS = 256


class SlowCalls:
    """Methods by name; times are those of one clock."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._average: dict[str, float] = {}

    def slow(self, method: str, now: float) -> bool:
        """Tell whether a method counts as slow."""
        return self._until.get(method, 0.0) > now

    def note(self, method: str, seconds: float, now: float) -> None:
        """Learn how long a call took."""
        if seconds <= SLICE_SECONDS and method not in self._average:
            return
        average = self._average.pop(method, 0.0)
        average += (seconds - average) / AVERAGED
        if seconds > AT_ONCE_SECONDS or average > SLICE_SECONDS:
            if len(self._until) >= MOST_METHODS:
                self._until.clear()
            self._until[method] = now + SLOW_FOR_SECONDS
            return
        if len(self._average) >= MOST_METHODS:
            self._average.clear()
        self._average[method] = average
