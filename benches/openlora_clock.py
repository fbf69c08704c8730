"""By which clock a trace runs: the one on the wall, or the processor time of this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import trio

SHORTEST = 0.0005
"""Seconds between looks at the processor's clock while there is work."""


class Clock(Protocol):
    """Seconds since it was made."""

    def now(self) -> float:
        """Tell the time."""
        ...

    async def until(self, moment: float, busy: Callable[[], bool]) -> None:
        """Wait; `busy` says whether anything else is to be done meanwhile."""
        ...


class WallClock:
    """Real time."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def now(self) -> float:
        """Tell the time."""
        return time.perf_counter() - self._start

    async def until(self, moment: float, busy: Callable[[], bool]) -> None:
        """Sleep."""
        await trio.sleep(max(0.0, moment - self.now()))


class ProcessorClock:
    """Processor time of all threads; where nothing is to be done it goes on by itself.

    So what else runs on the machine hardly changes a figure. What two threads do at the same time
    is counted twice, and waiting for a disk not at all.
    """

    def __init__(self) -> None:
        self._start = time.process_time()

    def now(self) -> float:
        """Tell the time."""
        return time.process_time() - self._start

    async def until(self, moment: float, busy: Callable[[], bool]) -> None:
        """Let the engine work so long, or go on to the moment if it has nothing to do."""
        await trio.lowlevel.checkpoint()
        while (left := moment - self.now()) > 0:
            if busy():
                await trio.sleep(max(SHORTEST, left / 2))
            else:
                self._start -= left
