"""In which order missing blobs are fetched: the newest first, and none of them never."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import dataclass

from node.declarations import Declaration

_Queue = OrderedDict[bytes, "Wanted"]
_TURNS = 4
_OLDEST, _DUE_AGAIN = 1, 3
"""Of four turns these take the oldest of the new, and what is due again; the others the newest."""


@dataclass(slots=True, eq=False)
class Wanted:
    """A missing blob; tries: failures in a row; waits: the number of its wait, 0 for none."""

    declaration: Declaration
    tries: int = 0
    is_urgent: bool = False
    waits: int = 0


class WantedBlobs:
    """Blobs that somebody waits for, new ones, those whose next try is due, and those that wait.

    Each is in one of the four places, or was taken and is not given back yet.
    """

    def __init__(self, most: int, first_retry: float, last_retry: float) -> None:
        """`first_retry`, `last_retry`: seconds between tries, doubling from one to the other."""
        self._most = most
        self._first, self._last = first_retry, last_retry
        self._all: dict[bytes, Wanted] = {}
        self._urgent: _Queue = OrderedDict()
        self._fresh: _Queue = OrderedDict()
        self._again: _Queue = OrderedDict()
        self._waiting: list[tuple[float, int, Wanted]] = []
        self._waits = 0
        self._turn = 0

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, blob: bytes) -> bool:
        return blob in self._all

    def add(self, declaration: Declaration) -> bool:
        """Want a blob; False where it is wanted already, or there are too many."""
        if declaration.blob in self._all or len(self._all) >= self._most:
            return False
        wanted = self._all[declaration.blob] = Wanted(declaration)
        self._fresh[declaration.blob] = wanted
        return True

    def urge(self, declaration: Declaration) -> None:
        """Want a blob before all others; one that is taken stays so."""
        blob = declaration.blob
        wanted = self._all.get(blob)
        if wanted is None:
            wanted = self._urgent[blob] = self._all[blob] = Wanted(declaration)
        elif wanted.waits or blob in self._fresh or blob in self._again:
            wanted.waits = 0
            for queue in (self._fresh, self._again):
                if blob in queue:
                    del queue[blob]
            self._urgent[blob] = wanted
        wanted.is_urgent = True

    def take(self, now: float, *, urgent: bool = False) -> Wanted | None:
        """Take the next one, among the urgent alone if asked; give it back when it is tried."""
        self._wake(now)
        queue, newest = self._urgent, False
        if not queue:
            if urgent:
                return None
            turn = self._turn % _TURNS
            again = self._again and (turn == _DUE_AGAIN or not self._fresh)
            queue, newest = (self._again, False) if again else (self._fresh, turn != _OLDEST)
            self._turn += bool(queue)
        return queue.popitem(last=newest)[1] if queue else None

    def retry(self, wanted: Wanted, now: float) -> None:
        """Give one back that failed; its next try is due after a while."""
        delay = min(self._last, self._first * (1 << min(wanted.tries, 20)))
        wanted.tries += 1
        wanted.is_urgent = False
        self._waits += 1
        wanted.waits = self._waits
        heapq.heappush(self._waiting, (now + delay, self._waits, wanted))

    def go_on(self, wanted: Wanted) -> None:
        """Give one back that let others go first."""
        (self._urgent if wanted.is_urgent else self._again)[wanted.declaration.blob] = wanted

    def done(self, wanted: Wanted) -> None:
        """Give one back that is wanted no more."""
        self._all.pop(wanted.declaration.blob, None)

    def hurry(self) -> None:
        """Let all that wait be due: there is somebody new to ask."""
        self._wake(float("inf"))

    def _wake(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            _, number, wanted = heapq.heappop(self._waiting)
            if wanted.waits == number:
                wanted.waits = 0
                self._again[wanted.declaration.blob] = wanted
