"""Long work in short slices, so that nobody else on the event loop waits for it."""

from __future__ import annotations

import trio

SLICE_SECONDS = 0.002


class Slice:
    """The time that a task may work before others get the loop."""

    __slots__ = ("_end",)

    def __init__(self) -> None:
        self._end = trio.current_time() + SLICE_SECONDS

    @property
    def over(self) -> bool:
        """Whether it is time for others."""
        return trio.current_time() > self._end

    async def pause(self) -> None:
        """Let others run if the slice is over, and begin the next one."""
        if self.over:
            await trio.lowlevel.checkpoint()
            self._end = trio.current_time() + SLICE_SECONDS
