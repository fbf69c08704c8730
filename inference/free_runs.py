"""The free stretches of a memory, kept whole: neighbours that become free are one run again."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort


class FreeRuns:
    """Disjoint runs of free bytes, by place and by length."""

    def __init__(self, size: int, page_bytes: int) -> None:
        self._page_bytes = page_bytes
        self._starts: list[int] = []
        self._ends: dict[int, int] = {}
        self._by_length: list[tuple[int, int]] = []
        self.size = 0
        self.pages = 0
        self._insert(0, size)

    def runs(self) -> list[tuple[int, int]]:
        """List (start, end) of every run in ascending order."""
        return [(start, self._ends[start]) for start in self._starts]

    def covers(self, start: int, size: int) -> bool:
        """Whether all of these bytes are free."""
        at = bisect_right(self._starts, start) - 1
        return at >= 0 and self._ends[self._starts[at]] >= start + size

    def tightest(self, size: int) -> int | None:
        """Return the start of the shortest run that holds `size`, the lowest of equals."""
        at = bisect_left(self._by_length, (size, 0))
        return None if at == len(self._by_length) else self._by_length[at][1]

    def highest_page(self) -> int | None:
        """Return the highest page that lies in a run."""
        if not self.pages:
            return None
        for start in reversed(self._starts):
            page = self._ends[start] // self._page_bytes - 1
            if page * self._page_bytes >= start:
                return page
        return None

    def take(self, start: int, size: int) -> None:
        """Cut bytes out of the run that covers them; raises ValueError if none does."""
        if not self.covers(start, size):
            raise ValueError(f"bytes {start} to {start + size} are not free")
        run = self._starts[bisect_right(self._starts, start) - 1]
        end = self._remove(run)
        self._insert(run, start)
        self._insert(start + size, end)

    def give(self, start: int, size: int) -> None:
        """Join bytes, none of which may be free, with the runs beside them."""
        end = start + size
        at = bisect_right(self._starts, start)
        if at < len(self._starts) and self._starts[at] == end:
            end = self._remove(end)
        if at and self._ends[self._starts[at - 1]] == start:
            start = self._starts[at - 1]
            self._remove(start)
        self._insert(start, end)

    def _insert(self, start: int, end: int) -> None:
        if start == end:
            return
        insort(self._starts, start)
        self._ends[start] = end
        insort(self._by_length, (end - start, start))
        self.size += end - start
        self.pages += self._pages_in(start, end)

    def _remove(self, start: int) -> int:
        end = self._ends.pop(start)
        del self._starts[bisect_left(self._starts, start)]
        del self._by_length[bisect_left(self._by_length, (end - start, start))]
        self.size -= end - start
        self.pages -= self._pages_in(start, end)
        return end

    def _pages_in(self, start: int, end: int) -> int:
        return max(0, end // self._page_bytes + -start // self._page_bytes)
