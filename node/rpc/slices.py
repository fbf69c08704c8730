"""Work in short slices, so that nobody else on the event loop waits for it.

However many clients are busy, each pass of the loop has room for a few slices only: who comes when
the pass is full waits in a queue, first come first served, while consensus and the network, which
share the loop, go on.
"""

from __future__ import annotations

import trio

SLICE_SECONDS = 0.002
PASS_SECONDS = 0.004
"""What all clients together may take of one pass of the loop before others queue."""
_MOST_AT_ONCE = 64


class LoopShare:
    """What the clients have taken of this pass of the loop, and who waits for the next."""

    def __init__(self) -> None:
        self._spent = 0.0
        self._queue = trio.lowlevel.ParkingLot()
        self._renewing = False

    @property
    def waiting(self) -> int:
        """How many tasks wait for a pass with room."""
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether the next one has to wait."""
        return self._spent >= PASS_SECONDS or len(self._queue) > 0

    def spend(self, seconds: float) -> None:
        """Count work that was done in this pass."""
        self._spent += seconds
        if self._spent >= PASS_SECONDS and not self._renewing:
            self._renewing = True
            trio.lowlevel.spawn_system_task(self._renew)

    async def turn(self) -> None:
        """Let others run; come back in a pass that has room."""
        if self.full:
            await self._queue.park()
        else:
            await trio.lowlevel.checkpoint()
        while self._spent >= PASS_SECONDS:  # by those who came back in the same pass
            await self._queue.park()

    async def _renew(self) -> None:
        """Wake those who wait, pass by pass, until nobody does."""
        at_once = 1
        while True:
            await trio.lowlevel.checkpoint()
            idle = self._spent < PASS_SECONDS / 2
            self._spent = 0.0
            if not self._queue:
                self._renewing = False
                return
            # Small pieces of work fit into a pass together, long ones do not.
            at_once = min(2 * at_once, _MOST_AT_ONCE) if idle else max(at_once // 2, 1)
            self._queue.unpark(count=at_once)


_SHARE: trio.lowlevel.RunVar[LoopShare] = trio.lowlevel.RunVar("rpc_share")


def loop_share() -> LoopShare:
    """Return the share of this event loop."""
    try:
        return _SHARE.get()
    except LookupError:
        share = LoopShare()
        _SHARE.set(share)
        return share


class Slice:
    """The time that a task may work before others get the loop.

    hurried: the task never queues behind other clients, since all of them wait for what it does.
    """

    __slots__ = ("_begun", "_hurried", "_share")

    def __init__(self, *, hurried: bool = False) -> None:
        self._share = loop_share()
        self._hurried = hurried
        self._begun = trio.current_time()

    @property
    def over(self) -> bool:
        """Whether it is time for others."""
        return trio.current_time() - self._begun > SLICE_SECONDS

    def end(self) -> None:
        """Count what was done; the task now waits for something else than the loop."""
        self._share.spend(trio.current_time() - self._begun)

    async def begin(self) -> None:
        """Begin behind a wait: at once, or in turn where this pass of the loop is full."""
        if self._share.full:
            await self._share.turn()
        self._begun = trio.current_time()

    async def begin_again(self) -> None:
        """Begin the next one in a later pass of the loop, behind `end`."""
        await self._share.turn()
        self._begun = trio.current_time()

    async def pause(self) -> None:
        """Let others run if the slice is over, and begin the next one."""
        now = trio.current_time()
        if now - self._begun <= SLICE_SECONDS:
            return
        self._share.spend(now - self._begun)
        if self._hurried:
            await trio.lowlevel.checkpoint()
        else:
            await self._share.turn()
        self._begun = trio.current_time()
